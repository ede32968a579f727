import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { safeText, valueText } from '../../../../pipelines/exporters/debug/text.ts';

const SAFE: [text: string, expected: string][] = [
  ['plain text, ünïcode and 容器', 'plain text, ünïcode and 容器'],
  ['\u001b[2J\u001b]0;title\u0007', '\\x1b[2J\\x1b]0;title\\x07'],
  ['two\nlines\r\tand a tab', 'two\\nlines\\r\\tand a tab'],
  ['\u009b31m', '\\x9b31m'],
  ['evil\u202etxt.exe', 'evil\\u202etxt.exe'],
  ['zero\u200bwidth\ufeff', 'zero\\u200bwidth\\ufeff'],
  ['line\u2028separator', 'line\\u2028separator'],
  ['half \ud800 a pair', 'half \\ud800 a pair'],
  ['tag \u{e0041}', 'tag \\u{e0041}'],
  ['\0', '\\x00'],
];

for (const [text, expected] of SAFE) {
  test(`${JSON.stringify(text)} is shown as ${expected}`, () => assert.equal(safeText(text, 100), expected));
}

test('no text keeps anything that a terminal acts on', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      assert.doesNotMatch(safeText(text, 1000), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
    }),
    { numRuns: 1000 },
  );
});

test('text is cut at its bound', () => {
  assert.equal(safeText('x'.repeat(101), 100), `${'x'.repeat(99)}…`);
  assert.equal(safeText('x'.repeat(100), 100), 'x'.repeat(100));
});

test('values of any type are one line', () => {
  const VALUES: [value: unknown, expected: string][] = [
    ['text', 'text'],
    [7, '7'],
    [0.5, '0.5'],
    [true, 'true'],
    [7n, '7'],
    [undefined, ''],
    [null, ''],
    [['a', 'b'], 'a,b'],
    [[{ pid: 1 }], '[{"pid":1}]'],
    [{ a: 1 }, '{"a":1}'],
  ];
  for (const [value, expected] of VALUES) assert.equal(valueText(value), expected);
});
