import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { findMainProcess, isProcessAlive, isProcessRunning, MainProcessWatch } from '../../receiver/main-process.ts';

/** Lines of /proc/<pid>/status (Linux 6.18), cut to those that matter. */
const status = (state: string, pending: string, shared = '0000000000000000') =>
  `Name:\tweb\nUmask:\t0022\nState:\t${state}\nPid:\t7\nSigQ:\t0/95893\nSigPnd:\t${pending}\nShdPnd:\t${shared}\nSigBlk:\t0000000000010000\n`;

/** Line of /proc/<pid>/stat (Linux 6.18) of a process whose name passes for the rest of the line. */
const statLine = (flags: number) => `7 (we) D 1 7 7 0 -1 4 b) D 1 7 7 0 -1 ${flags} 100 0 0 0 1 2\n`;

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
      writeFileSync(join(root, 'proc/7/stat'), statLine(0x400100));
      assert.equal(isProcessAlive(root, 7), expected);
    });
  }

  const flagCases: [string, number, boolean][] = [
    ['lives', 0x400100, true],
    ['took notice of a deadly signal', 0x400500, false],
    ['takes down its mounts', 0x40850c, false],
  ];
  for (const [title, flags, expected] of flagCases) {
    it(`says ${expected} of a process that sleeps and ${title}`, (t) => {
      const root = mkdtempSync(join(tmpdir(), 'exit137-proc-'));
      t.after(() => rmSync(root, { recursive: true }));
      mkdirSync(join(root, 'proc/7'), { recursive: true });
      writeFileSync(join(root, 'proc/7/status'), status('D (disk sleep)', '0000000000000000'));
      writeFileSync(join(root, 'proc/7/stat'), statLine(flags));
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

/** Millisecond by millisecond, for the timers that timers set. */
function pass(t: TestContext, ms: number): void {
  for (let n = 0; n < ms; n++) t.mock.timers.tick(1);
}

describe('MainProcessWatch', () => {
  it('gives each kill the same time to show, and tells of the process that was named last', async (t) => {
    const [busy, spared] = [spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }), spawn('sleep', ['60'])];
    t.after(() => [busy, spared].map((child) => child.kill('SIGKILL')));
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const told: [string, boolean][] = [];
    const watch = new MainProcessWatch('/', (containerId, alive) => void told.push([containerId, alive]));
    t.after(() => watch.close());
    watch.look('victim', busy.pid!);
    watch.look('restarted', busy.pid!);
    pass(t, 2);
    // The second kill of the one, and the next life of the other.
    watch.look('victim', busy.pid!);
    watch.look('restarted', spared.pid!);
    busy.kill('SIGKILL');
    await once(busy, 'exit');
    pass(t, 1_000);
    assert.deepEqual(
      told.toSorted(([a], [b]) => a.localeCompare(b)),
      [
        ['restarted', true],
        ['victim', false],
      ],
    );
  });
});

describe('MainProcessWatch, where another process is known to be the victim', () => {
  it('tells at once, and only once', (t) => {
    const child = spawn('sleep', ['60']);
    t.after(() => child.kill('SIGKILL'));
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const told: boolean[] = [];
    const watch = new MainProcessWatch('/', (_, alive) => told.push(alive));
    t.after(() => watch.close());
    watch.look('spared', child.pid!);
    watch.lookNow('spared', child.pid!);
    assert.deepEqual(told, [true]);
    pass(t, 1_000);
    assert.deepEqual(told, [true]);
  });
});

describe('isProcessRunning', () => {
  const cases: [string, string[], boolean][] = [
    ['whose threads sleep', ['S', 'D'], false],
    ['one thread of which runs', ['S', 'R'], true],
  ];
  for (const [title, states, expected] of cases) {
    it(`says ${expected} of a process ${title}`, (t) => {
      const root = mkdtempSync(join(tmpdir(), 'exit137-proc-'));
      t.after(() => rmSync(root, { recursive: true }));
      for (const [index, state] of states.entries()) {
        mkdirSync(join(root, `proc/7/task/${7 + index}`), { recursive: true });
        const stat = `${7 + index} (we) R b) ${state} 1 7 7 0 -1 4194560 100 0 0 0 1 2\n`;
        writeFileSync(join(root, `proc/7/task/${7 + index}/stat`), stat);
      }
      assert.equal(isProcessRunning(root, 7), expected);
    });
  }

  it('says true of a process that is gone, because it may be the victim', () => {
    assert.equal(isProcessRunning('/nowhere', 7), true);
  });
});

describe('findMainProcess', () => {
  const cases: [string, Record<number, string>, number | undefined][] = [
    ['is the first of its PID namespace', { 40: '40\t7', 41: '41\t1' }, 41],
    ['is the one of the outer container, where there is one inside', { 50: '50\t9\t1', 51: '51\t1' }, 51],
    ["is unknown in the host's namespace", { 1: '1', 60: '60' }, undefined],
    ['is unknown where it has ended', { 70: '70\t2' }, undefined],
  ];
  for (const [title, processes, expected] of cases) {
    it(title, (t) => {
      const root = mkdtempSync(join(tmpdir(), 'exit137-proc-'));
      t.after(() => rmSync(root, { recursive: true }));
      for (const [pid, namespaces] of Object.entries(processes)) {
        mkdirSync(join(root, 'proc', pid), { recursive: true });
        writeFileSync(join(root, 'proc', pid, 'status'), `Name:\tweb\nNSpid:\t${namespaces}\nThreads:\t1\n`);
      }
      assert.equal(findMainProcess(root, Object.keys(processes).map(Number)), expected);
    });
  }

  it('is unknown where all are gone', () => assert.equal(findMainProcess('/nowhere', [7, 8]), undefined));
});
