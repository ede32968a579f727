// Makes each kind of death happen for real, and compares what the kernel did with what the service told.
// Usage: node test/matrix/run.ts [--kernels host,5.10,6.1,6.12,7.2] [--only TEXT,…] [--write]
// Needs root, and what the Docker tests and virtual machines need. --write puts the table into docs/detection.md.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { release } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { cachePath } from '../helpers/cache.ts';
import { onUnifiedHierarchy } from '../helpers/nested-cgroup.ts';
import { Bench, type Row } from './bench.ts';
import { dockerScenarios } from './docker-scenarios.ts';
import { groupScenarios } from './group-scenarios.ts';
import { memhog } from './memhog.ts';
import { formatMissing, formatTable, writeTable, type Column } from './table.ts';

const { values } = parseArgs({
  options: {
    kernels: { type: 'string', default: 'host' },
    only: { type: 'string', default: '' },
    write: { type: 'boolean', default: false },
    /** Runs on this machine and prints each row as a line of JSON. */
    here: { type: 'boolean', default: false },
  },
});
const repository = join(import.meta.dirname, '../..');
const virtualMachine = join(repository, 'test/vm');

if (values.here) await runHere();
else await runAll(values.kernels.split(','));

async function runHere(): Promise<void> {
  const scenarios = [...groupScenarios, ...dockerScenarios].filter(({ name }) => isAsked(name));
  const bench = new Bench((row) => process.stdout.write(`${JSON.stringify(row)}\n`));
  try {
    for (const scenario of scenarios) await bench.run(scenario);
  } finally {
    await bench.close();
  }
  // What holds connections open is not waited for.
  process.exit();
}

function isAsked(scenario: string): boolean {
  return values.only.split(',').some((text) => scenario.includes(text));
}

async function runAll(kernels: string[]): Promise<void> {
  // Made out here, because compilers are slow in a virtual machine.
  memhog();
  execFileSync(join(repository, 'test/runtimes/make-image.sh'), [cachePath('test-image.tar')]);
  const columns: Column[] = [];
  for (const kernel of kernels) columns.push(await runOn(kernel));
  const table = formatTable(columns);
  process.stdout.write(`\n${table}\n\n${formatMissing(columns)}`);
  if (values.write) writeTable(join(repository, 'docs/detection.md'), table);
  const rows = columns.flatMap((column) => column.rows);
  const failed = rows.filter(({ failures }) => failures.length > 0).length;
  const skipped = rows.filter(({ missing }) => missing !== undefined).length;
  process.stdout.write(
    `\n${rows.length - failed - skipped} scenarios right, ${failed} wrong, ${skipped} not possible here\n`,
  );
  process.exitCode = failed > 0 ? 1 : 0;
}

async function runOn(kernel: string, tries = 3): Promise<Column> {
  const began = performance.now();
  const child = spawn(...commandFor(kernel), { stdio: ['ignore', 'pipe', 'inherit'], cwd: repository });
  const exited = once(child, 'exit');
  const column: Column = { kernel: nameOf(kernel), rows: [] };
  for await (const line of createInterface(child.stdout)) {
    const row = JSON.parse(line) as Row;
    column.rows.push(row);
    tell(column.kernel, row);
  }
  const [code] = (await exited) as [number | null];
  // Emulation crashes a Node process now and then as it starts.
  if (code !== 0 && kernel !== 'host' && column.rows.length === 0 && tries > 1) return runOn(kernel, tries - 1);
  if (code !== 0) column.rows.push({ scenario: 'the run itself', failures: [`it ended with ${String(code)}`] });
  process.stderr.write(`${column.kernel}: ${Math.round((performance.now() - began) / 1000)} s\n`);
  return column;
}

function commandFor(kernel: string): [string, string[]] {
  const node = join(repository, 'node_modules/.bin/node');
  const here = [join(import.meta.dirname, 'run.ts'), '--here', '--only', values.only];
  if (kernel === 'host') return [node, here];
  execFileSync(join(virtualMachine, 'fetch-kernels.sh'), [kernel]);
  const environment = {
    // The bundle runs with the Node on the PATH.
    PATH: `${join(repository, 'node_modules/.bin')}:${process.env['PATH']}`,
    EXIT137_CACHE: cachePath(),
    EXIT137_MATRIX_VM: 'true',
    // Emulated: programs run 10 to 20 times slower, and are waited for so much longer.
    EXIT137_PATIENCE: '15',
    EXIT137_TRIES: '2000',
  };
  const settings = Object.entries(environment).flatMap(([name, value]) => ['-e', `${name}=${value}`]);
  return [join(virtualMachine, 'vm-run'), ['-t', '1800', '-k', kernel, ...settings, node, ...here]];
}

/** Kernel and version of the cgroups that have memory. */
function nameOf(kernel: string): string {
  if (kernel !== 'host') return `${kernel}, v2`;
  return `${release().split('-', 1)[0]}, ${onUnifiedHierarchy ? 'v2' : 'v1'}`;
}

function tell(kernel: string, { scenario, missing, kills, records, failures }: Row): void {
  const outcome = missing === undefined ? `${kills ?? '?'} kills, ${records ?? '?'} records` : `needs ${missing}`;
  const wrong = failures.slice(0, 8).map((failure) => `\n    ${failure}`);
  process.stderr.write(`${failures.length > 0 ? '✗' : '✓'} ${kernel}: ${scenario}: ${outcome}${wrong.join('')}\n`);
}
