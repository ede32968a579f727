import { readFileSync, writeFileSync } from 'node:fs';
import { percentile } from '../bench/report.ts';
import type { Row } from './bench.ts';

/** The rows of one kernel. */
export interface Column {
  kernel: string;
  rows: Row[];
}

const begin = '<!-- matrix -->';
const end = '<!-- /matrix -->';

/** A Markdown table of scenarios, for each kernel a line. */
export function formatTable(columns: readonly Column[]): string {
  const head = ['scenario', 'kernel', 'kills', 'records', 'container', 'victim', 'scope', 'p50', 'max', 'remarks'];
  const names = [...new Set(columns.flatMap(({ rows }) => rows.map(({ scenario }) => scenario)))];
  const lines = names.flatMap((name) => {
    const ran = columns.flatMap(({ kernel, rows }) => {
      const row = rows.find(({ scenario }) => scenario === name);
      return row === undefined || row.missing !== undefined ? [] : [{ kernel, row }];
    });
    return ran.map(({ kernel, row }, index) => [index === 0 ? name : '', kernel, ...cellsOf(row)]);
  });
  return align([head, head.map(() => '---'), ...lines]);
}

/** What was not run, by what it needs. */
export function formatMissing(columns: readonly Column[]): string {
  return columns
    .flatMap(({ kernel, rows }) =>
      rows.flatMap(({ scenario, missing }) =>
        missing === undefined ? [] : `${kernel}: ${scenario} needs ${missing}\n`,
      ),
    )
    .join('');
}

/** Puts the table between the markers of a document. Throws where it has none. */
export function writeTable(path: string, table: string): void {
  const text = readFileSync(path, 'utf8');
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`cannot find ${begin} … ${end} in "${path}"`);
  writeFileSync(path, `${text.slice(0, from + begin.length)}\n\n${table}\n\n${text.slice(to)}`);
}

function cellsOf({ kills = 0, records = 0, latenciesMs = [], lost, failures, ...right }: Row): string[] {
  const of = (count = 0) => (kills === 0 ? '–' : `${count}/${kills}`);
  const ms = (share: number) => (latenciesMs.length === 0 ? '–' : `${Math.round(percentile(latenciesMs, share))} ms`);
  const remarks = [...(lost === undefined ? [] : [`lost: ${lost}`]), ...(failures.length > 0 ? ['**FAILED**'] : [])];
  return [
    String(kills),
    String(records),
    of(right.rightContainer),
    of(right.rightVictim),
    of(right.rightScope),
    ms(0.5),
    ms(1),
    remarks.join('; '),
  ];
}

/** As the formatter of this repository has tables. */
function align(rows: readonly string[][]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const pad = (cell: string, column: number) =>
    cell === '---' ? '-'.repeat(widths[column]!) : cell.padEnd(widths[column]!);
  return rows.map((row) => `| ${row.map(pad).join(' | ')} |`).join('\n');
}
