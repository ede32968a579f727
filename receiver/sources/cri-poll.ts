import { describeError } from '../../pipelines/errors.ts';
import { GrpcError, type GrpcClient } from '../grpc/client.ts';
import { ContainerState, RuntimeService, type Container, type PodSandbox } from '../grpc/generated/cri/cri_pb.ts';
import type { ContainerSeen, Emit, RuntimeName } from '../observation.ts';
import { printable, type OnBadInput } from './bad-input.ts';
import { isContainerId } from './container-facts.ts';
import { decodeContainerStatus, decodeSandbox } from './cri-container.ts';
import type { CriMemory } from './cri-memory.ts';
import { inspectAll } from './docker-inspections.ts';

/** What the polls of one subscription work with. */
export interface CriPollSettings {
  client: GrpcClient;
  runtime: RuntimeName | undefined;
  memory: CriMemory;
  /** For one call. */
  timeoutMs: number;
  /** A container that ended longer ago than this when it is first seen is nothing to us. */
  graceMs: number;
  clock: () => number;
  onBadInput: OnBadInput;
  emit: Emit;
  signal: AbortSignal;
}

/**
 * Asks once what there is, and tells each sandbox that is new, each container whose state is not the one that was told,
 * and what is there no more. Rejects where the runtime does not answer, having told what it has
 * answered before.
 */
export async function poll(settings: CriPollSettings): Promise<void> {
  const { client, memory, timeoutMs, clock, signal } = settings;
  const askedAtMs = clock();
  memory.sinceMs ??= askedAtMs;
  const { listPodSandbox, listContainers } = RuntimeService.method;
  const { items: sandboxes } = await client.unary(listPodSandbox, {}, { signal, timeoutMs });
  const { containers } = await client.unary(listContainers, {}, { signal, timeoutMs });
  tellRemoved([...sandboxes, ...containers], askedAtMs, settings);
  for (const sandbox of sandboxes) tellSandbox(sandbox, askedAtMs, settings);
  const changed = containers.filter((container) => hasChanged(container, settings));
  const seen = new Map<Container, ContainerSeen>();
  try {
    await inspectAll(changed, async (container) => {
      const answer = await askStatus(container, settings);
      if (answer !== undefined) seen.set(container, answer);
    });
  } finally {
    // A container that was restarted comes after the one in whose place it is.
    const inOrder = [...seen].toSorted(([a], [b]) => Number(a.createdAt - b.createdAt));
    for (const [container, answer] of inOrder) tellContainer(container, answer, settings);
  }
  memory.polledAtMs = askedAtMs;
}

function tellRemoved(listed: readonly { id: string }[], atMs: number, settings: CriPollSettings): void {
  const { memory, runtime, emit } = settings;
  const there = new Set(listed.map(({ id }) => id));
  for (const containerId of memory.ids()) {
    const isGone = !there.has(containerId) && memory.remove(containerId, runtime);
    if (isGone) emit({ kind: 'container_removed', containerId, atMs });
  }
}

function tellSandbox(sandbox: PodSandbox, atMs: number, { memory, runtime, onBadInput, emit }: CriPollSettings): void {
  if (memory.get(sandbox.id) !== undefined) return;
  const seen = decodeSandbox(sandbox, atMs, runtime, onBadInput);
  if (seen === undefined || !memory.hasRoom(sandbox.id)) return;
  memory.note(sandbox.id, 'sandbox');
  emit(seen);
}

function hasChanged({ id, state }: Container, { memory, onBadInput }: CriPollSettings): boolean {
  if (!isContainerId(id)) {
    onBadInput('listed container has no id of 64 hex digits', printable(id));
    return false;
  }
  // What the runtime has lost track of will be told when it has found out.
  return state !== ContainerState.CONTAINER_UNKNOWN && memory.get(id) !== state && memory.hasRoom(id);
}

function tellContainer({ id, state }: Container, seen: ContainerSeen, settings: CriPollSettings): void {
  const { memory, clock, graceMs, emit } = settings;
  const known = memory.get(id);
  memory.note(id, state);
  if (seen.running || seen.finishedAtMs === undefined) {
    emit(seen);
  } else if (known !== undefined || beganSince(seen, memory)) {
    // All of it went by between two polls.
    if (known !== ContainerState.CONTAINER_RUNNING) emit(asItRan(seen));
    emit(seen);
  } else if (seen.finishedAtMs > clock() - graceMs) {
    emit(seen);
  }
}

/**
 * Asks how a container stands. Rejects where the runtime is gone or hangs; undefined for a container that is gone, and for one
 * that the next poll asks for again, because the answer is of no use.
 */
async function askStatus(
  { id, state }: Container,
  { client, runtime, timeoutMs, clock, onBadInput, signal }: CriPollSettings,
): Promise<ContainerSeen | undefined> {
  const atMs = clock();
  // What is verbose is long, and its pid is that of now.
  const verbose = state === ContainerState.CONTAINER_RUNNING;
  try {
    const request = { containerId: id, verbose };
    const answer = await client.unary(RuntimeService.method.containerStatus, request, { signal, timeoutMs });
    return decodeContainerStatus(answer, id, atMs, runtime, onBadInput);
  } catch (error) {
    const code = error instanceof GrpcError ? error.code : undefined;
    if (code === 'UNAVAILABLE' || code === 'DEADLINE_EXCEEDED' || signal.aborted) throw error;
    if (code !== 'NOT_FOUND') onBadInput('status of a container cannot be had', printable(describeError(error)));
    return undefined;
  }
}

function beganSince({ startedAtMs }: ContainerSeen, { sinceMs = Infinity }: CriMemory): boolean {
  return startedAtMs !== undefined && startedAtMs >= sinceMs;
}

/** How it stood when it began. A life that was not seen to begin has no end to tell. */
function asItRan(seen: ContainerSeen): ContainerSeen {
  const { atMs, startedAtMs = atMs } = seen;
  return { ...seen, atMs: startedAtMs, running: true, finishedAtMs: undefined, exitCode: undefined };
}
