import assert from 'node:assert/strict';
import { appendFileSync, copyFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { LogFile } from '../../../receiver/kernel/log-file.ts';

const line = (text: string) => `2026-11-20T10:00:00.000001+00:00 node-7 kernel: [    3.091534] ${text}\n`;

function follow(t: TestContext, content: string) {
  const folder = mkdtempSync(join(tmpdir(), 'exit137-log-'));
  const path = join(folder, 'kern.log');
  writeFileSync(path, content);
  const file = new LogFile(path);
  t.after(() => {
    file.close();
    rmSync(folder, { recursive: true });
  });
  /** What is told until there is nothing more; what is old is in brackets. */
  const read = (): string[] => {
    const told: string[] = [];
    const sink = {
      message: ({ text }: { text: string }, old: boolean) => void told.push(old ? `(${text})` : text),
      gap: ({ reason }: { reason: string }) => void told.push(reason),
      malformed: (what: string) => void told.push(what),
    };
    while (file.read(sink));
    return told;
  };
  return { path, read };
}

suite('a log file', () => {
  test('is followed; what it held before is old', (t) => {
    const { path, read } = follow(t, line('one'));
    appendFileSync(path, line('two'));
    assert.deepEqual(read(), ['(one)', 'two']);
    assert.deepEqual(read(), []);
    appendFileSync(path, line('three') + line('four').slice(0, 20));
    assert.deepEqual(read(), ['three']);
    appendFileSync(path, line('four').slice(20));
    assert.deepEqual(read(), ['four']);
  });

  test('is read from no further than its last 256 KiB, from a whole line on', (t) => {
    const { read } = follow(t, Array.from({ length: 10_000 }, (_, index) => line(`number ${index}`)).join(''));
    const told = read();
    assert.ok(told.length > 1_000 && told.length < 10_000);
    assert.match(told[0]!, /^\(number \d+\)$/);
    assert.equal(told.at(-1), '(number 9999)');
  });

  test('that is renamed is read to its end, and then the new one from its beginning', (t) => {
    const { path, read } = follow(t, line('one'));
    assert.deepEqual(read(), ['(one)']);
    appendFileSync(path, line('two'));
    renameSync(path, `${path}.1`);
    assert.deepEqual(read(), ['two']);
    appendFileSync(`${path}.1`, line('three'));
    writeFileSync(path, '');
    assert.deepEqual(read(), ['three']);
    appendFileSync(path, line('four'));
    assert.deepEqual(read(), ['four']);
  });

  test('that is copied and emptied is read from its beginning, and the cut is told', (t) => {
    const { path, read } = follow(t, line('one') + line('two'));
    assert.deepEqual(read(), ['(one)', '(two)']);
    copyFileSync(path, `${path}.1`);
    truncateSync(path);
    appendFileSync(path, line('three'));
    assert.deepEqual(read(), ['cut', 'three']);
  });

  test('that is not there is told of', () => {
    assert.throws(() => new LogFile('/nowhere/kern.log'), /^Error: cannot open "\/nowhere\/kern.log"$/);
  });
});
