import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { DmesgProcess } from '../../../receiver/kernel/dmesg-process.ts';
import type { LogStart } from '../../../receiver/kernel/log-tap.ts';

/** As `dmesg --syslog --raw` of util-linux 2.38 prints it. */
const line = (seconds: number, priority = 4) =>
  `<${priority}>[${String(seconds).padStart(5)}.000000] line ${seconds}\n`;

/** A dmesg that prints what a file holds. */
function follow(t: TestContext, start: Partial<LogStart> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'exit137-dmesg-'));
  const path = join(folder, 'log');
  const dmesg = new DmesgProcess({ startUs: 0, bootId: 'this', ...start }, ['cat', path]);
  t.after(() => {
    dmesg.close();
    rmSync(folder, { recursive: true });
  });
  /** What is told when the log holds this; what is old is in brackets. */
  return async (...lines: string[]): Promise<string[]> => {
    writeFileSync(path, lines.join(''));
    const told: string[] = [];
    await dmesg.read({
      message: ({ text }, old) => void told.push(old ? `(${text})` : text),
      gap: ({ reason }) => void told.push(reason),
      malformed: (what) => void told.push(what),
    });
    return told;
  };
}

suite('the log as dmesg prints it', () => {
  test('is told once, however often all of it is printed', async (t) => {
    const read = follow(t);
    assert.deepEqual(await read(line(1), line(2)), ['line 1', 'line 2']);
    assert.deepEqual(await read(line(1), line(2)), []);
    assert.deepEqual(await read(line(2), line(3), line(4)), ['line 3', 'line 4']);
    assert.deepEqual(await read(line(6), line(7)), ['lost', 'line 6', 'line 7']);
  });

  test('goes on after what was last before, where older lines are overwritten', async (t) => {
    const read = follow(t);
    const lines = Array.from({ length: 400 }, (_, index) => line(index));
    assert.equal((await read(...lines.slice(0, 300))).length, 300);
    assert.deepEqual(await read(...lines.slice(100, 302)), ['line 300', 'line 301']);
    assert.deepEqual((await read(...lines.slice(350))).slice(0, 2), ['lost', 'line 350']);
  });

  test('holds nothing once it was emptied, and is told on', async (t) => {
    const read = follow(t);
    assert.deepEqual(await read(line(1)), ['line 1']);
    assert.deepEqual(await read(), []);
    assert.deepEqual(await read(line(1), line(2)), ['line 2']);
  });

  test('can be empty at first', async (t) => {
    const read = follow(t);
    assert.deepEqual(await read(), []);
    assert.deepEqual(await read(line(1)), ['line 1']);
  });

  test('passes over what processes wrote', async (t) => {
    assert.deepEqual(await follow(t)(line(1, 12), line(2)), ['line 2']);
  });

  test('is old where it is of before the start, or was told by an earlier run', async (t) => {
    assert.deepEqual(await follow(t, { startUs: 1_500_000 })(line(1), line(2)), ['(line 1)', 'line 2']);
    const resumeAfter = { bootId: 'this', monotonicUs: 1_000_000 };
    assert.deepEqual(await follow(t, { startUs: 9e9, resumeAfter })(line(1), line(2)), ['(line 1)', 'line 2']);
  });

  test('cannot be had where there is no such program, or it fails', async () => {
    const nobody = { message: () => {}, gap: () => {}, malformed: () => {} };
    const missing = new DmesgProcess({ startUs: 0 }, ['exit137-no-such-program']);
    await assert.rejects(async () => missing.read(nobody), /^Error: cannot run "exit137-no-such-program"$/);
    const failing = new DmesgProcess({ startUs: 0 }, ['sh', '-c', 'echo not permitted >&2; exit 1']);
    await assert.rejects(async () => failing.read(nobody), { cause: new Error('not permitted') });
  });
});
