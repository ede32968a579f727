import {
  ContainerState,
  type ContainerStatus,
  type ContainerStatusResponse,
  type PodSandbox,
} from '../grpc/generated/cri/cri_pb.ts';
import type { ContainerSeen, RuntimeName } from '../observation.ts';
import { printable, type OnBadInput } from './bad-input.ts';
import { boundFacts, isContainerId } from './container-facts.ts';
import { isDaemonTime } from './daemon-time.ts';

/**
 * Reads the answer to ContainerStatus; undefined for one that cannot be read, which is told. `atMs` is when it was asked.
 * Its reason says nothing of a kill: `OOMKilled` stands there for all that were in a pod whose limit was hit (containerd
 * on cgroup v1) and for a main process that ended well after a child of its was killed.
 */
export function decodeContainerStatus(
  { status, info }: ContainerStatusResponse,
  containerId: string,
  atMs: number,
  runtime: RuntimeName | undefined,
  onBadInput: OnBadInput,
): ContainerSeen | undefined {
  if (status === undefined || status.id !== containerId) {
    onBadInput('answer about a container has no status or not its id', printable(status?.id));
    return undefined;
  }
  const { metadata, image, labels, annotations, state } = status;
  const running = state === ContainerState.CONTAINER_RUNNING;
  const ended = state === ContainerState.CONTAINER_EXITED;
  const finishedAtMs = ended ? timeOf(status.finishedAt) : undefined;
  const facts = boundFacts(
    {
      name: metadata?.name,
      image: image?.userSpecifiedImage || image?.image,
      labels: Object.entries(labels),
      annotations,
    },
    onBadInput,
  );
  const pod = facts.pod && { ...facts.pod, restartCount: facts.pod.restartCount ?? metadata?.attempt };
  return {
    kind: 'container_seen',
    containerId,
    runtime,
    ...facts,
    pod,
    sandbox: false,
    atMs,
    running,
    // The kubelet has no way to pause one.
    paused: false,
    pid: running ? pidOf(info['info'], onBadInput) : undefined,
    createdAtMs: timeOf(status.createdAt),
    // One whose start failed (reason `StartError`, code 128) never ran, and has ended as often as it was tried.
    startedAtMs: timeOf(status.startedAt) ?? finishedAtMs,
    finishedAtMs,
    exitCode: ended ? exitCodeOf(status) : undefined,
  };
}

/**
 * With which code a container ended; undefined where the runtime does not know it. CRI-O gives -1 then; containerd gives
 * 255 with the reason `Unknown`, or `OOMKilled` once that event has come.
 */
export function exitCodeOf({ exitCode, reason }: ContainerStatus): number | undefined {
  const isKnown = exitCode >= 0 && (exitCode !== 255 || reason === 'Error');
  return isKnown ? exitCode : undefined;
}

/** A pod's sandbox as ListPodSandbox lists it; undefined for one whose id is none, which is told. */
export function decodeSandbox(
  { id, metadata, labels, createdAt }: PodSandbox,
  atMs: number,
  runtime: RuntimeName | undefined,
  onBadInput: OnBadInput,
): ContainerSeen | undefined {
  if (!isContainerId(id)) {
    onBadInput('listed sandbox has no id of 64 hex digits', printable(id));
    return undefined;
  }
  const facts = boundFacts({ name: metadata?.name, labels: Object.entries(labels) }, onBadInput);
  const createdAtMs = timeOf(createdAt);
  // Without the begin of a life: nobody waits for the end of a sandbox.
  return {
    kind: 'container_seen',
    containerId: id,
    runtime,
    ...facts,
    sandbox: true,
    atMs,
    running: false,
    paused: false,
    createdAtMs,
  };
}

/**
 * The pid in what a runtime adds to a verbose status, JSON of no agreed form. Absent where there is none; text that is
 * no JSON is told. containerd 1.6.20, cut, and CRI-O 1.33:
 *
 *     {"sandboxID":"6f…","pid":29287,"removing":false,"snapshotKey":"50…","runtimeType":"io.containerd.runc.v2",…
 *     {"sandboxID":"4a…","pid":4711,"runtimeSpec":{…},"privileged":false}
 */
export function pidOf(info: string | undefined, onBadInput: OnBadInput): number | undefined {
  if (info === undefined || info === '') return undefined;
  try {
    const { pid } = (JSON.parse(info) ?? {}) as { pid?: unknown };
    return Number.isInteger(pid) && (pid as number) > 0 && (pid as number) < 2 ** 31 ? (pid as number) : undefined;
  } catch {
    onBadInput('verbose status of a container is no JSON', printable(info));
    return undefined;
  }
}

/** Nanoseconds since the epoch, 0 for what has not happened yet. What is lost beyond 2^53 is less than a microsecond. */
function timeOf(nanos: bigint): number | undefined {
  const atMs = Number(nanos) / 1e6;
  return isDaemonTime(atMs) ? atMs : undefined;
}
