import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { LogClock } from '../../../receiver/kernel/log-clock.ts';

function makeClock() {
  const now = { wallMs: 1_000_000, monotonicUs: 50_000_000 };
  const clock = new LogClock({ wallMs: () => now.wallMs, monotonicUs: () => now.monotonicUs });
  return { now, clock };
}

suite('the time of a record of the kernel log', () => {
  test('is as long ago as the monotonic clock says', () => {
    const { clock } = makeClock();
    assert.equal(clock.wallMsOf(49_998_500), 999_998.5);
  });

  test('is never in the future', () => {
    const { clock } = makeClock();
    assert.equal(clock.wallMsOf(50_100_000), 1_000_000);
  });

  test('follows a log clock that is behind, as far as records that come prove it', () => {
    const { clock } = makeClock();
    // It came in the last 10 ms, and says that it is 2 s old.
    clock.calibrate(48_000_000, 49_990_000);
    assert.equal(clock.wallMsOf(48_000_000), 999_990);
  });

  test('follows a log clock that is ahead', () => {
    const { clock } = makeClock();
    clock.calibrate(53_000_000, 49_990_000);
    assert.equal(clock.wallMsOf(53_000_000), 1_000_000);
    assert.equal(clock.wallMsOf(52_000_000), 999_000);
  });

  test('stays as it is where a record proves nothing', () => {
    const { clock } = makeClock();
    clock.calibrate(49_999_000, 49_500_000);
    assert.equal(clock.wallMsOf(49_999_000), 999_999);
  });
});
