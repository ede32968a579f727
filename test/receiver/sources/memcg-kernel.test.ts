import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import type { Observation, OomKillsCounted } from '../../../receiver/observation.ts';
import { MemcgSource } from '../../../receiver/sources/memcg.ts';
import { eventually } from '../../helpers/eventually.ts';
import { lockMachine } from '../../helpers/machine-lock.ts';
import { MemoryGroup } from '../../helpers/memory-group.ts';
import { onUnifiedHierarchy } from '../../helpers/nested-cgroup.ts';
import { requires } from '../../helpers/requires.ts';

const limitBytes = 16 * 2 ** 20;
/** Longer than any test: what is seen then was seen by a notice or a hint. */
const neverMs = 10 * 60_000;
const onKernel = requires('root', onUnifiedHierarchy ? 'cgroup-v2' : 'cgroup-v1');

/** Where memory is on v1 these are left to the virtual machine (npm run test:vm). */
function testOnV2(title: string, run: (t: TestContext) => Promise<void>): void {
  if (onUnifiedHierarchy) void test(title, onKernel, run);
}

let unlock = (): void => {};
before(async () => {
  if (onKernel.skip === false) unlock = await lockMachine();
});
after(() => unlock());

test('a kill in a container is counted once, with the limit', onKernel, async (t) => {
  const { host, observe } = prepare(t);
  const container = host.make(idOf(1), { limitBytes });
  const seen = await observe();
  assert.equal(await container.kill(), 'SIGKILL');
  const [rise] = await seen.kills(container, 1);
  assert.equal(rise?.memcg, container.memcg);
  assert.equal(rise?.limitBytes, limitBytes);
  if (onUnifiedHierarchy) assert.equal(rise?.ooms, 1);
});

if (!onUnifiedHierarchy) {
  test(
    'a container that is out of memory and whose OOM killer is disabled is told of as long as it waits',
    onKernel,
    async (t) => {
      const { host, observe } = prepare(t);
      const container = host.make(idOf(1), { limitBytes });
      container.write('memory.oom_control', '1');
      const seen = await observe();
      const ended = container.kill();
      const [stuck] = await eventually('it is told of', () => {
        const told = seen.stuck(container);
        return told.length > 0 ? told : undefined;
      });
      assert.equal(stuck?.reason, 'oom_kill_disabled');
      assert.equal(container.oomKills, 0);
      container.write('memory.oom_control', '0');
      assert.equal(await ended, 'SIGKILL');
      await seen.kills(container, 1);
    },
  );
}

test('kills from before the first walk are not ours to report, later ones are', onKernel, async (t) => {
  const { host, observe } = prepare(t);
  const container = host.make(idOf(1), { limitBytes });
  container.killSync();
  const seen = await observe();
  assert.equal(seen.appearances(container)[0]?.fresh, false);
  container.killSync();
  await seen.kills(container, 1);
  assert.equal(container.oomKills, 2);
});

test('a kill in a group that was made and hit before we looked at it is counted', onKernel, async (t) => {
  const { host, observe } = prepare(t);
  const seen = await observe();
  const container = host.make(idOf(1), { limitBytes });
  container.killSync();
  await seen.kills(container, 1);
  assert.equal(seen.appearances(container)[0]?.fresh, true);
});

test('a kill in a group nested in a container is counted once, for the container', onKernel, async (t) => {
  const { host, observe } = prepare(t);
  const seen = await observe();
  const container = host.make(idOf(1), { delegate: true });
  const nested = container.make('workers', { delegate: true }).make('worker', { limitBytes });
  await nested.kill();
  const [rise] = await seen.kills(container, 1);
  assert.equal(rise?.limitBytes, undefined);
});

test('a kill in a container inside a container is counted for the inner one alone', onKernel, async (t) => {
  const { host, observe } = prepare(t);
  const seen = await observe();
  const outer = host.make(idOf(1), { delegate: true });
  const inner = outer.make('docker', { delegate: true }).make(idOf(2), { limitBytes });
  const ofOuter = outer.make('own', { limitBytes });
  await inner.kill();
  await seen.kills(inner, 1);
  assert.equal(seen.killed(outer), 0);
  await ofOuter.kill();
  await seen.kills(outer, 1);
  await inner.kill();
  await seen.kills(inner, 2);
  assert.equal(seen.killed(outer), 1);
});

test(
  'a group replaced by one of the same name is gone and appeared, and its counter begins anew',
  onKernel,
  async (t) => {
    const { host, observe } = prepare(t);
    const first = host.make(idOf(1), { limitBytes });
    const seen = await observe();
    await first.kill();
    await first.kill();
    await seen.kills(first, 2);
    await first.remove();
    const second = host.make(idOf(1), { limitBytes });
    second.killSync();
    await seen.kills(second, 3);
    const story = seen.all.flatMap((observation) => {
      if (!('memcg' in observation) || observation.memcg !== second.memcg) return [];
      return observation.kind === 'memcg_appeared' ? [`appeared, fresh: ${observation.fresh}`] : [observation.kind];
    });
    assert.deepEqual(
      [...new Set(story)],
      ['appeared, fresh: false', 'oom_kills_counted', 'memcg_gone', 'appeared, fresh: true'],
    );
  },
);

test('a hint finds the kill of another container as well', onKernel, async (t) => {
  const { host, observe } = prepare(t);
  const hinted = host.make(idOf(1));
  const killed = host.make(idOf(2), { limitBytes });
  const { source, ...seen } = await observe({ pollIntervalMs: neverMs });
  killed.killSync();
  source.lookAt(idOf(1));
  await seen.kills(killed, 1);
  assert.equal(seen.killed(hinted), 0);
});

test('a hint that comes before the kill still finds it', onKernel, async (t) => {
  const { host, observe } = prepare(t);
  const container = host.make(idOf(1), { limitBytes });
  const { source, ...seen } = await observe({ pollIntervalMs: neverMs });
  source.lookAt(idOf(1));
  container.killSync();
  await seen.kills(container, 1);
});

test('kills in many containers at once are each counted once, and in the count of the machine', onKernel, async (t) => {
  const { host, observe } = prepare(t);
  const containers = Array.from({ length: 10 }, (_, index) => host.make(idOf(index + 1), { limitBytes }));
  const seen = await observe();
  const first = seen.machineTotal();
  await Promise.all(containers.flatMap((container) => [container.kill(), container.kill()]));
  for (const container of containers) await seen.kills(container, container.oomKills);
  const total = containers.reduce((sum, { oomKills }) => sum + oomKills, 0);
  assert.equal(total, 20);
  await eventually('the machine counts them too', () => (seen.machineTotal() >= first + total ? true : undefined));
});

test('a removed group is gone, and has no memory to read', onKernel, async (t) => {
  const { host, observe } = prepare(t);
  const container = host.make(idOf(1), { limitBytes });
  const { source, ...seen } = await observe({ pollIntervalMs: neverMs });
  assert.equal(source.readMemory(idOf(1))?.limitBytes, limitBytes);
  container.removeSync();
  await eventually('it is gone', () => seen.all.find(({ kind }) => kind === 'memcg_gone'));
  assert.equal(source.readMemory(idOf(1)), undefined);
});

test(
  'memory is what the kernel says, and the smallest limit on the way up is the effective one',
  onKernel,
  async (t) => {
    const { host, observe } = prepare(t);
    const pod = host.make('pod', { limitBytes: 4 * limitBytes, delegate: true });
    const container = pod.make(idOf(1), { limitBytes: 8 * limitBytes });
    const { source } = await observe();
    const holding = holdShmem(t, container, limitBytes);
    const reading = source.readMemory(idOf(1))!;
    holding.release();
    assert.ok(reading.usageBytes! >= limitBytes && reading.usageBytes! < 2 * limitBytes, `${reading.usageBytes}`);
    // 5.10 adds up what each CPU charged only now and then.
    const { unreclaimableBytes = 0 } = reading;
    assert.ok(unreclaimableBytes >= limitBytes - 2 ** 20, `${unreclaimableBytes}`);
    assert.ok(unreclaimableBytes <= reading.usageBytes! + 2 ** 20, `${unreclaimableBytes}`);
    assert.ok(reading.workingSetBytes! >= limitBytes);
    assert.equal(reading.limitBytes, 8 * limitBytes);
    assert.equal(reading.effectiveLimitBytes, 4 * limitBytes);
    assert.equal(reading.availableBytes, 8 * limitBytes - reading.workingSetBytes!);
  },
);

test('the highest usage of an interval is known though nobody sampled it', onKernel, async (t) => {
  const { host, observe } = prepare(t);
  const { source, ...seen } = await observe({ sampleIntervalMs: 0 });
  const container = host.make(idOf(1), { limitBytes: 8 * limitBytes });
  if (!container.hasPeak) return t.skip('needs memory.peak, which v2 has since kernel 5.19');
  await eventually('it has appeared', () => seen.appearances(container)[0]);
  const holding = holdShmem(t, container, 2 * limitBytes);
  holding.release();
  // Since it was made: the kernel's lifetime peak.
  const { maxUsageBytes = 0, usageBytes = 0 } = source.readMemory(idOf(1))!;
  assert.ok(maxUsageBytes >= 2 * limitBytes, `${maxUsageBytes}`);
  assert.ok(usageBytes < limitBytes, `${usageBytes}`);
});

testOnV2('a container that gets its memory controller only later is counted', async (t) => {
  const { host, observe } = prepare(t);
  const slice = host.make('slice');
  const container = slice.make(idOf(1));
  const seen = await observe();
  slice.write('cgroup.subtree_control', '+memory');
  container.limit(limitBytes);
  container.killSync();
  await seen.kills(container, 1);
});

testOnV2('a kill on v2 is noticed without polling', async (t) => {
  const { host, observe } = prepare(t);
  const seen = await observe({ pollIntervalMs: neverMs });
  const container = host.make(idOf(1), { limitBytes });
  await eventually('it has appeared', () => seen.appearances(container)[0]);
  await container.kill();
  await seen.kills(container, 1);
});

testOnV2('memory.oom.group takes the group: counted as the kernel counts it', async (t) => {
  const { host, observe } = prepare(t);
  const seen = await observe();
  const container = host.make(idOf(1), { limitBytes });
  container.write('memory.oom.group', '1');
  assert.equal(await container.run('sleep 1000 & sleep 1000 & exec tail /dev/zero'), 'SIGKILL');
  await eventually('the group is empty', () => container.processes === 0 || undefined);
  // The kernel counts the first victim, and then each member that still has memory: mostly the first victim again, but
  // not where that was quick to die because another process of the group had hit the limit.
  assert.ok([3, 4].includes(container.oomKills), `${container.oomKills} kills of three processes`);
  await seen.kills(container, container.oomKills);
  const groupKills = seen.rises(container).map(({ oomGroupKills = 0 }) => oomGroupKills);
  assert.equal(
    groupKills.reduce((sum, kills) => sum + kills, 0),
    1,
  );
});

testOnV2('hits of a limit long before a kill are not taken for its reason', async (t) => {
  const { host, observe } = prepare(t);
  const pod = host.make('pod', { limitBytes, delegate: true });
  const container = pod.make(idOf(1));
  const seen = await observe();
  await container.kill();
  const [rise] = await seen.kills(container, 1);
  assert.equal(rise?.ooms, 0);
});

/** Id of the test's nth container. */
function idOf(number: number): string {
  return number.toString(16).padStart(64, '0');
}

/** A group to make containers in, and what observes them; both go with the test. */
function prepare(t: TestContext) {
  const host = MemoryGroup.make(`exit137-test-${process.pid}`);
  const stop = new AbortController();
  let observing: Promise<void> = Promise.resolve();
  t.after(async () => {
    stop.abort();
    await observing;
    await host.remove();
  });
  const observe = async ({ pollIntervalMs = 50, sampleIntervalMs = 0 } = {}) => {
    const all: Observation[] = [];
    const bad: string[] = [];
    const source = new MemcgSource({
      hostRoot: '/',
      pollIntervalMs,
      sampleIntervalMs,
      maxGroups: 10_000,
      onBadInput: (what, value) => bad.push(`${what}: ${value}`),
    });
    const up = Promise.withResolvers<void>();
    observing = source.observe((observation) => all.push(observation), up.resolve, stop.signal);
    await up.promise;
    t.after(() => assert.deepEqual(bad, []));
    return { source, ...watch(all) };
  };
  return { host, observe };
}

/** What was observed of a container so far. */
function watch(all: readonly Observation[]) {
  const containerIdOf = ({ folder }: MemoryGroup) => folder.slice(-64);
  const rises = (container: MemoryGroup): OomKillsCounted[] =>
    all.filter(
      (seen): seen is OomKillsCounted =>
        seen.kind === 'oom_kills_counted' && seen.containerId === containerIdOf(container),
    );
  const killed = (container: MemoryGroup) => rises(container).reduce((sum, { oomKills }) => sum + oomKills, 0);
  return {
    all,
    rises,
    killed,
    appearances: (container: MemoryGroup) =>
      all.flatMap((seen) => (seen.kind === 'memcg_appeared' && seen.memcg === container.memcg ? [seen] : [])),
    stuck: (container: MemoryGroup) =>
      all.flatMap((seen) => (seen.kind === 'memory_stuck' && seen.memcg === container.memcg ? [seen] : [])),
    machineTotal: () => all.findLast((seen) => seen.kind === 'node_oom_kills_counted')?.total ?? Number.NaN,
    /** Waits until so many kills were counted in all, and sees that they are no more. */
    kills: async (container: MemoryGroup, count: number) => {
      await eventually(`${count} kills are counted`, () => (killed(container) >= count ? true : undefined));
      assert.equal(killed(container), count);
      return rises(container);
    },
  };
}

/** Has so much shared memory charged to a group: memory that stays when the process that wrote it has ended. */
function holdShmem(t: TestContext, group: MemoryGroup, bytes: number): { release: () => void } {
  const file = join('/dev/shm', `exit137-test-${process.pid}-${group.folder.slice(-4)}`);
  const release = () => rmSync(file, { force: true });
  t.after(release);
  assert.equal(group.runSync(`head -c ${bytes} /dev/zero > ${file}`), null);
  return { release };
}
