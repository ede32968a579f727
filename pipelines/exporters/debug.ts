import type { Writable } from 'node:stream';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import * as z from 'zod';
import { countPoints, type ComponentSettings, type Exporter, type ExporterFactory } from '../component.ts';
import { describeError } from '../errors.ts';
import { eventLine, whoOf, type EventLineOptions } from './debug/event-line.ts';
import { metricsTable } from './debug/metrics-table.ts';
import { colourful, plain, type Style } from './debug/style.ts';
import { countRecords } from './sending/request.ts';
import { ExporterTelemetry } from './sending/telemetry.ts';

const configSchema = z.strictObject({
  verbosity: z.enum(['basic', 'normal', 'detailed']).default('basic'),
  output: z.enum(['stdout', 'stderr']).default('stdout'),
});

/** Configuration of `debug`, parsed. */
export type DebugConfig = z.infer<typeof configSchema>;

/** Where a `debug` exporter writes: a standard stream, as far as it uses one. */
export interface DebugOutput extends Pick<Writable, 'write' | 'on' | 'writableLength'> {
  readonly isTTY?: boolean;
  readonly columns?: number;
  hasColors?(): boolean;
}

/** Writes what passes for people to read: one line an event and, when detailed, a table of containers. */
export const debug: ExporterFactory<DebugConfig> = {
  type: 'debug',
  configSchema,
  create: (config, settings) => new DebugExporter(config, settings, process[config.output]),
};

const ATTRIBUTES: Record<DebugConfig['verbosity'], EventLineOptions['attributes']> = {
  basic: 'none',
  normal: 'record',
  detailed: 'record_and_resource',
};

/** A reader that is this far behind loses lines: they must not fill our memory. */
const MAX_UNREAD_BYTES = 1024 * 1024;

/** Narrower terminals break the lines themselves. */
const MIN_COLUMNS = 40;

/** The column of names grows no wider than this. */
const MAX_WHO_WIDTH = 36;

/** The `debug` exporter on any stream. */
export class DebugExporter implements Exporter {
  readonly #verbosity: DebugConfig['verbosity'];
  readonly #output: DebugOutput;
  readonly #settings: ComponentSettings;
  readonly #metrics: ExporterTelemetry;
  readonly #logs: ExporterTelemetry;
  #outputError: Error | undefined;
  #behind = false;
  /** Width of the column of names: it only grows, so that lines stay aligned. */
  #whoWidth = 0;

  constructor(config: DebugConfig, settings: ComponentSettings, output: DebugOutput) {
    this.#verbosity = config.verbosity;
    this.#output = output;
    this.#settings = settings;
    this.#metrics = new ExporterTelemetry('metrics', settings);
    this.#logs = new ExporterTelemetry('logs', settings);
    // Stays for good: a write can fail after we are shut down, and an error that nobody hears ends the process.
    output.on('error', (error: Error) => this.#lost(error));
  }

  async start(): Promise<void> {}

  async shutdown(): Promise<void> {}

  async consumeMetrics(metrics: readonly ResourceMetrics[]): Promise<void> {
    const text = this.#verbosity === 'detailed' ? metricsTable(metrics, Date.now(), this.#style()) : '';
    this.#write(text, this.#metrics, countPoints(metrics));
  }

  async consumeLogs(logs: readonly ReadableLogRecord[]): Promise<void> {
    for (const record of logs) this.#whoWidth = Math.max(this.#whoWidth, Math.min(whoOf(record).length, MAX_WHO_WIDTH));
    const options = this.#lineOptions();
    const text = logs.map((record) => eventLine(record, options)).join('');
    this.#write(text, this.#logs, countRecords(logs));
  }

  #write(text: string, telemetry: ExporterTelemetry, items: number): void {
    if (this.#outputError !== undefined) return telemetry.dropped(items, 'write_failed');
    const behind = this.#output.writableLength > MAX_UNREAD_BYTES;
    if (behind !== this.#behind) this.#tellBehind(behind);
    if (behind) return telemetry.dropped(items, 'buffer_full');
    if (text !== '') this.#output.write(text);
    telemetry.sent(items);
  }

  #lineOptions(): EventLineOptions {
    const { isTTY, columns } = this.#output;
    return {
      attributes: ATTRIBUTES[this.#verbosity],
      style: this.#style(),
      whoWidth: this.#whoWidth,
      // A terminal without a size says 0.
      ...(isTTY === true && columns !== undefined && columns > 0 && { columns: Math.max(columns, MIN_COLUMNS) }),
    };
  }

  /** `hasColors` heeds NO_COLOR and TERM, and is there on terminals only. */
  #style(): Style {
    return this.#output.hasColors?.() === true ? colourful : plain;
  }

  #lost(error: Error): void {
    if (this.#outputError === undefined) {
      this.#settings.logger.warn('cannot write events: they are dropped', { error: describeError(error) });
    }
    this.#outputError = error;
  }

  #tellBehind(behind: boolean): void {
    this.#behind = behind;
    if (behind) this.#settings.logger.warn('nobody reads what we write: events are dropped');
    else this.#settings.logger.info('what we write is read again');
  }
}
