// A machine that loses its power and boots again, with the disk that it had. Usage: node --test test/vm/reboot.ts
// Needs what virtual machines need, and the bundle.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { cachePath } from '../helpers/cache.ts';
import type { Boot } from './one-boot.ts';

const kernel = '6.1';
const here = import.meta.dirname;

describe('exit137 on a machine that loses its power and boots again', () => {
  const disk = mkdtempSync(join(tmpdir(), 'exit137-disk-'));
  let first: Boot;
  let second: Boot;

  before(async () => {
    execFileSync(join(here, 'fetch-kernels.sh'), [kernel]);
    first = await boot();
    for (const [name, contents] of Object.entries(first.disk)) {
      mkdirSync(dirname(join(disk, name)), { recursive: true });
      writeFileSync(join(disk, name), contents, 'base64');
    }
    second = await boot();
  });

  after(() => rmSync(disk, { recursive: true, force: true }));

  /** Runs one life of the machine. */
  async function boot(): Promise<Boot> {
    const environment = {
      PATH: `${join(here, '../../node_modules/.bin')}:${process.env['PATH']}`,
      EXIT137_CACHE: cachePath(),
      EXIT137_PATIENCE: '15',
    };
    const settings = Object.entries(environment).flatMap(([name, value]) => ['-e', `${name}=${value}`]);
    const command = ['node', join(here, 'one-boot.ts'), disk];
    const options = { cwd: join(here, '../..'), maxBuffer: 64 * 2 ** 20 };
    const { stdout } = await promisify(execFile)(
      join(here, 'vm-run'),
      // With several CPUs emulation crashes a Node process now and then as it starts.
      ['-t', '600', '-c', '1', '-k', kernel, ...settings, ...command],
      options,
    );
    return JSON.parse(stdout) as Boot;
  }

  it('tells what it sees at a first start: nothing of the time before', () => {
    assert.doesNotMatch(first.log, /goes on where an earlier run ended/);
    assert.deepEqual(first.told, first.killed.slice(1));
    assert.deepEqual(first.counted, { oomKills: 1, unattributed: 0 });
  });

  it('tells each kill of the new boot once, also of the time before it was started, and none of the last boot', () => {
    assert.match(second.log, /goes on where an earlier run ended/);
    assert.deepEqual(second.told, second.killed);
  });

  it('counts on', () => {
    assert.deepEqual(second.counted, { oomKills: 3, unattributed: 0 });
  });
});
