import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Backoff } from '../../../../pipelines/exporters/sending/backoff.ts';

const OPTIONS = { initialMs: 5_000, multiplier: 1.5, maxMs: 30_000, randomizationFactor: 0.5 };

test('waits grow by the multiplier up to the maximum', () => {
  const backoff = new Backoff(OPTIONS, () => 0.5);
  const waits = Array.from({ length: 7 }, () => backoff.nextMs());
  assert.deepEqual(waits, [5_000, 7_500, 11_250, 16_875, 25_312.5, 30_000, 30_000]);
});

test('a wait lies within the randomisation factor of its interval', () => {
  assert.equal(new Backoff(OPTIONS, () => 0).nextMs(), 2_500);
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (random) => {
      const waitMs = new Backoff(OPTIONS, () => random).nextMs();
      assert.ok(waitMs >= 2_500 && waitMs <= 7_500);
    }),
  );
});
