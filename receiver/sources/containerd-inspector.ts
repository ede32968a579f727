import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../pipelines/errors.ts';
import { identifyMemcg } from '../cgroup/identity.ts';
import { readMemcgOf } from '../cgroup/process-memcg.ts';
import { GrpcError } from '../grpc/client.ts';
import type { Container } from '../grpc/generated/containerd/containers-service_pb.ts';
import { Status, type Process } from '../grpc/generated/containerd/task_pb.ts';
import { readProcessStart } from '../kernel/process-start.ts';
import type { ContainerSeen, Emit } from '../observation.ts';
import { printable, type OnBadInput } from './bad-input.ts';
import { isContainerId } from './container-facts.ts';
import type { ContainerdApi } from './containerd-api.ts';
import { describeContainer, textKeyOf } from './containerd-container.ts';
import { timeOf } from './containerd-event.ts';
import type { ContainerdMemory, RememberedContainer } from './containerd-memory.ts';
import { Inspections } from './docker-inspections.ts';

/** What one subscription works with. */
export interface SubscriptionSettings {
  api: ContainerdApi;
  namespaces: readonly string[];
  memory: ContainerdMemory;
  hostRoot: string;
  /** A container that ended longer ago than this when it is first seen is nothing to us. */
  graceMs: number;
  /** How long an end that was missed waits for somebody who knows its exit code. */
  retoldWithinMs: number;
  /** After how long a listing that was not whole is tried again. */
  listsAgainAfterMs: number;
  clock: () => number;
  onBadInput: OnBadInput;
  emit: Emit;
  /** Ends it. */
  signal: AbortSignal;
}

const mostInspectionsWaiting = 1000;

/** For a listing that nobody waits for: 30 shims that hang. */
const patientMs = 60_000;

/** A kubelet starts at once what it has made: one that has no task by then has most likely failed to start. */
const startsWithinMs = 3_000;

/** How often it is asked for an end that nobody knows yet. */
const askAgainMs = 500;

/** A life that began later than the one we know, by more than clocks and /proc differ over time, is another. */
const sameLifeMs = 5_000;

/** Asks containerd how containers stand, and tells it. */
export class ContainerdInspector {
  readonly #settings: SubscriptionSettings;
  readonly #eventful: Inspections;
  /** Made, and not started yet as far as we know. */
  #starting = 0;

  /** `asked` is called when an inspection that an event asked for is over, however it went. */
  constructor(settings: SubscriptionSettings, asked: (containerId: string) => void) {
    this.#settings = settings;
    this.#eventful = new Inspections(
      (id) => this.#describe(id).then(() => asked(id)),
      mostInspectionsWaiting,
      (id) => {
        settings.onBadInput(`more than ${mostInspectionsWaiting} containers wait for their inspection`, id);
        asked(id);
      },
    );
  }

  /** Finds out, as soon as possible, who a container is, and tells it where it runs or ran. */
  askAfterEvent(containerId: string): void {
    this.#eventful.add(containerId);
  }

  /**
   * A container was made. Where its start fails, of a program that is not there, say, no event tells so, and there is no
   * task: only the CRI plugin knows, which the kubelet asks. Never rejects.
   */
  async askWhetherStarted(containerId: string): Promise<void> {
    const { api, memory, signal } = this.#settings;
    if (this.#starting >= mostInspectionsWaiting) return;
    this.#starting++;
    await sleep(startsWithinMs, undefined, { signal, ref: false }).catch(() => {});
    this.#starting--;
    const container = memory.get(containerId);
    const isOpen = (): boolean => !signal.aborted && memory.get(containerId) === container && !hasBegun(container);
    if (!isOpen()) return;
    const end = await api.endInCri(containerId, signal);
    if (end === undefined || !isOpen()) return;
    Object.assign(container!, { startedAtMs: end.atMs, endedAtMs: end.atMs, exitCode: end.exitCode });
    this.tell(containerId, container!);
  }

  /** Tells a container that was started, with what is known of it. */
  tell(containerId: string, container: RememberedContainer, paused = false): void {
    const { clock, emit } = this.#settings;
    const { described, pid, startedAtMs, endedAtMs, exitCode } = container;
    const running = endedAtMs === undefined;
    const seen: ContainerSeen = {
      kind: 'container_seen',
      containerId,
      ...described?.facts,
      atMs: clock(),
      running,
      paused: running && paused,
      pid: running ? pid : undefined,
      createdAtMs: described?.createdAtMs,
      startedAtMs,
      finishedAtMs: endedAtMs,
      exitCode,
    };
    container.told = true;
    // Whoever wants it again asks again.
    container.described = undefined;
    emit(seen);
  }

  /**
   * Tells how every container stands that runs, that ended lately, or that we knew before. Where that takes too long,
   * because shims hang, it tells who they are, events go on, and the rest is asked for again, with more patience.
   */
  async list(timeoutMs?: number): Promise<void> {
    const { api, namespaces, memory, clock, emit, signal } = this.#settings;
    const listedAtMs = clock();
    const before = memory.ids();
    const untold = new Map<string, RememberedContainer>();
    let isWhole = true;
    for (const namespace of namespaces) {
      const tasks = await api.tasks(namespace, signal, timeoutMs);
      isWhole &&= tasks !== undefined;
      const byId = tasksById(tasks ?? []);
      for await (const container of api.containers(namespace, signal)) {
        before.delete(container.id);
        if (tasks === undefined) {
          this.#tellName(container);
          continue;
        }
        const isTold = this.#tellListed(container, namespace, byId.get(container.id), listedAtMs);
        if (!isTold) untold.set(container.id, memory.get(container.id)!);
      }
    }
    void this.#findEnds(untold);
    for (const containerId of before) {
      const isGone = memory.delete(containerId)?.told === true;
      if (isGone) emit({ kind: 'container_removed', containerId, atMs: clock() });
    }
    if (!isWhole) void this.#listAgain();
  }

  /** Never rejects. */
  async #listAgain(): Promise<void> {
    const { listsAgainAfterMs, onBadInput, signal } = this.#settings;
    onBadInput('tasks cannot be listed in time: a shim hangs, most likely', '');
    await sleep(listsAgainAfterMs, undefined, { signal, ref: false }).catch(() => {});
    if (signal.aborted) return;
    // Where the connection broke the stream of events does so, too, and what comes after it lists anew.
    await this.list(patientMs).catch(() => {});
  }

  /** Who it is. Whether it runs its events will tell, or a later listing, to which it is new still. */
  #tellName(container: Container): void {
    const { memory, clock, emit, onBadInput } = this.#settings;
    const { id } = container;
    if (!isContainerId(id)) return onBadInput('listed container has no id of 64 hex digits', printable(id));
    if (memory.get(id) !== undefined) return;
    const { facts } = describeContainer(container, onBadInput);
    emit({ kind: 'container_seen', containerId: id, ...facts, atMs: clock(), running: false, paused: false });
  }

  /** Returns false for one that ran when we last knew, and of which nobody knows how it ended. */
  #tellListed(container: Container, namespace: string, task: Process | undefined, listedAtMs: number): boolean {
    const { memory, graceMs } = this.#settings;
    const { id } = container;
    const known = memory.get(id);
    switch (task?.status) {
      case Status.RUNNING:
      case Status.PAUSED:
      case Status.PAUSING:
        this.#tellRunning(container, namespace, task);
        return true;
      case Status.STOPPED: {
        const endedAtMs = timeOf(task.exitedAt) ?? listedAtMs;
        const isNews = known === undefined ? endedAtMs > listedAtMs - graceMs : known.told && !isEnd(known, endedAtMs);
        if (isNews) this.#tellStopped(container, namespace, task, endedAtMs);
        return true;
      }
      default:
        // Its task was cleared away, or it was never started; one that was since is left to its events.
        return !known?.told || known.endedAtMs !== undefined || (known.startedAtMs ?? 0) >= listedAtMs;
    }
  }

  #tellRunning(container: Container, namespace: string, { pid, status }: Process): void {
    const { memory, onBadInput } = this.#settings;
    const { id } = container;
    if (!isContainerId(id)) return onBadInput('listed container has no id of 64 hex digits', printable(id));
    const known = memory.add(id, namespace);
    // It has ended since it was listed, and that was told; before the first listing without who it is.
    const hasEnded = known.endedAtMs !== undefined && known.pid === pid;
    if (hasEnded && known.textKey !== undefined) return;
    this.#learn(known, container);
    if (hasEnded) return this.tell(id, known);
    const startedAtMs = this.#beginOf(id, known, pid);
    Object.assign(known, { pid, startedAtMs, endedAtMs: undefined, exitCode: undefined });
    this.tell(id, known, status !== Status.RUNNING);
  }

  #tellStopped(container: Container, namespace: string, { pid, exitStatus }: Process, endedAtMs: number): void {
    const { memory, onBadInput } = this.#settings;
    const { id } = container;
    if (!isContainerId(id)) return onBadInput('listed container has no id of 64 hex digits', printable(id));
    const known = memory.add(id, namespace);
    this.#learn(known, container);
    const isAnother = known.endedAtMs !== undefined || (known.pid !== undefined && known.pid !== pid);
    // When it began nobody knows any more: not before the container was made.
    const madeAtMs = known.endedAtMs ?? known.described?.createdAtMs ?? endedAtMs;
    const startedAtMs = isAnother ? madeAtMs : (known.startedAtMs ?? madeAtMs);
    Object.assign(known, { pid, startedAtMs: Math.min(startedAtMs, endedAtMs), endedAtMs, exitCode: exitStatus });
    this.tell(id, known);
  }

  /**
   * They ran when we last knew, and their tasks are gone, and with them what containerd knew of their ends. The CRI plugin
   * may know more, once it has begun; and a shim whose containerd was away tells it again what happened meanwhile, also
   * where containerd (1.7, 2.1) has cleared away its task, exit code and all, as it began.
   */
  async #findEnds(untold: Map<string, RememberedContainer>): Promise<void> {
    const { api, memory, clock, retoldWithinMs, signal } = this.#settings;
    const missedAtMs = clock();
    const late = AbortSignal.timeout(retoldWithinMs);
    const asking = AbortSignal.any([signal, late]);
    while (untold.size > 0 && !signal.aborted) {
      for (const [containerId, known] of untold) {
        const end = await api.endInCri(containerId, asking);
        const isLast = late.aborted;
        const isTold = known.endedAtMs !== undefined || (known.startedAtMs ?? 0) >= missedAtMs;
        const isOurs = !isTold && !signal.aborted && memory.get(containerId) === known;
        if (isOurs && (end !== undefined || isLast)) this.#tellEnd(containerId, known, end ?? { atMs: missedAtMs });
        if (!isOurs || end !== undefined || isLast) untold.delete(containerId);
      }
      if (untold.size > 0) await sleep(askAgainMs, undefined, { signal: asking }).catch(() => {});
    }
  }

  #tellEnd(
    containerId: string,
    known: RememberedContainer,
    { atMs, exitCode }: { atMs: number; exitCode?: number },
  ): void {
    Object.assign(known, { endedAtMs: Math.max(atMs, known.startedAtMs ?? 0), exitCode });
    this.tell(containerId, known);
  }

  /** containerd does not tell when a task was started, but the process has its begin, and a container that of its making. */
  #beginOf(containerId: string, known: RememberedContainer, pid: number): number | undefined {
    const { hostRoot, clock } = this.#settings;
    const memcg = readMemcgOf(hostRoot, pid);
    const isOurs = memcg === undefined || identifyMemcg(memcg).containerId === containerId;
    const beganAtMs = isOurs ? readProcessStart(hostRoot, pid, clock()) : undefined;
    const { startedAtMs, endedAtMs } = known;
    if (startedAtMs !== undefined && endedAtMs === undefined) {
      const isSame = known.pid === undefined ? (beganAtMs ?? -Infinity) <= startedAtMs + sameLifeMs : known.pid === pid;
      if (isSame) return startedAtMs;
    }
    return beganAtMs ?? endedAtMs ?? known.described?.createdAtMs ?? clock();
  }

  /** Never rejects. */
  async #describe(containerId: string): Promise<void> {
    const { api, memory, onBadInput, signal } = this.#settings;
    const container = memory.get(containerId);
    if (container?.namespace === undefined) return;
    try {
      const answer = await api.container(container.namespace, containerId, signal);
      // It was removed while we asked, and that was told.
      if (answer === undefined || memory.get(containerId) !== container) return;
      this.#learn(container, answer);
      if (container.startedAtMs !== undefined) this.tell(containerId, container);
    } catch (error) {
      // Where the connection broke the stream of events does so, too, and that is told.
      const isBroken = error instanceof GrpcError && error.code === 'UNAVAILABLE';
      if (!signal.aborted && !isBroken) onBadInput('container cannot be inspected', printable(describeError(error)));
    }
  }

  #learn(container: RememberedContainer, answer: Container): void {
    container.described = describeContainer(answer, this.#settings.onBadInput);
    container.textKey = textKeyOf(answer);
  }
}

function hasBegun(container: RememberedContainer | undefined): boolean {
  return container?.startedAtMs !== undefined || container?.endedAtMs !== undefined;
}

/** The end of the life that was told. */
function isEnd({ endedAtMs }: RememberedContainer, atMs: number): boolean {
  return endedAtMs !== undefined && atMs <= endedAtMs;
}

function tasksById(tasks: readonly Process[]): Map<string, Process> {
  return new Map(tasks.map((task) => [task.containerId || task.id, task]));
}
