import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { apartUs, isLater } from '../../../receiver/kernel/log-position.ts';

suite('two places of a log', () => {
  test('are apart by the time since the boot, else by the date, else by nobody knows what', () => {
    assert.equal(apartUs({ monotonicUs: 5, wallTimeMs: 1 }, { monotonicUs: 8, wallTimeMs: 9 }), 3);
    assert.equal(apartUs({ wallTimeMs: 1 }, { monotonicUs: 8, wallTimeMs: 9 }), 8_000);
    assert.equal(apartUs({ monotonicUs: 5, wallTimeMs: 1 }, { wallTimeMs: 9 }), 8_000);
    assert.equal(apartUs({ monotonicUs: 5 }, { wallTimeMs: 9 }), Infinity);
    assert.equal(apartUs({ wallTimeMs: 5 }, { monotonicUs: 9 }), Infinity);
    assert.equal(apartUs({}, {}), Infinity);
  });

  test('are later than one another by more than so much', () => {
    assert.equal(isLater({ monotonicUs: 5 }, { monotonicUs: 8 }, 2), true);
    assert.equal(isLater({ monotonicUs: 5 }, { monotonicUs: 8 }, 3), false);
    assert.equal(isLater({}, {}, 3), false);
  });
});
