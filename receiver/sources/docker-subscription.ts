import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../pipelines/errors.ts';
import type { ContainerSeen, Emit, RuntimeName } from '../observation.ts';
import { printable, type OnBadInput } from './bad-input.ts';
import type { DockerApi } from './docker-api.ts';
import {
  clashOf,
  decodeEvent,
  observationOf,
  showsDeception,
  type DockerEvent,
  type LabelClash,
} from './docker-event.ts';
import { decodeInspection, decodeList, endedAgoMs, type Inspection, type ListedContainer } from './docker-inspect.ts';
import { inspectAll, Inspections } from './docker-inspections.ts';
import type { DockerMemory, RememberedContainer } from './docker-memory.ts';
import { LineSplitter } from './line-splitter.ts';

/** What one subscription works with. */
interface SubscriptionSettings {
  api: DockerApi;
  runtime: RuntimeName;
  memory: DockerMemory;
  graceMs: number;
  clock: () => number;
  onBadInput: OnBadInput;
  emit: Emit;
  /** Ends it. */
  signal: AbortSignal;
}

const longestEventBytes = 2 ** 20;
const mostInspectionsWaiting = 1000;

/** A replay of events is over when so long none has come, */
const endOfReplayMs = 50;
/** and is not waited for any longer than this. */
const longestReplayMs = 1000;

/** Times that went through different number formats may differ by so much. */
const clockGrainMs = 1;

/** States in which a container does not run, and about which nothing can have changed unseen but their age. */
const endedStates = new Set(['exited', 'stopped', 'dead']);
/** States of a container that has never run. */
const unbornStates = new Set(['created', 'configured', 'initialized']);

/** One subscription to the events of a daemon, with the listing that goes with it. */
export class DockerSubscription {
  readonly #settings: SubscriptionSettings;
  readonly #lines: LineSplitter;
  readonly #started: Inspections;
  #linesTaken = 0;

  constructor(settings: SubscriptionSettings) {
    const { onBadInput } = settings;
    this.#settings = settings;
    this.#lines = new LineSplitter(longestEventBytes, (start) =>
      onBadInput(`event is longer than ${longestEventBytes} bytes`, printable(start)),
    );
    this.#started = new Inspections(
      (id) => this.#tellStarted(id),
      mostInspectionsWaiting,
      (id) => onBadInput(`more than ${mostInspectionsWaiting} containers wait for their inspection`, id),
    );
  }

  /** Subscribes, lists, calls `up`, and goes on until it is broken: always rejects in the end. */
  async run(up: () => void): Promise<never> {
    const { api, runtime, memory, clock, signal } = this.#settings;
    const { resumes } = memory;
    // Podman (4.3) gives no sign of a subscription before there is an event. It writes its events down, so that those
    // between our asking and its subscribing come as well.
    const silent = runtime === 'podman';
    const subscribed = api.events(memory.resumeAtMs(clock()), silent, signal);
    const broken = subscribed.then((stream) => this.#follow(stream));
    // Where something else fails first nobody awaits this any more.
    broken.catch(() => {});
    if (!silent) await subscribed;
    // What was missed is better told by its events than by what came of it.
    if (resumes) await Promise.race([broken, this.#untilReplayed(subscribed)]);
    await Promise.race([broken, this.#list()]);
    up();
    return broken;
  }

  /** The daemon does not say where the replay of old events ends and the present begins, but it replays in one go. */
  async #untilReplayed(subscribed: Promise<unknown>): Promise<void> {
    const { signal } = this.#settings;
    const pause = (ms: number) => sleep(ms, undefined, { signal });
    await Promise.race([subscribed, pause(longestReplayMs)]);
    let before = -1;
    for (let waitedMs = 0; before !== this.#linesTaken && waitedMs < longestReplayMs; waitedMs += endOfReplayMs) {
      before = this.#linesTaken;
      await pause(endOfReplayMs);
    }
  }

  /** Takes in what the stream brings. Always rejects in the end, and leaves the stream closed. */
  async #follow(stream: Readable): Promise<never> {
    const { api, signal } = this.#settings;
    const { promise: broken, reject } = Promise.withResolvers<never>();
    const stop = (): void => void stream.destroy();
    const take = (line: string): void => {
      this.#linesTaken++;
      this.#take(line);
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    stream.on('error', reject);
    stream.once('end', () => reject(new Error('the daemon ended it')));
    stream.once('close', () => reject(new Error('it was closed')));
    stream.on('data', (chunk: Buffer) => {
      try {
        this.#lines.push(chunk, take);
      } catch (error) {
        reject(error);
      }
    });
    try {
      return await broken;
    } catch (cause) {
      throw new Error(`the stream of events from "${api.endpoint}" broke`, { cause });
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
    }
  }

  /** One event: emitted at once. A container that was started is asked for what the event does not tell. */
  #take(line: string): void {
    const { runtime, memory, clock, onBadInput, emit } = this.#settings;
    const event = decodeEvent(line, clock(), onBadInput);
    if (event === undefined || !memory.isNew(event)) return;
    const clash = this.#note(event);
    const observation = observationOf(event, runtime, clash, onBadInput);
    if (observation !== undefined) emit(observation);
    const tellsTooLittle = event.action === 'die' && clash.deceptive;
    if (event.action === 'start' || tellsTooLittle) this.#started.add(event.containerId);
  }

  #note(event: DockerEvent): LabelClash {
    const { runtime, memory } = this.#settings;
    const { containerId, action, atMs } = event;
    const turns = action === 'start' || action === 'die';
    const container = turns ? memory.add(containerId) : memory.get(containerId);
    if (action === 'destroy') memory.delete(containerId);
    if (container === undefined) return clashOf({});
    if (turns) {
      container.told = true;
      container.endedAtMs = action === 'die' ? atMs : undefined;
      if (action === 'start') container.startedAtMs = atMs;
    }
    if (runtime === 'docker' && showsDeception(event)) container.deceptive = true;
    return container;
  }

  /** Tells how every container stands that runs, that ended lately, or that we knew before. */
  async #list(): Promise<void> {
    const { api, memory, graceMs, clock, onBadInput, emit, signal } = this.#settings;
    memory.forgetEnded(clock() - graceMs);
    const before = memory.ids();
    const listed = decodeList(await api.list(signal), onBadInput);
    const there = new Set(listed.map(({ containerId }) => containerId));
    for (const containerId of before) {
      const isGone = !there.has(containerId) && memory.delete(containerId);
      if (isGone) emit({ kind: 'container_removed', containerId, atMs: clock() });
    }
    const concerning = listed.filter((container) => before.has(container.containerId) || this.#mayConcernUs(container));
    const ids = concerning.map(({ containerId }) => containerId);
    await inspectAll(ids, (id) => (before.has(id) ? this.#tellChanged(id) : this.#tellFound(id)));
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
  async #tellStarted(containerId: string): Promise<void> {
    const inspection = await this.#inspect(containerId);
    if (inspection === undefined) return;
    const { startedAtMs = Infinity } = this.#settings.memory.get(containerId) ?? {};
    const isAnother = (inspection.seen.startedAtMs ?? 0) > startedAtMs + clockGrainMs;
    if (!isAnother) this.#settings.emit(inspection.seen);
  }

  /** Of a container that was told already. */
  async #tellChanged(containerId: string): Promise<void> {
    const inspection = await this.#inspect(containerId);
    if (inspection !== undefined) this.#settings.emit(inspection.seen);
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

/** When the present life ended. An answer that it runs may be older than the event of its end. */
function endOf(seen: ContainerSeen, { endedAtMs = 0 }: RememberedContainer): number | undefined {
  if (!seen.running) return seen.finishedAtMs;
  return endedAtMs > (seen.startedAtMs ?? seen.atMs) ? endedAtMs : undefined;
}
