import type { ComponentSettings, Logger } from '../../component.ts';
import { describeError } from '../../errors.ts';
import type { PodTable } from './pod-table.ts';
import type { PodWatcher } from './pod-watch.ts';

/** Reasons that are told of one failure. */
const mostReasons = 5;

/** What the processor tells of itself: metrics, and one log line per change of state. */
export class WatchTelemetry implements PodWatcher {
  readonly #logger: Logger;
  readonly #where: Record<string, unknown>;
  readonly #table: PodTable;
  /** Undefined until the first attempt has come to something. */
  #up: boolean | undefined;
  /** What was told of the present failure. */
  readonly #told = new Set<string>();
  #lastReason: string | undefined;
  readonly #known = Promise.withResolvers<void>();
  #lists = 0;
  readonly #unusable = { too_large: 0, unreadable: 0 };

  /** `where` is what is watched, for our own log; `cutValues` counts values that were cut or left out. */
  constructor(
    { id, meter, logger }: ComponentSettings,
    where: Record<string, unknown>,
    table: PodTable,
    cutValues: () => number,
  ) {
    this.#logger = logger;
    this.#where = where;
    this.#table = table;
    const processor = { processor: id };
    meter
      .createObservableGauge('exit137_pod_watch_up', {
        unit: '1',
        description: "1 while the API server tells of the node's pods, else 0.",
      })
      .addCallback((result) => result.observe(this.#up === true ? 1 : 0, processor));
    meter
      .createObservableGauge('exit137_pods', { unit: '{pod}', description: 'Pods of the node, as far as is known.' })
      .addCallback((result) => result.observe(table.size, processor));
    meter
      .createObservableCounter('exit137_pod_lists', {
        unit: '{list}',
        description: 'Times that all pods were asked for: once, and whenever changes were missed.',
      })
      .addCallback((result) => result.observe(this.#lists, processor));
    meter
      .createObservableCounter('exit137_pods_dropped', {
        unit: '{pod}',
        description: 'Pods that were not taken up, by reason: no_room, too_large or unreadable.',
      })
      .addCallback((result) => {
        result.observe(table.refused, { ...processor, reason: 'no_room' });
        for (const [reason, count] of Object.entries(this.#unusable)) result.observe(count, { ...processor, reason });
      });
    meter
      .createObservableCounter('exit137_pod_values_cut', {
        unit: '{value}',
        description: 'Values of labels and annotations that were cut, or left out where there were too many.',
      })
      .addCallback((result) => result.observe(cutValues(), processor));
  }

  /** Whether pods that are not known are likely to be soon. */
  get isComing(): boolean {
    return this.#up !== false;
  }

  /** Why the API server cannot be asked, as far as that was told. */
  get lastReason(): string | undefined {
    return this.#lastReason;
  }

  /** Resolves once all pods are known. */
  get known(): Promise<void> {
    return this.#known.promise;
  }

  listing(): void {
    this.#lists++;
  }

  up(): void {
    if (this.#up !== true) {
      const message = this.#up === undefined ? "knows the node's pods" : "knows the node's pods again";
      this.#logger.info(message, { ...this.#where, pods: this.#table.size });
    }
    this.#up = true;
    this.#known.resolve();
    this.#told.clear();
  }

  down(error: unknown): void {
    const reason = describeError(error);
    // A server that comes back refuses everything for a moment: only what it says twice is a new reason.
    const isNew = this.#up !== false || (reason === this.#lastReason && !this.#told.has(reason));
    if (isNew && this.#told.size < mostReasons) {
      this.#told.add(reason);
      this.#logger.warn("cannot watch the node's pods; goes on with what is known of them", {
        ...this.#where,
        pods: this.#table.size,
        error: reason,
      });
    }
    this.#lastReason = reason;
    this.#up = false;
    this.#table.releaseAll();
  }

  unusable(what: 'too_large' | 'unreadable'): void {
    if (this.#unusable[what]++ === 0) {
      this.#logger.warn('the API server sent a pod that cannot be used; told once, counted each time', {
        ...this.#where,
        reason: what,
      });
    }
  }
}
