import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { countPoints, type ComponentSettings, type Exporter, type Logger, type SignalKind } from '../../component.ts';
import { PermanentError } from '../../errors.ts';
import type { QueueConfig, SendingConfig } from './config.ts';
import { MemoryQueue } from './queue.ts';
import { countRecords, toRequests, type SendRequest } from './request.ts';
import { Sender, type SenderQueue } from './sender.ts';
import type { OtlpSerializer } from './serializer.ts';
import { ShutdownDrops } from './shutdown-drops.ts';
import type { Transport } from './transport.ts';

/**
 * An exporter that sends over a network: serialises what it is given, queues the bytes and sends them, again and
 * again where that may help. Each signal has its own queue and consumers, so that a flood of metrics cannot push out
 * the record of a kill.
 */
export class SendingExporter implements Exporter {
  readonly #transport: Transport;
  readonly #serializer: OtlpSerializer;
  readonly #maxRequestBytes: number;
  readonly #metrics: Sender;
  readonly #logs: Sender;
  readonly #logger: Logger;
  readonly #shutdownDrops = new ShutdownDrops();
  /** One for each request that is being packed, settled when it is submitted. */
  readonly #packing = new Set<Promise<void>>();
  #stopped = false;

  constructor(config: SendingConfig, settings: ComponentSettings, transport: Transport, serializer: OtlpSerializer) {
    this.#transport = transport;
    this.#serializer = serializer;
    this.#maxRequestBytes = config.queue.maxRequestBytes;
    const makeSender = (kind: SignalKind) =>
      new Sender(kind, transport, config.retry, makeQueue(config.queue), settings, this.#shutdownDrops);
    this.#metrics = makeSender('metrics');
    this.#logs = makeSender('logs');
    this.#logger = settings.logger;
  }

  async start(): Promise<void> {
    await this.#transport.open();
    if (this.#stopped) return;
    this.#metrics.start();
    this.#logs.start();
  }

  stopRetrying(): void {
    this.#shutdownDrops.begin();
    this.#metrics.stopRetrying();
    this.#logs.stopRetrying();
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    this.#stopped = true;
    this.stopRetrying();
    while (this.#packing.size > 0) await Promise.all(this.#packing);
    await Promise.all([this.#metrics.stop(deadline), this.#logs.stop(deadline)]);
    await this.#transport.close();
    this.#shutdownDrops.tell(this.#logger);
  }

  async consumeMetrics(metrics: readonly ResourceMetrics[]): Promise<void> {
    const { metrics: serialize, metricsWithin, recycle } = this.#serializer;
    await this.#consume(this.#metrics, metrics, metricsWithin ?? serialize, countPoints, recycle);
  }

  async consumeLogs(logs: readonly ReadableLogRecord[]): Promise<void> {
    await this.#consume(this.#logs, logs, this.#serializer.logs, countRecords);
  }

  async #consume<Data>(
    sender: Sender,
    data: readonly Data[],
    serialize: (data: readonly Data[], maxBytes: number) => Uint8Array | undefined,
    countItems: (data: readonly Data[]) => number,
    recycle?: (body: Uint8Array) => void,
  ): Promise<void> {
    let requests: SendRequest[];
    try {
      requests = toRequests(data, serialize, countItems, this.#maxRequestBytes);
    } catch (error) {
      sender.refuseUnserialised(countItems(data), error);
      throw new PermanentError('cannot serialise data', { cause: error });
    }
    const submitted = requests.map((request) => this.#packAndSubmit(sender, request, recycle));
    await Promise.all(submitted);
  }

  async #packAndSubmit(
    sender: Sender,
    { body, items }: SendRequest,
    recycle?: (body: Uint8Array) => void,
  ): Promise<void> {
    const release = () => recycle?.(body);
    if (this.#transport.pack === undefined) return sender.submit({ body, items, release });
    const { promise: handedOn, resolve } = Promise.withResolvers<void>();
    this.#packing.add(handedOn);
    let done: Promise<void>;
    try {
      const packed = await this.#transport.pack(body);
      if (packed === body) {
        done = sender.submit({ body, items, release });
      } else {
        release();
        done = sender.submit({ body: packed, items });
      }
    } catch (error) {
      sender.refuseUnserialised(items, error);
      throw new PermanentError('cannot compress data', { cause: error });
    } finally {
      this.#packing.delete(handedOn);
      resolve();
    }
    await done;
  }
}

function makeQueue(config: QueueConfig): SenderQueue | undefined {
  if (!config.enabled) return undefined;
  const { queueSize, sizer, maxBytes, blockOnOverflow, numConsumers, waitForResult } = config;
  const queue = new MemoryQueue({ capacity: queueSize, sizeOf: SIZE_OF[sizer], maxBytes, blockOnOverflow });
  return { queue, consumers: numConsumers, waitForResult };
}

const SIZE_OF: Record<QueueConfig['sizer'], (request: SendRequest) => number> = {
  requests: () => 1,
  items: (request) => request.items,
  bytes: (request) => request.body.byteLength,
};
