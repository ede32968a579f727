import type { MessageShape } from '@bufbuild/protobuf';
import { GrpcClient, GrpcError } from '../grpc/client.ts';
import { Containers, type Container } from '../grpc/generated/containerd/containers-service_pb.ts';
import { Events } from '../grpc/generated/containerd/events-service_pb.ts';
import type { Process } from '../grpc/generated/containerd/task_pb.ts';
import { Tasks } from '../grpc/generated/containerd/tasks-service_pb.ts';
import type { EnvelopeSchema } from '../grpc/generated/containerd/types_pb.ts';
import { Version } from '../grpc/generated/containerd/version-service_pb.ts';
import { ContainerState, RuntimeService } from '../grpc/generated/cri/cri_pb.ts';
import { exitCodeOf } from './cri-container.ts';
import { isDaemonTime } from './daemon-time.ts';
import { topicsFollowed } from './containerd-event.ts';

/** One event as containerd sends it. */
export type Envelope = MessageShape<typeof EnvelopeSchema>;

/** What of containerd's own API is used, over one connection. */
export class ContainerdApi {
  readonly #client: GrpcClient;
  readonly #timeoutMs: number;

  /** `socket` is an absolute path. */
  constructor(socket: string, timeoutMs: number) {
    this.#client = new GrpcClient(socket);
    this.#timeoutMs = timeoutMs;
  }

  get socket(): string {
    return this.#client.socket;
  }

  async version(signal?: AbortSignal): Promise<string> {
    const { version } = await this.#client.unary(Version.method.version, {}, { timeoutMs: this.#timeoutMs, signal });
    return version;
  }

  /** The events of these namespaces from now on; nothing tells when it has begun. */
  events(namespaces: readonly string[], signal: AbortSignal): AsyncIterable<Envelope> {
    const filters = namespaces.map((namespace) => `namespace==${quoted(namespace)},topic~=${quoted(topicsFollowed)}`);
    return this.#client.stream(Events.method.subscribe, { filters }, { signal });
  }

  /** All containers of a namespace, running or not, one by one. */
  containers(namespace: string, signal: AbortSignal): AsyncIterable<Container> {
    return this.#containers(namespace, AbortSignal.any([signal, AbortSignal.timeout(this.#timeoutMs)]));
  }

  /** Undefined where it is gone. */
  container(namespace: string, id: string, signal: AbortSignal): Promise<Container | undefined> {
    return orGone(async () => {
      const options = { ...this.#in(namespace), signal };
      return (await this.#client.unary(Containers.method.get, { id }, options)).container;
    });
  }

  /**
   * The tasks of a namespace: one for each container whose main process runs, or has ended and was not yet cleared away.
   * containerd asks the shims one after the other, each for 2 s at most; undefined where all of that took too long.
   */
  async tasks(
    namespace: string,
    signal: AbortSignal,
    timeoutMs = this.#timeoutMs,
  ): Promise<readonly Process[] | undefined> {
    try {
      const { tasks } = await this.#client.unary(Tasks.method.list, {}, { ...this.#in(namespace), timeoutMs, signal });
      return tasks;
    } catch (error) {
      if (error instanceof GrpcError && error.code === 'DEADLINE_EXCEEDED') return undefined;
      throw error;
    }
  }

  /**
   * How a container ended, as the CRI plugin wrote it down for the kubelet, whom it serves at the same socket. Undefined
   * where it does not know the exit code, does not answer, or is not there.
   */
  async endInCri(containerId: string, signal: AbortSignal): Promise<{ atMs: number; exitCode: number } | undefined> {
    try {
      const options = { timeoutMs: this.#timeoutMs, signal };
      const { status } = await this.#client.unary(RuntimeService.method.containerStatus, { containerId }, options);
      if (status?.state !== ContainerState.CONTAINER_EXITED) return undefined;
      const exitCode = exitCodeOf(status);
      const atMs = Number(status.finishedAt) / 1e6;
      return exitCode !== undefined && isDaemonTime(atMs) ? { atMs, exitCode } : undefined;
    } catch {
      return undefined;
    }
  }

  close(): void {
    this.#client.close();
  }

  async *#containers(namespace: string, signal: AbortSignal): AsyncGenerator<Container, void, undefined> {
    const options = { metadata: this.#in(namespace).metadata, signal };
    for await (const { container } of this.#client.stream(Containers.method.listStream, {}, options)) {
      if (container !== undefined) yield container;
    }
  }

  #in(namespace: string): { timeoutMs: number; metadata: Record<string, string> } {
    return { timeoutMs: this.#timeoutMs, metadata: { 'containerd-namespace': namespace } };
  }
}

/** In the language of containerd's filters, strings are quoted as in Go. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

async function orGone<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof GrpcError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}
