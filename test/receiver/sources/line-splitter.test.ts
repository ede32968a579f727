import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { LineSplitter } from '../../../receiver/sources/line-splitter.ts';

function split(chunks: readonly Buffer[], maxBytes = 1000): { lines: string[]; tooLong: string[] } {
  const lines: string[] = [];
  const tooLong: string[] = [];
  const splitter = new LineSplitter(maxBytes, (start) => tooLong.push(start));
  for (const chunk of chunks) splitter.push(chunk, (line) => lines.push(line));
  return { lines, tooLong };
}

/** Cuts bytes at the given places. */
function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const places = [0, ...at.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}

describe('LineSplitter', () => {
  it('gives each line once it is complete, and holds the rest back', () => {
    const chunks = ['{"a":', '1}\n{"b":2}\n', '\n{"c"'].map((text) => Buffer.from(text));
    assert.deepEqual(split(chunks), { lines: ['{"a":1}', '{"b":2}'], tooLong: [] });
  });

  it('gives the same lines however the bytes are cut into chunks, characters of many bytes too', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme', maxLength: 40 })),
        fc.array(fc.nat(10_000)),
        (texts, places) => {
          const bytes = Buffer.from(texts.map((text) => `${text}\n`).join(''));
          const expected = bytes
            .toString()
            .split('\n')
            .filter((line) => line !== '');
          assert.deepEqual(split(cut(bytes, places)).lines, expected);
        },
      ),
    );
  });

  it('passes over a line that is too long, tells its beginning once, and reads on after it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 101, max: 2000 }), fc.array(fc.nat(10_000)), (length, places) => {
        const bytes = Buffer.from(`first\n${'x'.repeat(length)}\nlast\n`);
        const { lines, tooLong } = split(cut(bytes, places), 100);
        assert.deepEqual(lines, ['first', 'last']);
        assert.equal(tooLong.length, 1);
        assert.match(tooLong[0]!, /^x{101,1024}$/);
      }),
    );
  });

  it('takes a line of exactly the longest length', () => {
    const line = 'x'.repeat(100);
    assert.deepEqual(split([Buffer.from(`${line}\n`)], 100), { lines: [line], tooLong: [] });
  });
});
