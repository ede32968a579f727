import type { Readable } from 'node:stream';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import { eventLine } from '../pipelines/exporters/debug/event-line.ts';
import { colourful, plain } from '../pipelines/exporters/debug/style.ts';
import { logsRequest } from '../pipelines/exporters/sending/otlp-json.ts';
import type { LogPosition } from '../receiver/kernel/kmsg-record.ts';
import { readPageSize } from '../receiver/kernel/page-size.ts';
import { Replay, type Replayed } from '../receiver/replay.ts';
import { readLogText } from './log-text.ts';

/** How the records of a replay are written. */
export const replayFormats = ['text', 'otlp_json'] as const;

export type ReplayFormat = (typeof replayFormats)[number];

/** What is read, and where the records and the summary go. */
export interface ReplayOptions {
  /** Files, `-` for standard input; none is standard input alone. */
  files: readonly string[];
  format: ReplayFormat;
  colours: boolean;
  version: string;
  stdin: Readable;
  write: (text: string) => void;
  /** One line for people, without its newline. */
  tell: (text: string) => void;
}

/**
 * Reads kernel logs in any form and writes what the service would have said of them.
 *
 * @throws where a file cannot be read, with its name.
 */
export async function replay(options: ReplayOptions): Promise<void> {
  const { files, format, version, write, tell } = options;
  const render = format === 'text' ? renderText(options.colours) : renderJson;
  const named = files.length === 0 ? ['-'] : files;
  let kills = 0;
  for (const file of named) {
    // Each is a log of its own: a report does not go on in another file.
    const log = new Replay(version, readPageSize(), () => Date.now());
    const put = (replayed: Replayed[]): void => {
      kills += replayed.filter(({ record }) => record.eventName?.endsWith('oom_kill')).length;
      for (const each of replayed) write(render(each));
    };
    for await (const line of readLogText(file, options.stdin)) put(log.read(line));
    put(log.end());
  }
  tell(summarize(kills, named));
}

function summarize(kills: number, files: readonly string[]): string {
  const read = files.map((file) => (file === '-' ? 'standard input' : file)).join(', ');
  if (kills === 0) return `no OOM kill in ${read}`;
  return `${kills === 1 ? '1 OOM kill' : `${kills} OOM kills`} in ${read}`;
}

function renderText(colours: boolean): (replayed: Replayed) => string {
  const style = colours ? colourful : plain;
  return ({ record, at }) => eventLine(record, { attributes: 'none', style, time: timeOf(at) });
}

/** A log can be of any day; without a date its times count from the boot, and stand as dmesg writes them. */
function timeOf({ wallTimeMs, monotonicUs }: LogPosition): string {
  if (wallTimeMs !== undefined) return new Date(wallTimeMs).toISOString();
  return monotonicUs === undefined ? '-' : `[${(monotonicUs / 1e6).toFixed(6).padStart(12)}]`;
}

/** The time is left open where the log does not give its date. */
function renderJson({ record, at }: Replayed): string {
  const told: ReadableLogRecord = at.wallTimeMs === undefined ? { ...record, hrTime: [0, 0] } : record;
  return `${JSON.stringify(logsRequest([told]))}\n`;
}
