import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { MetricData, ResourceMetrics } from '@opentelemetry/sdk-metrics';
import * as z from 'zod';
import { aborted, countPoints, type Component, type ComponentSettings, type ProcessorFactory } from '../component.ts';
import { describeError } from '../errors.ts';
import { duration } from '../units.ts';

const configSchema = z
  .strictObject({
    /** A batch is passed on when it holds so many log records or data points, whatever the time. */
    send_batch_size: z.int().positive().default(8192),
    /** … or when its first item has waited so long. 0: each piece of data is passed on at once. */
    timeout: duration.default(200),
    /** Larger batches are split, though not what one resource has in metrics; 0 is no limit. */
    send_batch_max_size: z.int().nonnegative().default(0),
  })
  .refine(
    ({ send_batch_size, send_batch_max_size }) => send_batch_max_size === 0 || send_batch_max_size >= send_batch_size,
    {
      error: 'must be 0 or at least send_batch_size',
      path: ['send_batch_max_size'],
    },
  );

type BatchConfig = z.infer<typeof configSchema>;

/** Gathers data for a moment, so that less requests are sent. Data of one batch keeps its order. */
export const batch: ProcessorFactory<BatchConfig> = {
  type: 'batch',
  configSchema,
  createMetrics(config, settings, next) {
    const batcher = new Batcher<ResourceMetrics>(
      config,
      settings,
      'metric_points',
      (one) => countPoints([one]),
      (items) => next.consumeMetrics(items),
    );
    return Object.assign(batcher, {
      consumeMetrics: (metrics: readonly ResourceMetrics[]) => batcher.add(metrics.map(copyOf)),
    });
  },
  createLogs(config, settings, next) {
    const batcher = new Batcher<ReadableLogRecord>(
      config,
      settings,
      'log_records',
      () => 1,
      (items) => next.consumeLogs(items),
    );
    return Object.assign(batcher, { consumeLogs: (logs: readonly ReadableLogRecord[]) => batcher.add(logs) });
  },
};

/** Batches that the next component has neither taken nor refused. It may wait for its destination. */
const mostPassing = 100;

class Batcher<Item> implements Component {
  readonly #config: BatchConfig;
  readonly #sizeOf: (item: Item) => number;
  readonly #pass: (items: Item[]) => Promise<void>;
  readonly #refused: (count: number, error: unknown) => void;
  #held: Item[] = [];
  #heldSize = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  readonly #passing = new Set<Promise<void>>();

  constructor(
    config: BatchConfig,
    { meter, logger, id }: ComponentSettings,
    items: string,
    sizeOf: (item: Item) => number,
    pass: (items: Item[]) => Promise<void>,
  ) {
    this.#config = config;
    this.#sizeOf = sizeOf;
    this.#pass = pass;
    const refused = meter.createCounter(`otelcol_processor_refused_${items}`);
    this.#refused = (count, error) => {
      refused.add(count, { processor: id });
      logger.debug('the next component refused a batch', { items: count, error: describeError(error) });
    };
  }

  async start(): Promise<void> {}

  async shutdown(deadline: AbortSignal): Promise<void> {
    this.#stopped = true;
    this.#flush();
    await Promise.race([Promise.all(this.#passing), aborted(deadline)]);
  }

  /**
   * Resolves once the items are held; what is refused later is counted here. Rejects where too many batches wait for
   * the next component.
   */
  async add(items: readonly Item[]): Promise<void> {
    if (this.#passing.size >= mostPassing) {
      throw new Error(`cannot hold more: the next component has not taken the last ${mostPassing} batches`);
    }
    if (this.#config.timeout === 0 || this.#stopped) return this.#passAtOnce(items);
    for (const item of items) this.#hold(item);
    if (this.#heldSize > 0) this.#timer ??= setTimeout(() => this.#flush(), this.#config.timeout);
  }

  async #passAtOnce(items: readonly Item[]): Promise<void> {
    const results = await Promise.allSettled(this.#split(items).map((part) => this.#pass(part)));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Batches up to the maximum, each but the last as large as can be. */
  #split(items: readonly Item[]): Item[][] {
    const max = this.#config.send_batch_max_size || Infinity;
    const batches: Item[][] = [];
    let batchSize = 0;
    for (const item of items) {
      const size = this.#sizeOf(item);
      const last = batches.at(-1);
      if (last === undefined || batchSize + size > max) {
        batches.push([item]);
        batchSize = size;
      } else {
        last.push(item);
        batchSize += size;
      }
    }
    return batches;
  }

  #hold(item: Item): void {
    const { send_batch_size, send_batch_max_size } = this.#config;
    const size = this.#sizeOf(item);
    if (send_batch_max_size > 0 && this.#held.length > 0 && this.#heldSize + size > send_batch_max_size) this.#flush();
    this.#held.push(item);
    this.#heldSize += size;
    if (this.#heldSize >= send_batch_size) this.#flush();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#held.length === 0) return;
    const [items, size] = [this.#held, this.#heldSize];
    this.#held = [];
    this.#heldSize = 0;
    const passed = this.#pass(items)
      .catch((error: unknown) => this.#refused(size, error))
      .finally(() => this.#passing.delete(passed));
    this.#passing.add(passed);
  }
}

/** Copies what the sender may write again. */
function copyOf({ resource, scopeMetrics }: ResourceMetrics): ResourceMetrics {
  const copyMetric = <Metric extends MetricData>(metric: Metric): Metric => ({
    ...metric,
    dataPoints: metric.dataPoints.map((point) => ({ ...point })),
  });
  return {
    resource,
    scopeMetrics: scopeMetrics.map((scope) => ({ ...scope, metrics: scope.metrics.map(copyMetric) })),
  };
}
