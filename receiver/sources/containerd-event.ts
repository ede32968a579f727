import { fromBinary } from '@bufbuild/protobuf';
import {
  ContainerNoticeSchema,
  ContainerUpdateSchema,
  TaskExitSchema,
  TaskNoticeSchema,
  TaskStartSchema,
} from '../grpc/generated/containerd/events_pb.ts';
import type { Timestamp } from '../grpc/generated/well-known_pb.ts';
import type { Envelope } from './containerd-api.ts';
import { printable, type OnBadInput } from './bad-input.ts';
import { isContainerId } from './container-facts.ts';
import { isDaemonTime } from './daemon-time.ts';

/** The topics that are followed, as containerd's filter wants it: a regular expression of Go's. */
export const topicsFollowed = '^/(tasks/(start|exit|oom|paused|resumed)|containers/(create|update|delete))$';

interface OfContainer {
  /** 64 hex digits. */
  containerId: string;
  namespace: string;
  atMs: number;
}

/** What one event says of a container. */
export type ContainerdEvent =
  | (OfContainer & { kind: 'created' | 'deleted' | 'oom' | 'paused' | 'resumed' })
  | (OfContainer & { kind: 'updated'; image: string; labels: Readonly<Record<string, string>> })
  /** The main process was started; the host's pid of it. */
  | (OfContainer & { kind: 'started'; pid: number })
  /** A process ended: the main one, or one that was started in the container later (a probe, a hook, `kubectl exec`). */
  | (OfContainer & { kind: 'exited'; isMain: boolean; pid: number; exitCode: number });

/**
 * Decodes one event; undefined for one that does not concern us and for one that cannot be read, which is told. Never
 * throws. `nowMs` stands in for a missing time.
 *
 * An event is sent again by a shim whose containerd was away, with its first time. What came from
 * containerd 1.6.20, but for the ids of 64 digits, the event itself decoded:
 *
 *     timestamp:{seconds:1795270000 nanos:120450023} namespace:"k8s.io" topic:"/tasks/exit"
 *     event:{type_url:"containerd.events.TaskExit"} container_id:"5b1f…" id:"9c07…" pid:4711 exit_status:137
 *     exited_at:{seconds:1795270000 nanos:119002312}
 */
export function decodeEnvelope(envelope: Envelope, nowMs: number, onBadInput: OnBadInput): ContainerdEvent | undefined {
  const { namespace, topic, event } = envelope;
  let said: Said | undefined;
  try {
    said = decodePayload(topic, event?.value ?? new Uint8Array());
  } catch (error) {
    onBadInput('event cannot be decoded', printable(`${topic}: ${String(error)}`));
    return undefined;
  }
  if (said === undefined) return undefined;
  const { id, exitedAtMs, ...rest } = said;
  if (!isContainerId(id)) {
    onBadInput('event has no container id of 64 hex digits', printable(`${topic}: ${String(id)}`));
    return undefined;
  }
  const toldAtMs = timeOf(envelope.timestamp) ?? nowMs;
  // Which was written down when the process was reaped, also by a shim that could tell nobody.
  const atMs = exitedAtMs === undefined ? toldAtMs : Math.min(exitedAtMs, toldAtMs);
  return { ...rest, containerId: id, namespace, atMs };
}

/** Milliseconds since the epoch, with fractions; undefined for Go's zero time and what no daemon can mean. */
export function timeOf(timestamp: Timestamp | undefined): number | undefined {
  if (timestamp === undefined) return undefined;
  const atMs = Number(timestamp.seconds) * 1000 + timestamp.nanos / 1e6;
  return isDaemonTime(atMs) ? atMs : undefined;
}

type Unplaced<Event> = Event extends OfContainer ? Omit<Event, keyof OfContainer> : never;
type Said = Unplaced<ContainerdEvent> & { id: string; exitedAtMs?: number };

const noticesOfTasks = new Map([
  ['/tasks/oom', 'oom'],
  ['/tasks/paused', 'paused'],
  ['/tasks/resumed', 'resumed'],
] as const);

const noticesOfContainers = new Map([
  ['/containers/create', 'created'],
  ['/containers/delete', 'deleted'],
] as const);

/** By the topic: the type of the event goes with it, and is written in more than one way. */
function decodePayload(topic: string, bytes: Uint8Array): Said | undefined {
  const known = { readUnknownFields: false };
  switch (topic) {
    case '/tasks/start': {
      const { containerId, pid } = fromBinary(TaskStartSchema, bytes, known);
      return { kind: 'started', id: containerId, pid };
    }
    case '/tasks/exit': {
      const { containerId, id, pid, exitStatus, exitedAt } = fromBinary(TaskExitSchema, bytes, known);
      const isMain = id === containerId;
      return { kind: 'exited', id: containerId, isMain, pid, exitCode: exitStatus, exitedAtMs: timeOf(exitedAt) };
    }
    case '/containers/update': {
      const { id, image, labels } = fromBinary(ContainerUpdateSchema, bytes, known);
      return { kind: 'updated', id, image, labels };
    }
    case '/tasks/oom':
    case '/tasks/paused':
    case '/tasks/resumed':
      return { kind: noticesOfTasks.get(topic)!, id: fromBinary(TaskNoticeSchema, bytes, known).containerId };
    case '/containers/create':
    case '/containers/delete':
      return { kind: noticesOfContainers.get(topic)!, id: fromBinary(ContainerNoticeSchema, bytes, known).id };
  }
  return undefined;
}
