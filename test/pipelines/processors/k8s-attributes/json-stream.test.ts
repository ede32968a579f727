import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { ListSplitter, splitLines } from '../../../../pipelines/processors/k8s-attributes/json-stream.ts';

/** `bytes` in pieces that end at `cuts`. */
function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const ends = [...new Set(cuts.map((at) => at % (bytes.length + 1)))].toSorted((a, b) => a - b);
  return [...ends, bytes.length].map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}

async function* each(chunks: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks;
}

async function linesOf(chunks: readonly Buffer[], maxBytes = 1000): Promise<(string | undefined)[]> {
  const lines: (string | undefined)[] = [];
  for await (const line of splitLines(each(chunks), maxBytes)) lines.push(line?.toString());
  return lines;
}

function split(chunks: readonly Buffer[], maxItemBytes = 1e6): { items: unknown[]; rest: unknown } {
  const items: unknown[] = [];
  const splitter = new ListSplitter(
    (item) => items.push(item === undefined ? undefined : JSON.parse(item.toString())),
    maxItemBytes,
  );
  for (const chunk of chunks) splitter.push(chunk);
  return { items, rest: splitter.end() };
}

suite('lines of a watch', () => {
  test('are the same however they are cut', async () => {
    const line = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ''));
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.array(fc.nat()), async (lines, cuts) => {
        const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''));
        assert.deepEqual(await linesOf(cut(bytes, cuts), 1e6), lines);
      }),
    );
  });

  test('are none of what was cut off', async () => {
    assert.deepEqual(await linesOf([Buffer.from('{"a":1}\n{"b"')]), ['{"a":1}']);
  });

  test('are left out where they are too long, and those behind them are not', async () => {
    const chunks = ['12345', '6789\n', 'abc\n', '1234567\n', '12345678\n'].map((text) => Buffer.from(text));
    assert.deepEqual(await linesOf(chunks, 7), [undefined, 'abc', '1234567', undefined]);
  });
});

suite('the items of a list', () => {
  const metadata = { resourceVersion: '211', continue: '', '[{"': '}],\\"' };

  test('are the same however the list is cut, and the rest is left', () => {
    const item = fc.dictionary(fc.string(), fc.jsonValue());
    fc.assert(
      fc.property(fc.array(item), fc.array(fc.nat()), fc.boolean(), (items, cuts, pretty) => {
        const text = JSON.stringify({ kind: 'PodList', items, metadata }, undefined, pretty ? 2 : 0);
        const expected = JSON.parse(JSON.stringify(items)) as unknown;
        assert.deepEqual(split(cut(Buffer.from(text), cuts)), {
          items: expected,
          rest: { kind: 'PodList', items: [], metadata },
        });
      }),
    );
  });

  test('are told of where they are too large, without their text', () => {
    const items = [{ a: 'x'.repeat(50) }, { b: 1 }];
    const bytes = Buffer.from(JSON.stringify({ items }));
    assert.deepEqual(split([bytes], 20).items, [undefined, { b: 1 }]);
  });

  for (const [what, text] of [
    ['ended early', '{"kind":"PodList","items":[{"a":1},'],
    ['is no JSON', '<html>no</html>'],
    ['is empty', ''],
  ] as const) {
    test(`make an error where the answer ${what}`, () => {
      assert.throws(() => split([Buffer.from(text)]), { message: 'cannot read a list: it is not JSON' });
    });
  }

  test('make an error where there is too much beside them', () => {
    const text = JSON.stringify({ metadata: 'x'.repeat(70_000), items: [] });
    assert.throws(() => split([Buffer.from(text)]), { message: 'cannot read a list: too much beside its items' });
  });
});
