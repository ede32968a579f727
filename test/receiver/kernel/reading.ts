import { LogLineReader } from '../../../receiver/kernel/log-line.ts';
import type { OomEvent, OomVictim } from '../../../receiver/kernel/oom-event.ts';
import { OomReports } from '../../../receiver/kernel/oom-report.ts';

/** What the lines of a log tell, in whatever form. */
export function readLog(log: string | readonly string[], pageBytes = 4096): OomEvent[] {
  const reader = new LogLineReader(() => Date.UTC(2026, 10, 20));
  const reports = new OomReports(pageBytes);
  const events = (typeof log === 'string' ? log.split('\n') : log).flatMap((line) => {
    const message = reader.read(line);
    return message === undefined ? [] : reports.feed(message);
  });
  return [...events, ...reports.flush()];
}

/** Who was killed, as the lines of a log tell. */
export function readVictims(log: string | readonly string[], pageBytes = 4096): OomVictim[] {
  return readLog(log, pageBytes).filter((event) => event.kind === 'oom_victim');
}

/** Without what is absent, all the way down. */
export function known(value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries(value);
  if (Array.isArray(value)) return value.map(known);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, part]) => part !== undefined)
      .map(([key, part]) => [key, known(part)]),
  );
}
