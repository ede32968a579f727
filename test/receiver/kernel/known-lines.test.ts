import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import { KnownLines } from '../../../receiver/kernel/known-lines.ts';

/** What is new of each output. */
function print(known: KnownLines, lines: readonly string[]): { fresh: string[]; isLost: boolean } {
  known.begin();
  const fresh = lines.flatMap((line) => known.feed(line));
  fresh.push(...known.end());
  return { fresh, isLost: known.isLost };
}

const numbered = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => `line ${from + index}`);

suite('lines that are printed again and again', () => {
  test('are new once, wherever the log is cut at its beginning', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(100), fc.nat(100)), { maxLength: 10 }), (steps) => {
        const known = new KnownLines();
        let [from, to] = [0, 0];
        const seen = print(known, []).fresh;
        for (const [more, less] of steps) {
          const before = to;
          to += more;
          // As long as one line is left of those of before, nothing is lost.
          from = Math.max(from, Math.min(from + less, before - 1));
          const { fresh, isLost } = print(known, numbered(from, to));
          seen.push(...fresh);
          assert.equal(isLost, false);
        }
        assert.deepEqual(seen, numbered(0, to));
      }),
    );
  });

  test('are all new, and some are lost, where none of before is left', () => {
    const known = new KnownLines();
    assert.deepEqual(print(known, numbered(0, 100)), { fresh: numbered(0, 100), isLost: false });
    assert.deepEqual(print(known, numbered(120, 200)), { fresh: numbered(120, 200), isLost: true });
    assert.deepEqual(print(known, numbered(130, 201)), { fresh: ['line 200'], isLost: false });
  });

  test('are known again after the log was printed empty', () => {
    const known = new KnownLines();
    assert.deepEqual(print(known, ['a', 'b']).fresh, ['a', 'b']);
    assert.deepEqual(print(known, []), { fresh: [], isLost: false });
    assert.deepEqual(print(known, ['a', 'b', 'c']).fresh, ['c']);
  });

  test('can be the same many times', () => {
    const known = new KnownLines();
    const same = (count: number): string[] => Array.from({ length: count }, () => 'again');
    assert.equal(print(known, ['first', ...same(50)]).fresh.length, 51);
    assert.equal(print(known, ['first', ...same(53)]).fresh.length, 3);
    assert.deepEqual(print(known, [...same(53), 'last']).fresh, ['last']);
  });
});
