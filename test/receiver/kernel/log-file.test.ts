import assert from 'node:assert/strict';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import * as fc from 'fast-check';
import { describeError } from '../../../pipelines/errors.ts';
import { LogFile } from '../../../receiver/kernel/log-file.ts';
import type { LogResumption } from '../../../receiver/kernel/log-tap.ts';

const line = (text: string) => `2026-11-20T10:00:00.000001+00:00 node-7 kernel: [    3.091534] ${text}\n`;

function makeFolder(t: TestContext): { path: string } {
  const folder = mkdtempSync(join(tmpdir(), 'exit137-log-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return { path: join(folder, 'kern.log') };
}

function open(path: string, resumeAfter?: LogResumption) {
  const file = new LogFile(path, { bootId: 'this', startUs: 0, resumeAfter });
  /** What is told until there is nothing more; what is old is in brackets. */
  const read = (): string[] => {
    const told: string[] = [];
    const sink = {
      message: ({ text }: { text: string }, old: boolean) => void told.push(old ? `(${text})` : text),
      gap: ({ reason }: { reason: string }) => void told.push(`${reason}!`),
      malformed: (what: string) => void told.push(`${what}!`),
    };
    while (file.read(sink));
    return told;
  };
  return { read, file };
}

function follow(t: TestContext, content: string) {
  const { path } = makeFolder(t);
  writeFileSync(path, content);
  const { file, read } = open(path);
  t.after(() => file.close());
  return { path, read };
}

/** A first run reads `content`, something happens, and a second run goes on. */
function restart(t: TestContext, content: string, meanwhile: (path: string) => void): string[] {
  const { path } = makeFolder(t);
  writeFileSync(path, content);
  const first = open(path);
  first.read();
  const { place } = first.file;
  first.file.close();
  assert.ok(place);
  meanwhile(path);
  const second = open(path, { bootId: 'this', file: place });
  t.after(() => second.file.close());
  return second.read();
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

  test('that is copied and emptied is read from its beginning, after the rest of the copy', (t) => {
    const { path, read } = follow(t, line('one') + line('two'));
    assert.deepEqual(read(), ['(one)', '(two)']);
    appendFileSync(path, line('three'));
    copyFileSync(path, `${path}.1`);
    truncateSync(path);
    appendFileSync(path, line('four'));
    assert.deepEqual(read(), ['three', 'four']);
  });

  test('that is cut, and of which there is no copy, is read from its beginning, and the cut is told', (t) => {
    const { path, read } = follow(t, line('one') + line('two'));
    assert.deepEqual(read(), ['(one)', '(two)']);
    truncateSync(path);
    appendFileSync(path, line('three'));
    assert.deepEqual(read(), ['cut!', 'three']);
  });

  test('that is not there is told of', () => {
    assert.throws(() => open('/nowhere/kern.log'), /^Error: cannot open "\/nowhere\/kern.log"$/);
  });

  test('that is a binary journal, or a folder, is refused with the way to get its text', (t) => {
    const { path } = makeFolder(t);
    writeFileSync(path, Buffer.from('LPKSHHRH\0\0\0\0\x0e'));
    assert.throws(
      () => open(path),
      (error: Error) => {
        assert.match(describeError(error), /binary journal; .* journalctl --dmesg --follow/);
        return true;
      },
    );
    assert.throws(
      () => open(tmpdir()),
      (error: Error) => {
        assert.match(describeError(error), /it is a folder; .*journalctl/);
        return true;
      },
    );
  });
});

suite('a log file, after a restart', () => {
  test('is read on behind what was read last, which the report needs that had begun', (t) => {
    const told = restart(t, line('one') + line('two'), (path) => appendFileSync(path, line('three')));
    assert.deepEqual(told, ['(one)', '(two)', 'three']);
  });

  test('is read on where it was empty, or held only lines of others', (t) => {
    assert.deepEqual(
      restart(t, '', (path) => appendFileSync(path, line('one'))),
      ['one'],
    );
    const foreign = '2026-11-20T10:00:00.000001+00:00 node-7 sshd[7]: hello\n';
    assert.deepEqual(
      restart(t, foreign, (path) => appendFileSync(path, line('one'))),
      ['one'],
    );
  });

  test('is read on from the line that was half written', (t) => {
    const half = line('two').slice(0, -5);
    const told = restart(t, line('one') + half, (path) => appendFileSync(path, line('two').slice(-5)));
    assert.deepEqual(told, ['(one)', 'two']);
  });

  test('is read on in the renamed one, and then in all that came after it', (t) => {
    const told = restart(t, line('one'), (path) => {
      appendFileSync(path, line('two'));
      renameSync(path, `${path}.2`);
      writeFileSync(`${path}.1`, line('three'));
      writeFileSync(path, line('four'));
    });
    assert.deepEqual(told, ['(one)', 'two', 'three', 'four']);
  });

  test('is read on in its copy, wherever the emptied file has grown to', (t) => {
    const rotate = (path: string): void => {
      appendFileSync(path, line('two'));
      copyFileSync(path, `${path}-20261120`);
      writeFileSync(path, line('three') + line('four') + line('five'));
    };
    assert.deepEqual(restart(t, line('one'), rotate), ['(one)', 'two', 'three', 'four', 'five']);
  });

  test('passes over files that only have a similar name', (t) => {
    const told = restart(t, line('one'), (path) => {
      renameSync(path, `${path}.1`);
      writeFileSync(`${path}.old`, line('no'));
      writeFileSync(`${path}.2.gz`, line('no'));
      writeFileSync(path, line('two'));
    });
    assert.deepEqual(told, ['(one)', 'two']);
  });

  test('is read from its beginning where what was read last is gone, and that something is lost is told', (t) => {
    const told = restart(t, line('one') + line('two'), (path) => writeFileSync(path, line('three')));
    assert.deepEqual(told, ['lost!', 'three']);
  });

  test('tells nothing again of before the last that was told, as far as lines have a time', (t) => {
    const { path } = makeFolder(t);
    const at = (second: number, text: string) => `2026-11-20T10:00:${second}Z node-7 kernel: ${text}\n`;
    writeFileSync(path, at(20, 'one') + at(30, 'two') + at(40, 'three'));
    const wallTimeMs = Date.parse('2026-11-20T10:00:30Z');
    const { file, read } = open(path, { bootId: 'this', wallTimeMs, sequence: 7 });
    t.after(() => file.close());
    assert.deepEqual(read(), ['(one)', '(two)', 'three']);
  });

  test('tells each line once, whatever was written and rotated while one run followed the other', (t) => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.nat(3).map((lines) => ({ lines })) },
      fc.constantFrom('restart' as const, 'look' as const, 'rename' as const, 'copy' as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const { told, written } = play(t, steps);
        assert.deepEqual(told, written);
      }),
      { numRuns: 150 },
    );
  });
});

type Step = 'restart' | 'look' | 'rename' | 'copy' | { lines: number };

function play(t: TestContext, steps: readonly Step[]): { told: string[]; written: string[] } {
  const { path } = makeFolder(t);
  writeFileSync(path, '');
  const written: string[] = [];
  const told: string[] = [];
  let run = open(path);
  const look = (): void => void told.push(...run.read().filter((text) => !text.startsWith('(')));
  const write = (lines: number): void => {
    const from = written.length;
    written.push(...Array.from({ length: lines }, (_, index) => `number ${from + index}`));
    appendFileSync(path, written.slice(from).map(line).join(''));
  };
  look();
  for (const step of steps) {
    if (typeof step === 'object') {
      write(step.lines);
    } else if (step === 'restart') {
      const { place } = run.file;
      run.file.close();
      run = open(path, { bootId: 'this', file: place });
    } else if (step !== 'look') {
      // A file that was empty at the last look is not found again in its copy.
      if (step === 'copy') {
        write(1);
        look();
        write(1);
      }
      for (let number = 9; number > 0; number--) {
        if (existsSync(`${path}.${number}`)) renameSync(`${path}.${number}`, `${path}.${number + 1}`);
      }
      if (step === 'rename') renameSync(path, `${path}.1`);
      else copyFileSync(path, `${path}.1`);
      writeFileSync(path, '');
      // A file that is emptied and written again between two looks is not told from one that was not.
      if (step === 'copy') look();
    }
  }
  look();
  // Another file is read once there is something in it.
  write(1);
  look();
  run.file.close();
  return { told, written };
}
