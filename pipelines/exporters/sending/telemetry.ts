import type { Attributes, Counter, ObservableResult } from '@opentelemetry/api';
import type { ComponentSettings, SignalKind } from '../../component.ts';
import type { Queue, RefusalReason } from './queue.ts';

/** Why an exporter dropped data. */
export type DropReason =
  | 'permanent_error'
  | 'retries_exhausted'
  | 'retry_disabled'
  | 'partial_success'
  | 'shutdown'
  | 'buffer_full'
  | 'write_failed';

/** How the Collector's metric names end for each signal: what its items are called. */
export const ITEM_NAMES = { metrics: 'metric_points', logs: 'log_records' } as const;

/** What the Collector's documentation calls the items of each signal in units. */
const ITEM_UNITS = { metrics: '{datapoints}', logs: '{records}' } as const;

/** Counts what one exporter does with one signal, under the names the Collector uses. */
export class ExporterTelemetry {
  readonly #attributes: Attributes;
  readonly #queueAttributes: Attributes;
  readonly #settings: ComponentSettings;
  readonly #sent: Counter;
  readonly #sendFailed: Counter;
  readonly #enqueueFailed: Counter;

  constructor(kind: SignalKind, settings: ComponentSettings) {
    const { id, meter } = settings;
    const items = ITEM_NAMES[kind];
    const unit = ITEM_UNITS[kind];
    this.#settings = settings;
    this.#attributes = { exporter: id };
    this.#queueAttributes = { exporter: id, data_type: kind };
    this.#sent = meter.createCounter(`otelcol_exporter_sent_${items}`, {
      unit,
      description: 'Taken by the destination.',
    });
    this.#sendFailed = meter.createCounter(`otelcol_exporter_send_failed_${items}`, {
      unit,
      description: 'Dropped after an attempt to send, or at shutdown.',
    });
    this.#enqueueFailed = meter.createCounter(`otelcol_exporter_enqueue_failed_${items}`, {
      unit,
      description: 'Not taken into the sending queue.',
    });
  }

  sent(items: number): void {
    this.#sent.add(items, this.#attributes);
  }

  dropped(items: number, reason: DropReason): void {
    this.#sendFailed.add(items, { ...this.#attributes, reason });
  }

  refused(items: number, reason: RefusalReason): void {
    this.#enqueueFailed.add(items, { ...this.#attributes, reason });
  }

  /** Reports size and capacity of `queue` until the returned function is called. */
  observeQueue(queue: Queue): () => void {
    const { meter } = this.#settings;
    const size = meter.createObservableGauge('otelcol_exporter_queue_size', {
      description: 'What waits in the sending queue, in the unit of its sizer.',
    });
    const capacity = meter.createObservableGauge('otelcol_exporter_queue_capacity', {
      description: 'Bound of the sending queue, in the unit of its sizer.',
    });
    const observeSize = (result: ObservableResult) => result.observe(queue.size, this.#queueAttributes);
    const observeCapacity = (result: ObservableResult) => result.observe(queue.capacity, this.#queueAttributes);
    size.addCallback(observeSize);
    capacity.addCallback(observeCapacity);
    return () => {
      size.removeCallback(observeSize);
      capacity.removeCallback(observeCapacity);
    };
  }
}
