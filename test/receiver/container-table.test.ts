import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ContainerTable } from '../../receiver/container-table.ts';
import { Telemetry } from '../../receiver/telemetry.ts';
import { makeSettings } from '../helpers/component-settings.ts';
import { NodeClock } from './node-clock.ts';
import { idOf, observationsOf } from './observations.ts';

const graceMs = 300_000;
const noonMs = Date.UTC(2026, 10, 21, 12);

function setUp(maxContainers = 10) {
  const clock = new NodeClock(noonMs);
  const table = new ContainerTable(maxContainers, clock.read);
  const settings = makeSettings('lifecycle');
  return {
    clock,
    table,
    telemetry: new Telemetry(settings, table),
    settings,
    /** After so long, what a collection forgets. */
    after: (ms: number) => {
      clock.pass(ms);
      table.expire(clock.wallMs - graceMs);
      return table.size;
    },
    forgotten: async (reason: string) =>
      (await settings.series())[`exit137_containers_forgotten{reason=${reason},receiver=lifecycle}`],
  };
}

const one = observationsOf(idOf(1));

describe('ContainerTable', () => {
  describe('forgets a container', () => {
    it('the grace period after it ended and its cgroup is gone', async () => {
      const { clock, table, after, forgotten } = setUp();
      table.apply(one.appeared(clock.wallMs));
      table.apply(one.started(clock.wallMs));
      clock.pass(1000);
      table.apply(one.exited(clock.wallMs, 0));
      assert.equal(after(graceMs + 1000), 1, 'its cgroup is there');
      table.apply(one.gone(clock.wallMs));
      assert.equal(table.get(idOf(1))?.goneAtMs, clock.wallMs);
      assert.equal(after(graceMs), 1);
      assert.equal(after(1), 0);
      assert.equal(await forgotten('ended'), 1);
    });

    it('counted from its end, whatever comes late', () => {
      const { clock, table, after } = setUp();
      table.apply(one.exited(clock.wallMs, 0));
      assert.equal(after(graceMs - 1000), 1);
      table.apply(one.removed(clock.wallMs));
      assert.equal(after(1001), 0);
    });

    it('no sooner where its end is told late, so that its last counts are sent', () => {
      const { clock, table, after } = setUp();
      table.apply(one.exited(clock.wallMs - 2 * graceMs, 137));
      assert.equal(after(graceMs), 1);
      assert.equal(after(1), 0);
    });

    it('not while it runs, though nobody tells of it for days', async () => {
      for (const first of [one.started(noonMs), one.seen(noonMs, { startedAtMs: noonMs - 1 }), one.appeared(noonMs)]) {
        const { table, after, forgotten } = setUp();
        table.apply(first);
        assert.equal(after(7 * 86_400_000), 1, first.kind);
        assert.equal(await forgotten('not_seen'), 0);
      }
    });

    it('not when it begins again within the grace period', () => {
      const { clock, table, after } = setUp();
      table.apply(one.exited(clock.wallMs, 1));
      assert.equal(after(graceMs - 1), 1);
      table.apply(one.started(clock.wallMs));
      assert.equal(table.get(idOf(1))?.goneAtMs, undefined);
      assert.equal(after(graceMs * 2), 1);
    });

    it('of which no runtime was heard, the grace period after its cgroup is gone', () => {
      const { clock, table, after } = setUp();
      table.apply(one.appeared(clock.wallMs));
      clock.pass(1000);
      table.apply(one.gone(clock.wallMs));
      assert.equal(after(graceMs), 1);
      assert.equal(after(1), 0);
    });

    it('neither sooner nor later where the clock jumps meanwhile', () => {
      for (const byMs of [-86_400_000, 86_400_000]) {
        const { clock, table, after } = setUp();
        table.apply(one.exited(clock.wallMs, 1));
        clock.jump(byMs);
        assert.equal(after(graceMs - 1), 1);
        assert.equal(after(2), 0);
      }
    });
  });

  describe('where a container ran, its cgroup is gone and no runtime told its end', () => {
    it('forgets it the grace period after it was last seen, and says so', async () => {
      const { clock, table, after, forgotten, settings } = setUp();
      const two = observationsOf(idOf(2));
      for (const { seen, appeared } of [one, two]) {
        table.apply(seen(clock.wallMs, { startedAtMs: noonMs - 10 }));
        table.apply(appeared(clock.wallMs));
      }
      clock.pass(86_400_000);
      for (const { gone } of [one, two]) table.apply(gone(clock.wallMs));
      assert.equal(after(graceMs), 2);
      assert.deepEqual(settings.lines, []);
      assert.equal(after(1), 0);
      assert.equal(await forgotten('not_seen'), 2);
      assert.equal(await forgotten('ended'), 0);
      assert.deepEqual(
        settings.lines.map(({ level, message, fields }) => [level, message, fields]),
        [['warn', 'forgets containers that are gone, though no runtime told their end', { containers: 2 }]],
      );
    });

    it('waits on where anybody still tells of it', () => {
      const { clock, table, after } = setUp();
      table.apply(one.started(clock.wallMs));
      table.apply(one.appeared(clock.wallMs));
      table.apply(one.gone(clock.wallMs));
      assert.equal(after(graceMs - 1), 1);
      table.apply(one.counted(clock.wallMs));
      assert.equal(after(graceMs), 1);
      assert.equal(after(1), 0);
    });

    it('keeps it where the runtime was asked since and says that it runs', () => {
      const { clock, table, after } = setUp();
      table.apply(one.started(clock.wallMs));
      table.apply(one.appeared(clock.wallMs));
      table.apply(one.gone(clock.wallMs));
      clock.pass(10);
      table.apply(one.seen(clock.wallMs, { startedAtMs: noonMs - 1 }));
      assert.equal(after(graceMs * 10), 1);
    });

    it('does not believe an answer that was asked for before', () => {
      const { clock, table, after } = setUp();
      table.apply(one.started(clock.wallMs));
      table.apply(one.appeared(clock.wallMs));
      clock.pass(10);
      table.apply(one.gone(clock.wallMs));
      table.apply(one.seen(clock.wallMs - 1, { startedAtMs: noonMs - 1 }));
      assert.equal(after(graceMs + 1), 0);
    });

    it('keeps it where it has a cgroup again', () => {
      const { clock, table, after } = setUp();
      table.apply(one.started(clock.wallMs));
      table.apply(one.appeared(clock.wallMs));
      table.apply(one.gone(clock.wallMs));
      table.apply(one.appeared(clock.wallMs));
      assert.equal(after(graceMs * 10), 1);
    });

    it('tells its end the usual way where the runtime comes back in time', () => {
      const { clock, table, after } = setUp();
      table.apply(one.started(clock.wallMs));
      table.apply(one.appeared(clock.wallMs));
      table.apply(one.gone(clock.wallMs));
      assert.equal(after(graceMs), 1);
      const record = { running: false, startedAtMs: noonMs - 1, finishedAtMs: noonMs + 5, exitCode: 137 };
      const [ended] = table.apply(one.seen(clock.wallMs, record));
      assert.deepEqual([ended?.kind, ended?.atMs, ended?.life.exitCode], ['life_ended', noonMs + 5, 137]);
      assert.equal(after(graceMs), 1, 'a grace period for the exit to be seen');
      assert.equal(after(1), 0);
    });
  });

  describe('holds no more than so many containers', () => {
    it('refuses another while all are there, and counts what it refuses', () => {
      const { clock, table } = setUp(2);
      for (let n = 1; n <= 5; n++) table.apply(observationsOf(idOf(n)).started(clock.wallMs));
      table.apply(observationsOf(idOf(5)).exited(clock.wallMs, 1));
      assert.deepEqual([table.size, table.refused], [2, 4]);
      assert.deepEqual(
        [...table.all()].map(({ id }) => id),
        [idOf(1), idOf(2)],
      );
    });

    it('forgets the one that is gone longest for the sake of a new one, and counts why', async () => {
      const { clock, table, forgotten } = setUp(3);
      for (const n of [1, 2, 3]) table.apply(observationsOf(idOf(n)).started(clock.wallMs));
      for (const n of [2, 3]) {
        clock.pass(1000);
        table.apply(observationsOf(idOf(n)).exited(clock.wallMs, 0));
      }
      table.apply(observationsOf(idOf(4)).started(clock.wallMs));
      assert.deepEqual(
        [...table.all()].map(({ id }) => id),
        [idOf(1), idOf(3), idOf(4)],
      );
      assert.equal(table.refused, 0);
      assert.equal(await forgotten('no_room'), 1);
      assert.equal(await forgotten('ended'), 0);
    });
  });
});
