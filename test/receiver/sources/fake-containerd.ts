import { create, toBinary, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import {
  Containers,
  GetContainerResponseSchema,
  ListContainerMessageSchema,
  type ContainerSchema,
} from '../../../receiver/grpc/generated/containerd/containers-service_pb.ts';
import { Events } from '../../../receiver/grpc/generated/containerd/events-service_pb.ts';
import { ListTasksResponseSchema, Tasks } from '../../../receiver/grpc/generated/containerd/tasks-service_pb.ts';
import type { ProcessSchema } from '../../../receiver/grpc/generated/containerd/task_pb.ts';
import { EnvelopeSchema, type Envelope } from '../../../receiver/grpc/generated/containerd/types_pb.ts';
import { Version, VersionResponseSchema } from '../../../receiver/grpc/generated/containerd/version-service_pb.ts';
import { ContainerStatusResponseSchema, RuntimeService } from '../../../receiver/grpc/generated/cri/cri_pb.ts';
import { GrpcServer } from '../../helpers/grpc-server.ts';

type Container = MessageInitShape<typeof ContainerSchema> & { id: string };
type Process = MessageInitShape<typeof ProcessSchema> & { id: string };

/** Plays containerd at the wire, for what a real one cannot be made to do. */
export class FakeContainerd {
  /** By namespace. */
  readonly containers = new Map<string, Container[]>([['k8s.io', []]]);
  readonly tasks = new Map<string, Process[]>([['k8s.io', []]]);
  /** How the CRI plugin wrote down ends. */
  readonly ends = new Map<string, { atMs: number; exitCode: number; reason?: string }>();
  /** The CRI plugin never answers. */
  criHangs = false;
  /** So many listings of tasks are never answered, as where shims hang. */
  taskListsHang = 0;
  /** Those after them are answered once this is fulfilled. */
  taskListsWait = Promise.resolve();
  /** What was asked, in its order. */
  readonly calls: string[] = [];
  /** Takes an answer's place. */
  readonly meanwhile = new Map<string, () => void>();
  readonly #subscribers = new Set<{ write(envelope: Envelope): unknown; end(): unknown }>();
  readonly #server = new GrpcServer()
    .unary(Version.method.version, (_call, answer) => {
      this.#note('version');
      answer(null, create(VersionResponseSchema, { version: '1.6.20' }));
    })
    .streaming(Events.method.subscribe, (call) => {
      this.#note(`subscribe ${call.request.filters.join(' ')}`);
      this.#subscribers.add(call);
      call.on('cancelled', () => this.#subscribers.delete(call));
    })
    .streaming(Containers.method.listStream, (call) => {
      const namespace = namespaceOf(call);
      this.#note(`containers ${namespace}`);
      for (const container of this.containers.get(namespace) ?? []) {
        call.write(create(ListContainerMessageSchema, { container }));
      }
      call.end();
    })
    .unary(Containers.method.get, (call, answer) => {
      const { id } = call.request;
      this.#note(`container ${id}`);
      const container = this.containers.get(namespaceOf(call))?.find((one) => one.id === id);
      if (container === undefined) answer({ code: status.NOT_FOUND, details: `container "${id}"` });
      else answer(null, create(GetContainerResponseSchema, { container }));
    })
    .unary(Tasks.method.list, (call, answer) => {
      const namespace = namespaceOf(call);
      const tasks = this.tasks.get(namespace) ?? [];
      const listed = create(ListTasksResponseSchema, { tasks });
      this.#note(`tasks ${namespace}`);
      if (this.taskListsHang-- <= 0) void this.taskListsWait.then(() => answer(null, listed));
    })
    .unary(RuntimeService.method.containerStatus, (call, answer) => {
      const { containerId } = call.request;
      this.#note(`status ${containerId}`);
      if (this.criHangs) return;
      const end = this.ends.get(containerId);
      if (end === undefined) return answer({ code: status.NOT_FOUND, details: 'no such container' });
      const { atMs, exitCode, reason } = end;
      const finishedAt = BigInt(atMs) * 1_000_000n;
      answer(null, create(ContainerStatusResponseSchema, { status: { state: 2, finishedAt, exitCode, reason } }));
    });

  listen(socket: string): Promise<void> {
    return this.#server.listen(socket);
  }

  /** As `kill -9`. */
  stop(): void {
    this.#subscribers.clear();
    this.#server.stop();
  }

  /** Ends the streams of events in good order. */
  endStreams(): void {
    for (const call of this.#subscribers) call.end();
  }

  publish<Schema extends DescMessage>(
    topic: string,
    schema: Schema,
    event: MessageInitShape<Schema>,
    atMs = Date.now(),
    namespace = 'k8s.io',
  ): void {
    const value = toBinary(schema, create(schema, event));
    this.publishBytes(topic, value, atMs, namespace);
  }

  publishBytes(topic: string, value: Uint8Array, atMs = Date.now(), namespace = 'k8s.io'): void {
    const timestamp = timestampOf(atMs);
    const envelope = create(EnvelopeSchema, { topic, namespace, timestamp, event: { value } });
    for (const call of this.#subscribers) call.write(envelope);
  }

  #note(call: string): void {
    this.calls.push(call);
    this.meanwhile.get(call)?.();
  }
}

export function timestampOf(atMs: number): { seconds: bigint; nanos: number } {
  return { seconds: BigInt(Math.floor(atMs / 1000)), nanos: (atMs % 1000) * 1e6 };
}

function namespaceOf({ metadata }: { metadata: { get(name: string): unknown[] } }): string {
  return String(metadata.get('containerd-namespace')[0]);
}
