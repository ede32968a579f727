import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ContainerTable } from '../../receiver/container-table.ts';
import { StartTimes } from '../../receiver/start-times.ts';
import { NodeClock } from './node-clock.ts';
import { idOf, observationsOf } from './observations.ts';

const beganMs = 1_700_000_000_000;
const { started, appeared, gone, exited, seen } = observationsOf(idOf(1));

/** A container's table on a clock by hand, and the starts of its series at each collection. */
function prepare() {
  const clock = new NodeClock(beganMs);
  const table = new ContainerTable(10, clock.read);
  const startTimes = new StartTimes();
  return {
    clock,
    apply: (...observations: Parameters<ContainerTable['apply']>) => table.apply(...observations),
    startTimes,
    collect: (isMemoryRead = true) => {
      table.expire(-Infinity);
      const { workloadMs, memcgMs } = startTimes.ofContainer(table.get(idOf(1))!, isMemoryRead, clock.wallMs);
      return { workloadMs, memcgMs };
    },
  };
}

describe('start times', () => {
  it('are when a group was made where that was seen, else when the life began, else when it was first seen', () => {
    const fresh = prepare();
    fresh.apply(started(beganMs - 20));
    fresh.apply(appeared(beganMs - 10));
    assert.deepEqual(fresh.collect(), { workloadMs: beganMs - 20, memcgMs: beganMs - 10 });

    const old = prepare();
    old.apply(appeared(beganMs - 10, false));
    old.apply(seen(beganMs, { startedAtMs: beganMs - 9e6 }));
    assert.deepEqual(old.collect(), { workloadMs: beganMs - 10, memcgMs: beganMs - 9e6 });

    const nameless = prepare();
    nameless.apply(appeared(beganMs - 10, false));
    assert.deepEqual(nameless.collect(), { workloadMs: beganMs - 10, memcgMs: beganMs - 10 });
  });

  it('do not move when the runtime tells of the life only after they were sent', () => {
    const { apply, clock, collect } = prepare();
    apply(appeared(beganMs, false));
    const first = collect();
    clock.pass(10_000);
    apply(seen(clock.wallMs, { startedAtMs: beganMs - 9e6 }));
    assert.deepEqual(collect(), first);
  });

  it('are made of what is known when the memory is read first, not before', () => {
    const { apply, clock, collect } = prepare();
    apply(started(beganMs));
    assert.deepEqual(collect(false), { workloadMs: beganMs, memcgMs: undefined });
    clock.pass(500);
    apply(appeared(beganMs + 400));
    assert.deepEqual(collect(), { workloadMs: beganMs, memcgMs: beganMs + 400 });
  });

  it('do not move when the same group is found again', () => {
    const { apply, clock, collect } = prepare();
    apply(started(beganMs));
    apply(appeared(beganMs));
    const first = collect();
    clock.pass(60_000);
    apply(appeared(clock.wallMs, false));
    assert.deepEqual(collect(), first);
  });

  it('begin anew with a new group, and only for what the kernel counts in it', () => {
    const { apply, clock, collect } = prepare();
    apply(started(beganMs));
    apply(appeared(beganMs));
    collect();
    clock.pass(60_000);
    apply(exited(clock.wallMs, 1));
    apply(gone(clock.wallMs));
    apply(appeared(clock.wallMs + 100));
    clock.pass(200);
    const anew = { workloadMs: beganMs, memcgMs: beganMs + 60_100 };
    assert.deepEqual(collect(), anew);
    apply(started(clock.wallMs));
    assert.deepEqual(collect(), anew, 'the life follows its group and is no new beginning');
  });

  it('begin anew with the life where the new group was not seen being made', () => {
    const { apply, clock, collect } = prepare();
    apply(started(beganMs));
    apply(appeared(beganMs, false));
    assert.equal(collect().memcgMs, beganMs);
    clock.pass(60_000);
    apply(exited(clock.wallMs, 1));
    apply(started(clock.wallMs));
    apply(appeared(clock.wallMs, false));
    assert.equal(collect().memcgMs, beganMs + 60_000);
  });

  it('never lie after the point, and stay where a clock that was set back has put them', () => {
    const { apply, clock, collect, startTimes } = prepare();
    apply(started(beganMs));
    apply(appeared(beganMs));
    collect();
    startTimes.ofNode(beganMs - 1000, beganMs, beganMs);
    clock.pass(10_000);
    clock.jump(-3_600_000);
    const set = collect();
    assert.ok(set.workloadMs <= clock.wallMs && set.memcgMs! <= clock.wallMs);
    const node = startTimes.ofNode(beganMs - 1000, beganMs, clock.wallMs);
    assert.deepEqual(node, { bootedAtMs: clock.wallMs, startedAtMs: clock.wallMs });
    clock.pass(7_200_000);
    assert.deepEqual(collect(), set);
    assert.deepEqual(startTimes.ofNode(beganMs - 1000, beganMs, clock.wallMs), node);
  });

  it('lie at or before the point whatever clocks say', () => {
    const ms = fc.integer({ min: -5_000_000, max: 5_000_000 });
    fc.assert(
      fc.property(fc.array(fc.record({ passMs: fc.nat(100_000), jumpMs: ms, toldMs: ms })), (steps) => {
        const { apply, clock, collect } = prepare();
        apply(started(beganMs));
        for (const { passMs, jumpMs, toldMs } of steps) {
          clock.pass(passMs);
          apply(appeared(clock.wallMs + toldMs, toldMs % 2 === 0));
          apply(seen(clock.wallMs, { startedAtMs: clock.wallMs + toldMs }));
          clock.jump(jumpMs);
          const { workloadMs, memcgMs } = collect();
          assert.ok(workloadMs <= clock.wallMs && memcgMs! <= clock.wallMs);
        }
      }),
    );
  });
});
