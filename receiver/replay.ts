import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import { configSchema } from './config.ts';
import { ContainerTable } from './container-table.ts';
import { Correlator } from './correlator.ts';
import type { Incident } from './incident.ts';
import type { Instant } from './instant.ts';
import type { LogPosition } from './kernel/kmsg-record.ts';
import { LogLineReader } from './kernel/log-line.ts';
import type { Observation } from './observation.ts';
import type { OomEvent } from './kernel/oom-event.ts';
import { OomReports } from './kernel/oom-report.ts';
import { Resources } from './resources.ts';
import { LogsBuilder } from './to-logs.ts';

/** A log can tell of more containers than a node has at a time. */
const mostContainers = 10_000;

/** A record of a log that was read, and when it was as far as the log tells: the date, else the time since the boot. */
export interface Replayed {
  record: ReadableLogRecord;
  at: LogPosition;
}

/**
 * Tells what the service would have told of a kernel log, in any of its forms, if the log had been its only witness.
 */
export class Replay {
  readonly #nowMs: () => number;
  readonly #lines: LogLineReader;
  readonly #reports: OomReports;
  readonly #logs: LogsBuilder;
  readonly #correlator: Correlator;

  /** `pageBytes`: page size of the machine that wrote the log, in which its table of tasks counts. */
  constructor(version: string, pageBytes: number, nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#lines = new LogLineReader(nowMs);
    this.#reports = new OomReports(pageBytes);
    this.#logs = new LogsBuilder(new Resources(configSchema.parse({}), { 'os.type': 'linux' }), version);
    const witnesses = { isRuntimeUp: () => false, isKernelLogUp: () => true, isBeginning: () => false };
    this.#correlator = new Correlator(new ContainerTable(mostContainers), 0, witnesses);
  }

  /** Takes a line without its newline; returns what is proven by now. Never throws, whatever the line holds. */
  read(line: string): Replayed[] {
    const message = this.#lines.read(line);
    return message === undefined ? [] : this.#tell(this.#reports.feed(message));
  }

  /** The log ends here. */
  end(): Replayed[] {
    return this.#tell(this.#reports.flush());
  }

  #tell(events: readonly OomEvent[]): Replayed[] {
    return events.flatMap((event) => {
      if (event.kind === 'oom_reports_suppressed') return [];
      const atMs = timeOf(event.at);
      const now: Instant = { wallMs: this.#nowMs(), monotonicMs: Infinity };
      const source = 'kernel_log';
      const logged: Observation =
        event.kind === 'oom_victim'
          ? { kind: event.kind, source, atMs, victim: event }
          : { kind: 'nothing_killable', source, atMs, invocation: event.invocation };
      const incidents: Incident[] = [...this.#correlator.take(logged, now), ...this.#correlator.settle(now)];
      return incidents.map((incident) => ({ record: this.#logs.of(incident), at: event.at }));
    });
  }
}

function timeOf({ wallTimeMs, monotonicUs = 0 }: LogPosition): number {
  return wallTimeMs ?? monotonicUs / 1000;
}
