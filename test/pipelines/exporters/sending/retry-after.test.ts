import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseRetryAfter } from '../../../../pipelines/exporters/sending/retry-after.ts';

/** Wed, 21 Oct 2026 07:28:00 GMT. */
const NOW_MS = Date.UTC(2026, 9, 21, 7, 28, 0);
const DAY_MS = 86_400_000;

const CASES: [header: string, expectedMs: number | undefined][] = [
  ['0', 0],
  ['120', 120_000],
  ['  7 ', 7_000],
  ['99999999999999999999', DAY_MS],
  ['Wed, 21 Oct 2026 07:28:30 GMT', 30_000],
  ['Wednesday, 21-Oct-26 07:28:30 GMT', 30_000],
  ['Wed Oct 21 07:28:30 2026', 30_000],
  ['Wed, 21 Oct 2026 07:27:00 GMT', 0],
  ['Fri, 31 Dec 9999 23:59:59 GMT', DAY_MS],
  ['', undefined],
  ['-1', undefined],
  ['1.5', undefined],
  ['0x10', undefined],
  ['soon', undefined],
  ['2026-10-21T07:28:30Z', undefined],
  ['Wed, 21 Foo 2026 07:28:30 GMT', undefined],
  ['Wed, 41 Oct 2026 07:28:30 GMT', undefined],
];

for (const [header, expectedMs] of CASES) {
  test(`"${header}" is ${expectedMs === undefined ? 'not a Retry-After' : `${expectedMs} ms`}`, () => {
    assert.equal(parseRetryAfter(header, NOW_MS), expectedMs);
  });
}

test('any number of seconds up to a day is taken as it is', () => {
  fc.assert(
    fc.property(fc.nat(86_400), (seconds) => assert.equal(parseRetryAfter(String(seconds), NOW_MS), seconds * 1000)),
  );
});

test('any date of HTTP is the time until then, and never negative', () => {
  const dates = fc.date({ min: new Date(NOW_MS - DAY_MS), max: new Date(NOW_MS + DAY_MS), noInvalidDate: true });
  fc.assert(
    fc.property(dates, (date) => {
      const untilMs = Math.floor(date.getTime() / 1000) * 1000 - NOW_MS;
      assert.equal(parseRetryAfter(date.toUTCString(), NOW_MS), Math.max(0, untilMs));
    }),
  );
});

test('no text makes the parser throw or name a negative delay', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const delayMs = parseRetryAfter(text, NOW_MS);
      assert.ok(delayMs === undefined || (delayMs >= 0 && delayMs <= DAY_MS));
    }),
  );
});
