import type { Counter } from '@opentelemetry/api';
import type { ComponentSettings, Logger } from '../pipelines/component.ts';
import { describeError } from '../pipelines/errors.ts';
import { forgetReasons, type ContainerTable } from './container-table.ts';
import type { Observation } from './observation.ts';
import { NothingToObserveError, type SourceWatcher } from './source.ts';

/** More kinds of malformed input than this are counted, but no longer told one by one. */
const mostKindsOfBadInput = 20;

/** What the receiver tells of itself: metrics by the Collector's names, and one log line per change of state. */
export class Telemetry {
  readonly #logger: Logger;
  readonly #receiver: { receiver: string };
  readonly #up = new Map<string, boolean>();
  readonly #failures = new Map<string, string>();
  readonly #badInput = new Set<string>();
  readonly #events: Counter;
  readonly #bad: Counter;
  readonly #unknown: Counter;
  readonly #internal: Counter;
  /** What each task failed at last. */
  readonly #internalErrors = new Map<string, string>();
  readonly #accepted: Record<Items, Counter>;
  readonly #refused: Record<Items, Counter>;
  readonly #clockJumps = { back: 0, forward: 0 };
  #refusing = false;

  constructor({ id, meter, logger }: ComponentSettings, table: ContainerTable) {
    this.#logger = logger;
    this.#receiver = { receiver: id };
    this.#events = meter.createCounter('exit137_source_events', {
      unit: '{event}',
      description: 'Observations made by a source.',
    });
    this.#bad = meter.createCounter('exit137_source_bad_input', {
      unit: '{input}',
      description: 'Answers, events and files that a source could not use.',
    });
    this.#unknown = meter.createCounter('exit137_observations_dropped', {
      unit: '{event}',
      description: 'Observations that belong to no known container or could not be judged, by kind.',
    });
    this.#internal = meter.createCounter('exit137_internal_errors', {
      unit: '{error}',
      description: 'Times that a task of the receiver failed by a bug: look, settle, tell or collect.',
    });
    this.#accepted = countersOf((items) => meter.createCounter(`otelcol_receiver_accepted_${items}`));
    this.#refused = countersOf((items) => meter.createCounter(`otelcol_receiver_refused_${items}`));
    meter
      .createObservableGauge('exit137_source_up', { unit: '1', description: '1 while the source works, else 0.' })
      .addCallback((result) => {
        for (const [source, up] of this.#up) result.observe(up ? 1 : 0, { ...this.#receiver, source });
      });
    meter
      .createObservableGauge('exit137_containers', { unit: '{container}', description: 'Containers in the table.' })
      .addCallback((result) => result.observe(table.size, this.#receiver));
    meter
      .createObservableCounter('exit137_containers_refused', {
        unit: '{event}',
        description: 'Observations of containers that found no room in the table.',
      })
      .addCallback((result) => result.observe(table.refused, this.#receiver));
    meter
      .createObservableCounter('exit137_clock_jumps', {
        unit: '{jump}',
        description: "Times that the node's wall clock was moved, by direction: back or forward.",
      })
      .addCallback((result) => {
        for (const direction of directions)
          result.observe(this.#clockJumps[direction], { ...this.#receiver, direction });
      });
    meter
      .createObservableCounter('exit137_containers_forgotten', {
        unit: '{container}',
        description: 'Containers that left the table, by reason: ended, not_seen (no runtime told the end) or no_room.',
      })
      .addCallback((result) => {
        for (const reason of forgetReasons) result.observe(table.forgotten[reason], { ...this.#receiver, reason });
      });
    table.watch({
      clockJumped: (byMs) => this.#clockJumped(byMs),
      forgotUnended: (containers) =>
        this.#logger.warn('forgets containers that are gone, though no runtime told their end', { containers }),
    });
  }

  /** Watches a source; `decided` is called once it works or has failed for the first time. */
  watch(source: string, decided: () => void): SourceWatcher {
    this.#up.set(source, false);
    return {
      up: () => {
        const was = this.#failures.get(source);
        this.#up.set(source, true);
        this.#failures.delete(source);
        this.#logger.info(was === undefined ? 'source works' : 'source works again', { source });
        decided();
      },
      down: (error) => {
        const reason = describeError(error);
        this.#up.set(source, false);
        if (this.#failures.get(source) !== reason) {
          if (error instanceof NothingToObserveError) this.#logger.info('source has nothing here', { source, reason });
          else this.#logger.warn('source does not work', { source, error: reason });
        }
        this.#failures.set(source, reason);
        decided();
      },
    };
  }

  /** Whether a source works now, as `exit137_source_up` tells. */
  isUp(source: string): boolean {
    return this.#up.get(source) === true;
  }

  countObservation(source: string): void {
    this.#events.add(1, { ...this.#receiver, source });
  }

  /** A bug of ours: the observation is lost, the service goes on. */
  countFailure(source: string, { kind }: Observation, error: unknown): void {
    this.#unknown.add(1, { ...this.#receiver, kind });
    this.#logger.error('an observation could not be judged', { source, kind, error: (error as Error).stack });
  }

  /** A bug of ours in one of a few tasks: counted each time, told where it is not the same as the time before. */
  countInternalError(task: string, error: unknown): void {
    this.#internal.add(1, { ...this.#receiver, task });
    const reason = describeError(error);
    if (this.#internalErrors.get(task) === reason) return;
    this.#internalErrors.set(task, reason);
    this.#logger.error('a task failed; it is tried again', { task, error: (error as Error).stack ?? reason });
  }

  /** A container that nobody has listed, or one that found no room. */
  countUnknown({ kind }: Observation): void {
    this.#unknown.add(1, { ...this.#receiver, kind });
  }

  /** Counted each time, told once for each kind; `value` is hostile text. */
  countBadInput(source: string, what: string, value: string): void {
    this.#bad.add(1, { ...this.#receiver, source });
    const kind = `${source}: ${what}`;
    if (this.#badInput.has(kind) || this.#badInput.size >= mostKindsOfBadInput) return;
    this.#badInput.add(kind);
    this.#logger.warn('source met something it cannot use; told once, counted each time', { source, what, value });
  }

  accepted(items: Items, count: number): void {
    this.#accepted[items].add(count, this.#receiver);
    this.#refusing = false;
  }

  refused(items: Items, count: number, reason: string): void {
    this.#refused[items].add(count, this.#receiver);
    if (!this.#refusing) this.#logger.warn('pipeline refuses data', { items, error: reason });
    this.#refusing = true;
  }

  #clockJumped(byMs: number): void {
    this.#clockJumps[byMs < 0 ? 'back' : 'forward']++;
    const how = byMs < 0 ? 'back' : 'forward, or the node slept';
    this.#logger.warn(`the node's clock was set ${how}`, { seconds: Math.abs(Math.round(byMs)) / 1000 });
  }
}

const directions = ['back', 'forward'] as const;

type Items = 'log_records' | 'metric_points';

function countersOf(make: (items: Items) => Counter): Record<Items, Counter> {
  return { log_records: make('log_records'), metric_points: make('metric_points') };
}
