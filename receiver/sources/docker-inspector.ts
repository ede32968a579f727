import { describeError } from '../../pipelines/errors.ts';
import type { ContainerSeen, Emit, RuntimeName } from '../observation.ts';
import { printable, type OnBadInput } from './bad-input.ts';
import type { DockerApi } from './docker-api.ts';
import { decodeInspection, decodeList, endedAgoMs, type Inspection, type ListedContainer } from './docker-inspect.ts';
import { inspectAll, Inspections } from './docker-inspections.ts';
import type { DockerMemory, RememberedContainer } from './docker-memory.ts';

/** What one subscription works with. */
export interface SubscriptionSettings {
  api: DockerApi;
  runtime: RuntimeName;
  memory: DockerMemory;
  /** A container that ended longer ago than this when it is first seen is nothing to us. */
  graceMs: number;
  clock: () => number;
  onBadInput: OnBadInput;
  emit: Emit;
  /** Ends it. */
  signal: AbortSignal;
}

const mostInspectionsWaiting = 1000;

/** Times that went through different number formats may differ by so much. */
const clockGrainMs = 1;

/** States in which a container does not run, and about which nothing can have changed unseen but their age. */
const endedStates = new Set(['exited', 'stopped', 'dead']);
/** States of a container that has never run. */
const unbornStates = new Set(['created', 'configured', 'initialized']);

/** Asks the daemon how containers stand, and tells it. */
export class DockerInspector {
  readonly #settings: SubscriptionSettings;
  readonly #eventful: Inspections;

  constructor(settings: SubscriptionSettings) {
    this.#settings = settings;
    this.#eventful = new Inspections(
      (id) => this.#tellAfterEvent(id),
      mostInspectionsWaiting,
      (id) => settings.onBadInput(`more than ${mostInspectionsWaiting} containers wait for their inspection`, id),
    );
  }

  /** Tells, as soon as possible, what the event that came of a container does not tell of it. */
  askAfterEvent(containerId: string): void {
    this.#eventful.add(containerId);
  }

  /** Tells how every container stands that runs, that ended lately, or that we knew before. */
  async list(): Promise<void> {
    const { api, memory, graceMs, clock, onBadInput, emit, signal } = this.#settings;
    const listedAtMs = clock();
    memory.forgetEnded(listedAtMs - graceMs);
    const before = memory.ids();
    const listed = decodeList(await api.list(signal), onBadInput);
    const there = new Set(listed.map(({ containerId }) => containerId));
    for (const containerId of before) {
      const isGone = !there.has(containerId) && memory.delete(containerId);
      if (isGone) emit({ kind: 'container_removed', containerId, atMs: clock() });
    }
    const concerning = listed.filter((container) => before.has(container.containerId) || this.#mayConcernUs(container));
    const ids = concerning.map(({ containerId }) => containerId);
    await inspectAll(ids, (id) => (before.has(id) ? this.#tellChanged(id, listedAtMs) : this.#tellFound(id)));
  }

  /** Sorts out, without asking for each, the containers of which a host can have thousands. */
  #mayConcernUs(container: ListedContainer): boolean {
    if (unbornStates.has(container.state)) return false;
    return !endedStates.has(container.state) || (endedAgoMs(container) ?? 0) < this.#settings.graceMs;
  }

  /**
   * Of a container of which an event came. Where it has begun another life since (Podman's events come up to 250 ms
   * late), the events between come first, and with the last of them another inspection.
   */
  async #tellAfterEvent(containerId: string): Promise<void> {
    const inspection = await this.#inspect(containerId);
    if (inspection === undefined) return;
    const { startedAtMs = Infinity } = this.#settings.memory.get(containerId) ?? {};
    const isAnother = (inspection.seen.startedAtMs ?? 0) > startedAtMs + clockGrainMs;
    if (!isAnother) this.#settings.emit(inspection.seen);
  }

  /**
   * Of a container that was told already. One that has begun another life since we subscribed is left to the events, as
   * above. A begin that lies in the future is from before the clock was set back, and no event tells of it any more.
   */
  async #tellChanged(containerId: string, subscribedAtMs: number): Promise<void> {
    const { memory, clock, emit } = this.#settings;
    const inspection = await this.#inspect(containerId);
    if (inspection === undefined) return;
    const { startedAtMs = -Infinity } = memory.get(containerId) ?? {};
    const beganAtMs = inspection.seen.startedAtMs ?? -Infinity;
    const isToCome = beganAtMs > Math.max(subscribedAtMs, startedAtMs + clockGrainMs) && beganAtMs <= clock();
    if (!isToCome) emit(inspection.seen);
  }

  /** Of a container that was there before us. */
  async #tellFound(containerId: string): Promise<void> {
    const { memory, clock, graceMs, emit } = this.#settings;
    const container = memory.add(containerId);
    const seen = (await this.#inspect(containerId))?.seen;
    const concernsUs = seen !== undefined && (seen.running || (seen.finishedAtMs ?? 0) > clock() - graceMs);
    if (concernsUs) {
      container.told = true;
      emit(seen);
    } else if (!container.told) {
      memory.delete(containerId);
    }
  }

  /** Never rejects; undefined for a container that was removed, or whose answer cannot be had or read. */
  async #inspect(containerId: string): Promise<Inspection | undefined> {
    const { api, runtime, memory, clock, onBadInput, signal } = this.#settings;
    const container = memory.get(containerId);
    if (container === undefined) return undefined;
    const askedAtMs = clock();
    try {
      const answer = await api.inspect(containerId, signal);
      // It was removed while we asked, and that was told.
      if (answer === undefined || memory.get(containerId) !== container) return undefined;
      const inspection = decodeInspection(answer, containerId, askedAtMs, runtime, onBadInput);
      if (inspection === undefined) return undefined;
      Object.assign(container, inspection.clash, { endedAtMs: endOf(inspection.seen, container) });
      return inspection;
    } catch (error) {
      // Where the connection broke the stream of events does so, too, and that is told.
      if (!signal.aborted && !isConnectionError(error)) {
        onBadInput('container cannot be inspected', printable(describeError(error)));
      }
      return undefined;
    }
  }
}

function isConnectionError(error: unknown): boolean {
  const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
  return code !== undefined;
}

/**
 * When the present life ended, at the latest when we asked: its record can be from before the clock was set back. An
 * answer that it runs may be older than the event of its end.
 */
function endOf(seen: ContainerSeen, { endedAtMs = 0 }: RememberedContainer): number | undefined {
  if (!seen.running) return seen.finishedAtMs === undefined ? undefined : Math.min(seen.finishedAtMs, seen.atMs);
  return endedAtMs > (seen.startedAtMs ?? seen.atMs) ? endedAtMs : undefined;
}
