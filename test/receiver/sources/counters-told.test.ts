import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CountersTold } from '../../../receiver/sources/counters-told.ts';

describe('CountersTold', () => {
  it('has the time from when the log could not be read to when the counters had told', () => {
    const told = new CountersTold(100);
    told.reach(100);
    assert.deepEqual(told.spans, []);
    told.reach(150);
    told.reach(200);
    assert.deepEqual(told.spans, [{ fromUs: 100, toUs: 200 }]);
    assert.deepEqual(
      [99, 100, 200, 201].map((atUs) => told.has(atUs)),
      [false, true, true, false],
    );
    told.clear();
    assert.equal(told.has(150), false);
  });

  it('has not what happened while the counters were not read either', () => {
    const told = new CountersTold(0);
    told.reach(100);
    told.begin(300);
    told.reach(250);
    told.reach(400);
    assert.deepEqual(
      [50, 200, 350].map((atUs) => told.has(atUs)),
      [true, false, true],
    );
  });

  it('keeps no more than 16 of them apart, and loses none', () => {
    const told = new CountersTold(0);
    for (let n = 0; n < 1000; n++) {
      told.begin(n * 100);
      told.reach(n * 100 + 50);
    }
    assert.equal(told.spans.length, 16);
    for (let n = 0; n < 1000; n++) assert.ok(told.has(n * 100 + 25), `${n}`);
    assert.deepEqual([told.has(75), told.has(100_000)], [false, false]);
  });

  it('goes on where an earlier run ended, and leaves that as it is', () => {
    const earlier = new CountersTold(0);
    earlier.reach(100);
    const told = new CountersTold(200);
    told.resume(earlier.spans);
    told.reach(300);
    told.begin(0);
    told.reach(400);
    assert.deepEqual([told.has(50), told.has(150), earlier.spans], [true, true, [{ fromUs: 0, toUs: 100 }]]);
  });
});
