import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { isProcessAlive } from '../../receiver/main-process.ts';

/** Lines of /proc/<pid>/status (Linux 6.18), cut to those that matter. */
const status = (state: string, pending: string, shared = '0000000000000000') =>
  `Name:\tweb\nUmask:\t0022\nState:\t${state}\nPid:\t7\nSigQ:\t0/95893\nSigPnd:\t${pending}\nShdPnd:\t${shared}\nSigBlk:\t0000000000010000\n`;

describe('isProcessAlive', () => {
  const cases: [string, string, boolean | undefined][] = [
    ['sleeping, nothing pending', status('S (sleeping)', '0000000000000000'), true],
    ['SIGKILL pending for the thread', status('S (sleeping)', '0000000000000100'), false],
    ['SIGKILL pending for the process', status('D (disk sleep)', '0000000000000000', '0000000000000100'), false],
    ['SIGTERM pending only', status('S (sleeping)', '0000000000004000'), true],
    ['a zombie', status('Z (zombie)', '0000000000000000'), false],
    ['dead', status('X (dead)', '0000000000000000'), false],
    ['an empty file', '', undefined],
  ];
  for (const [title, text, expected] of cases) {
    it(`says ${expected} of a process that is ${title}`, (t) => {
      const root = mkdtempSync(join(tmpdir(), 'exit137-proc-'));
      t.after(() => rmSync(root, { recursive: true }));
      mkdirSync(join(root, 'proc/7'), { recursive: true });
      writeFileSync(join(root, 'proc/7/status'), text);
      assert.equal(isProcessAlive(root, 7), expected);
    });
  }

  it('follows a real process until it is killed', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    assert.equal(isProcessAlive('/', child.pid!), true);
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    assert.equal(isProcessAlive('/', child.pid!), false);
  });
});
