import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { byteSize, duration, formatBytes, parseByteSize, parseDuration } from '../../pipelines/units.ts';

const DURATIONS: [text: string, ms: number][] = [
  ['0', 0],
  ['0s', 0],
  ['250ms', 250],
  ['10s', 10_000],
  ['1m30s', 90_000],
  ['1.5h', 5_400_000],
  ['.5s', 500],
  ['100us', 0.1],
  ['100µs', 0.1],
  ['5000000ns', 5],
];

for (const [text, ms] of DURATIONS) {
  test(`"${text}" is ${ms} ms`, () => assert.equal(parseDuration(text), ms));
}

for (const text of ['', '5', 's', '-1s', '1 s', '1d', '1s30', '1..5s', '1e3s', 'Infinity', '10S']) {
  test(`"${text}" is not a duration`, () => {
    assert.throws(() => parseDuration(text), {
      message: `cannot read duration "${text}": expected a number with a unit, as in 250ms, 10s or 1m30s`,
    });
  });
}

test('a duration that no timer can keep is refused', () => {
  assert.equal(parseDuration('596h'), 596 * 3_600_000);
  assert.throws(() => parseDuration('597h'), { message: 'cannot use duration "597h": longer than 24 days' });
});

test('the parts of a duration add up', () => {
  fc.assert(
    fc.property(fc.nat(500), fc.nat(1000), fc.nat(1000), fc.nat(1000), (hours, minutes, seconds, milliseconds) => {
      const ms = parseDuration(`${hours}h${minutes}m${seconds}s${milliseconds}ms`);
      assert.equal(ms, ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds);
    }),
  );
});

const SIZES: [text: string, bytes: number][] = [
  ['0', 0],
  ['4096', 4096],
  ['4096B', 4096],
  ['512KiB', 524_288],
  ['512kib', 524_288],
  ['3MB', 3_000_000],
  ['3 MiB', 3_145_728],
  ['1.5GiB', 1_610_612_736],
];

for (const [text, bytes] of SIZES) {
  test(`"${text}" is ${bytes} bytes`, () => assert.equal(parseByteSize(text), bytes));
}

for (const text of ['', 'MiB', '-1', '1TiBs', '1.MiB', '1e3']) {
  test(`"${text}" is not a size`, () => {
    assert.throws(() => parseByteSize(text), {
      message: `cannot read size "${text}": expected bytes or a number with a unit, as in 512KiB or 3MB`,
    });
  });
}

test('no text makes a parser give anything but a number that is not negative', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const parse of [parseDuration, parseByteSize]) {
        try {
          assert.ok(parse(text) >= 0);
        } catch (error) {
          assert.match((error as Error).message, /^cannot (?:read|use) (?:duration|size) "/);
        }
      }
    }),
  );
});

test('in a configuration a number is text, and what is wrong is told', () => {
  assert.equal(duration.parse(0), 0);
  assert.equal(duration.parse('2s'), 2000);
  assert.equal(byteSize.parse(4096), 4096);
  assert.match(duration.safeParse(5).error!.issues[0]!.message, /^cannot read duration "5"/);
  assert.equal(duration.safeParse(true).success, false);
});

test('bytes are told in the unit that people use', () => {
  const BYTES: [bytes: number, expected: string][] = [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [655_360, '640 KiB'],
    [66_584_576, '63.5 MiB'],
    [134_217_728, '128 MiB'],
    [134_742_016, '129 MiB'],
    [1.5 * 2 ** 30, '1.5 GiB'],
    [2 ** 63, '8192 PiB'],
  ];
  for (const [bytes, expected] of BYTES) assert.equal(formatBytes(bytes), expected);
});
