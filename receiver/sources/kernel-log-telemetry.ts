import type { Counter } from '@opentelemetry/api';
import type { ComponentSettings, Logger } from '../../pipelines/component.ts';
import type { LogWay } from '../kernel/log-tap.ts';
import type { KernelLogGap } from '../observation.ts';

/** Gaps within this time of a logged one are counted, and told of with the next. */
const quietMs = 10_000;

/** What the source `kernel_log` tells of itself: which way it takes, and what was lost. */
export class KernelLogTelemetry {
  readonly #logger: Logger;
  readonly #receiver: { receiver: string };
  readonly #gaps: Counter;
  readonly #lost: Counter;
  /** As it was opened last. */
  #way: LogWay | undefined;
  #quietUntilMs = -Infinity;
  #untold = 0;

  constructor({ id, meter, logger }: ComponentSettings) {
    this.#logger = logger;
    this.#receiver = { receiver: id };
    this.#gaps = meter.createCounter('exit137_kernel_log_gaps', {
      unit: '{gap}',
      description: 'Parts of the kernel log that were lost before they were read, by reason.',
    });
    this.#lost = meter.createCounter('exit137_kernel_log_lost_records', {
      unit: '{record}',
      description: 'Records of the kernel log that were lost before they were read, where the log numbers them.',
    });
  }

  /** In which way the log was opened last, if it was. */
  get way(): LogWay | undefined {
    return this.#way;
  }

  /** Another way to read the log than before is taken. */
  opened(from: string, refused: readonly string[], way: LogWay): void {
    this.#way = way;
    if (refused.length === 0) this.#logger.info('kernel log is read', { from });
    else this.#logger.warn('kernel log is read by a lesser way', { from, refused: refused.join('; ') });
  }

  gap({ reason, lostRecords, fromMs, toMs, atMs }: KernelLogGap): void {
    this.#gaps.add(1, { ...this.#receiver, reason });
    this.#lost.add(lostRecords ?? 0, this.#receiver);
    if (atMs < this.#quietUntilMs) return void this.#untold++;
    this.#quietUntilMs = atMs + quietMs;
    const spanMs = fromMs === undefined ? undefined : Math.round(toMs - fromMs);
    this.#logger.warn('part of the kernel log is lost; the counters tell of kills in it', {
      reason,
      ...(lostRecords === undefined ? {} : { lostRecords }),
      ...(spanMs === undefined ? {} : { spanMs }),
      ...(this.#untold === 0 ? {} : { gapsBefore: this.#untold }),
    });
    this.#untold = 0;
  }
}
