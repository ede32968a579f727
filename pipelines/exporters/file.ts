import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import * as z from 'zod';
import {
  aborted,
  countPoints,
  type ComponentSettings,
  type Exporter,
  type ExporterFactory,
  type SignalKind,
} from '../component.ts';
import { describeError, PermanentError } from '../errors.ts';
import { duration } from '../units.ts';
import { RotatingFile } from './file/rotating-file.ts';
import { countRecords, toRequests, type SendRequest } from './sending/request.ts';
import { jsonSerializer } from './sending/serializer.ts';
import { ShutdownDrops } from './sending/shutdown-drops.ts';
import { ExporterTelemetry, type DropReason } from './sending/telemetry.ts';

const configSchema = z.strictObject({
  path: z.string('a path is required').min(1),
  format: z.literal('json').default('json'),
  append: z.boolean().default(false),
  rotation: z
    .preprocess(
      (value) => (value === null ? {} : value),
      z
        .strictObject({
          max_megabytes: z.number().positive().default(100),
          max_days: z.int().min(0).default(0),
          max_backups: z.int().min(0).default(100),
        })
        .optional(),
    )
    .optional(),
  flush_interval: duration.default(1_000),
});

/** Configuration of `file`, parsed. */
export type FileConfig = z.infer<typeof configSchema>;

/**
 * Writes OTLP as JSON, one object a line, as the Collector's file exporter does; its `otlpjsonfile` receiver reads it.
 */
export const file: ExporterFactory<FileConfig> = {
  type: 'file',
  configSchema,
  create: (config, settings) => new FileExporter(config, settings),
};

/** The Collector's receiver takes lines up to 1 MiB, newline included, unless it is told otherwise. */
const MAX_LINE_BYTES = 1024 * 1024 - 1;

/** Lines that wait for a disk that is slower than we are. */
const MAX_PENDING_BYTES = 16 * 1024 * 1024;

const NEWLINE = Buffer.from('\n');

/** A line that waits to be written. */
interface PendingLine extends SendRequest {
  kind: SignalKind;
}

class FileExporter implements Exporter {
  readonly #config: FileConfig;
  readonly #settings: ComponentSettings;
  readonly #telemetry: Record<SignalKind, ExporterTelemetry>;
  readonly #file: RotatingFile;
  readonly #shutdownDrops = new ShutdownDrops();
  #pending: PendingLine[] = [];
  #beingWritten: readonly PendingLine[] = [];
  #pendingBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;
  #stopped = false;
  /** Reason why lines are dropped at present. */
  #dropping: DropReason | undefined;
  #droppedItems = 0;

  constructor(config: FileConfig, settings: ComponentSettings) {
    this.#config = config;
    this.#settings = settings;
    this.#telemetry = {
      metrics: new ExporterTelemetry('metrics', settings),
      logs: new ExporterTelemetry('logs', settings),
    };
    const { rotation } = config;
    this.#file = new RotatingFile(
      config.path,
      rotation && {
        maxBytes: rotation.max_megabytes * 1024 * 1024,
        maxDays: rotation.max_days,
        maxBackups: rotation.max_backups,
      },
    );
  }

  async start(): Promise<void> {
    // With rotation the file is the newest of several, and emptying it would lose what no other holds.
    await this.#file.open(this.#config.append || this.#config.rotation !== undefined);
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    this.#stopped = true;
    this.#shutdownDrops.begin();
    clearTimeout(this.#timer);
    const finished = this.#flushAll().then(() => this.#file.close());
    await Promise.race([finished, aborted(deadline)]);
    // What is being written may end up in the file all the same, but nobody waits for that.
    const left = [...this.#beingWritten, ...this.#takePending()];
    this.#beingWritten = [];
    this.#drop(left, 'shutdown', new Error('the deadline of the shutdown has passed'));
    this.#shutdownDrops.tell(this.#settings.logger);
  }

  async consumeMetrics(metrics: readonly ResourceMetrics[]): Promise<void> {
    this.#add('metrics', metrics, jsonSerializer.metrics, countPoints);
  }

  async consumeLogs(logs: readonly ReadableLogRecord[]): Promise<void> {
    this.#add('logs', logs, jsonSerializer.logs, countRecords);
  }

  #add<Data>(
    kind: SignalKind,
    data: readonly Data[],
    serialize: (data: readonly Data[]) => Uint8Array,
    countItems: (data: readonly Data[]) => number,
  ): void {
    if (this.#stopped) {
      this.#telemetry[kind].refused(countItems(data), 'shutdown');
      throw new Error('cannot write: the exporter is shutting down');
    }
    for (const request of this.#serialize(kind, data, serialize, countItems)) {
      const line = { ...request, kind };
      if (this.#pendingBytes + line.body.byteLength > MAX_PENDING_BYTES) {
        this.#drop([line], 'buffer_full', 'the disk is too slow');
      } else {
        this.#pending.push(line);
        this.#pendingBytes += line.body.byteLength;
      }
    }
    this.#timer ??= setTimeout(() => void this.#flush(), this.#config.flush_interval);
  }

  #serialize<Data>(
    kind: SignalKind,
    data: readonly Data[],
    serialize: (data: readonly Data[]) => Uint8Array,
    countItems: (data: readonly Data[]) => number,
  ): SendRequest[] {
    try {
      return toRequests(data, serialize, countItems, MAX_LINE_BYTES);
    } catch (error) {
      this.#telemetry[kind].dropped(countItems(data), 'permanent_error');
      throw new PermanentError('cannot serialise data', { cause: error });
    }
  }

  async #flushAll(): Promise<void> {
    await this.#flushing;
    await this.#flush();
  }

  /** Writes what is pending; never rejects. */
  async #flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flushing ??= this.#writePending().finally(() => (this.#flushing = undefined));
    await this.#flushing;
  }

  async #writePending(): Promise<void> {
    while (this.#pending.length > 0) {
      const lines = this.#takePending();
      this.#beingWritten = lines;
      const failure = await this.#file.write(Buffer.concat(lines.flatMap(({ body }) => [body, NEWLINE]))).then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      // Given up at the deadline of the shutdown, and counted then.
      if (this.#beingWritten !== lines) return;
      this.#beingWritten = [];
      if (failure === undefined) this.#written(lines);
      else this.#drop(lines, 'write_failed', failure.error);
    }
  }

  #takePending(): PendingLine[] {
    const lines = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    return lines;
  }

  #written(lines: readonly PendingLine[]): void {
    for (const { kind, items } of lines) this.#telemetry[kind].sent(items);
    if (this.#dropping === undefined) return;
    const fields = { path: this.#config.path, dropped_items: this.#droppedItems };
    this.#settings.logger.info('writing again', fields);
    this.#dropping = undefined;
    this.#droppedItems = 0;
  }

  #drop(lines: readonly PendingLine[], reason: DropReason, error: unknown): void {
    if (lines.length === 0) return;
    for (const { kind, items } of lines) {
      this.#telemetry[kind].dropped(items, reason);
      this.#droppedItems += items;
    }
    if (this.#shutdownDrops.isOpen) {
      for (const { kind, items } of lines) this.#shutdownDrops.add(kind, items, error);
      return;
    }
    if (this.#dropping === reason) return;
    this.#dropping = reason;
    const fields = { path: this.#config.path, reason, error: describeError(error) };
    this.#settings.logger.error('cannot write: data is dropped', fields);
  }
}
