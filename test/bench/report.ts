import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';

/** Prints figures as a Markdown table, with how and on what they were measured: ready for docs/benchmarks.md. */
export function printReport(title: string, how: string, rows: Record<string, string>[]): void {
  const columns = Object.keys(rows[0] ?? {});
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  console.log(
    [
      `## ${title}`,
      '',
      how,
      '',
      line(columns),
      line(columns.map(() => '---')),
      ...rows.map((row) => line(columns.map((column) => row[column] ?? ''))),
      '',
      describeMachine(),
      '',
    ].join('\n'),
  );
}

/** The value below which `share` of the sorted values lie (nearest rank). */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  if (value === undefined) throw new Error('there are no values');
  return value;
}

/** `12.3 ms`. */
export function formatMs(ms: number): string {
  return `${ms.toFixed(1)} ms`;
}

function describeMachine(): string {
  const memory = readFileSync('/proc/cgroups', 'utf8').match(/^memory\t(\d+)/m)?.[1] === '0' ? 'v2' : 'v1';
  const model = cpus()[0]?.model ?? 'unknown CPU';
  const gib = Math.round(totalmem() / 2 ** 30);
  return `Linux ${release()}, memory cgroups ${memory}, ${availableParallelism()} × ${model}, ${gib} GiB, Node ${process.version}.`;
}
