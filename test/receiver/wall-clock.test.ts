import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Instant } from '../../receiver/instant.ts';
import { WallClock } from '../../receiver/wall-clock.ts';
import { NodeClock } from './node-clock.ts';

describe('WallClock', () => {
  it('tells each jump once, and none while time just goes by', () => {
    const node = new NodeClock(1_000_000);
    const clock = new WallClock(node.read);
    node.pass(86_400_000);
    assert.deepEqual(clock.read(), { nowMs: 87_400_000, jumpedMs: 0 });
    node.jump(-5000);
    node.pass(10);
    assert.deepEqual(clock.read(), { nowMs: 87_395_010, jumpedMs: -5000 });
    assert.deepEqual(clock.read(), { nowMs: 87_395_010, jumpedMs: 0 });
    node.jump(250);
    assert.deepEqual(clock.read(), { nowMs: 87_395_260, jumpedMs: 250 });
  });

  it('adds up jumps that are too short to be told', () => {
    const node = new NodeClock(1_000_000);
    const clock = new WallClock(node.read);
    const jumps = [60, 60, 60].map((ms) => {
      node.jump(ms);
      return clock.read().jumpedMs;
    });
    assert.deepEqual(jumps, [0, 120, 0]);
  });

  it('does not take it for a jump that it was put aside between two clocks', () => {
    const readings: Instant[] = [
      { wallMs: 1000, monotonicMs: 0 },
      { wallMs: 1100, monotonicMs: 400 },
      { wallMs: 1401, monotonicMs: 401 },
      { wallMs: 1500, monotonicMs: 500 },
    ];
    const clock = new WallClock(() => readings.shift()!);
    assert.deepEqual(clock.read(), { nowMs: 1401, jumpedMs: 0 });
    assert.deepEqual(clock.read(), { nowMs: 1500, jumpedMs: 0 });
  });
});
