import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { LostOomKillsCounted, Observation } from '../../../receiver/observation.ts';
import { MemcgSource } from '../../../receiver/sources/memcg.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FakeHost } from '../../helpers/fake-cgroups.ts';
import { idOf } from '../observations.ts';

const kubepods = 'kubepods.slice';
const podOf = (n: number) => `${kubepods}/kubepods-pod5a1f3c62_0b5e_4a51_9e0f_00000000000${n}.slice`;
const groupOf = (pod: number, container: number) => `${podOf(pod)}/cri-containerd-${idOf(container)}.scope`;

/** A node with two pods of two containers each, and what the kernel counts there. */
function makeNode(t: TestContext, options = 'rw') {
  const host = new FakeHost(t, 2);
  host.write('proc/1/mounts', `cgroup2 /sys/fs/cgroup cgroup2 ${options} 0 0\n`);
  const counts = new Map<string, number>();
  for (const group of [kubepods, podOf(1), podOf(2), groupOf(1, 11), groupOf(1, 12), groupOf(2, 21), groupOf(2, 22)]) {
    host.make(group);
  }
  let total = 0;
  const raise = (group: string, kills: number): void => {
    const count = (counts.get(group) ?? 0) + kills;
    counts.set(group, count);
    host.writeGroup(group, 'memory.events', `oom 0\noom_kill ${count}\noom_group_kill 0\n`);
  };
  const remove = (group: string): void => rmSync(join(host.root, 'sys/fs/cgroup', group), { recursive: true });
  const killIn = (group: string, kills: number, gone?: string): void => {
    host.write('proc/vmstat', `nr_free_pages 1\noom_kill ${(total += kills)}\n`);
    const names = group.split('/');
    for (let depth = names.length; depth > 0; depth--) {
      const around = names.slice(0, depth).join('/');
      if (gone === undefined || !around.startsWith(gone)) raise(around, kills);
    }
  };
  return {
    host,
    raise,
    /** As the kernel does: in the group and all around it. */
    kill: (group: string, kills = 1): void => killIn(group, kills),
    remove,
    /** The group goes before anybody can read its counter. A file of a folder, other than of a cgroup, would stay readable. */
    killAndRemove: (group: string, kills = 1, removed = group): void => {
      remove(removed);
      killIn(group, kills, removed);
    },
  };
}

/** Looks at a node only when told to. */
async function observe(t: TestContext, host: FakeHost, resume?: (source: MemcgSource) => void) {
  const all: Observation[] = [];
  const source = new MemcgSource({
    hostRoot: host.root,
    pollIntervalMs: 600_000,
    sampleIntervalMs: 0,
    maxGroups: 1000,
    onBadInput: () => {},
  });
  resume?.(source);
  const stop = new AbortController();
  const up = Promise.withResolvers<void>();
  const observing = source.observe((observation) => all.push(observation), up.resolve, stop.signal);
  const end = async (): Promise<void> => {
    stop.abort();
    await observing;
  };
  t.after(end);
  await up.promise;
  return {
    source,
    end,
    lost: () => all.filter((one): one is LostOomKillsCounted => one.kind === 'lost_oom_kills_counted'),
    killed: (containerId: string) =>
      all.reduce(
        (sum, one) => sum + (one.kind === 'oom_kills_counted' && one.containerId === containerId ? one.oomKills : 0),
        0,
      ),
  };
}

const place = ({ memcg, oomKills, goneContainerIds }: LostOomKillsCounted) => [
  memcg,
  oomKills,
  goneContainerIds.toSorted(),
];

describe('the memcg source on a Kubernetes node with cgroup v2', () => {
  it('tells of a kill by the container’s counter alone while that can be read', async (t) => {
    const { host, kill } = makeNode(t);
    const seen = await observe(t, host);
    kill(groupOf(1, 11), 2);
    seen.source.look();
    kill(groupOf(1, 12));
    seen.source.look();
    assert.deepEqual([seen.killed(idOf(11)), seen.killed(idOf(12)), seen.lost()], [2, 1, []]);
  });

  it('tells of a kill in a group that is gone by its pod, at once when it goes, with whose it can be', async (t) => {
    const { host, kill, killAndRemove } = makeNode(t);
    const seen = await observe(t, host);
    killAndRemove(groupOf(1, 11));
    await eventually('it is told', () => seen.lost().length > 0 || undefined);
    assert.deepEqual(seen.lost().map(place), [[`/${podOf(1)}`, 1, [idOf(11)]]]);
    // Nor again by the group of all pods, nor with the kills of another one.
    kill(groupOf(1, 12));
    seen.source.look();
    assert.deepEqual([seen.lost().length, seen.killed(idOf(12))], [1, 1]);
  });

  it('tells of a kill in a pod that is gone by the group of all pods', async (t) => {
    const { host, kill, killAndRemove } = makeNode(t);
    const seen = await observe(t, host);
    killAndRemove(groupOf(1, 11), 3, podOf(1));
    await eventually('it is told', () => seen.lost().length > 0 || undefined);
    assert.deepEqual(seen.lost().map(place), [[`/${kubepods}`, 3, [idOf(11), idOf(12)]]]);
    kill(groupOf(2, 21));
    seen.source.look();
    assert.deepEqual([seen.lost().length, seen.killed(idOf(21))], [1, 1]);
  });

  it('does not take a group that went without a kill for one of whom a later kill is', async (t) => {
    const { host, kill, remove } = makeNode(t);
    const seen = await observe(t, host);
    remove(groupOf(1, 11));
    seen.source.lookAt(idOf(11));
    await eventually('the group is gone', () => seen.source.readMemory(idOf(11)) === undefined || undefined);
    kill(podOf(1));
    seen.source.look();
    kill(podOf(1));
    seen.source.look();
    assert.deepEqual(seen.lost().at(-1)?.goneContainerIds, []);
    assert.equal(seen.lost().length, 2);
  });

  it('tells nothing of a container whose counter cannot be read for now, until it can', async (t) => {
    const { host, kill } = makeNode(t);
    const seen = await observe(t, host);
    kill(groupOf(1, 11));
    host.writeGroup(groupOf(1, 11), 'memory.events', 'oom_kill none\n');
    seen.source.look();
    host.writeGroup(groupOf(1, 11), 'memory.events', 'oom_kill 1\n');
    seen.source.lookAt(idOf(11));
    seen.source.look();
    assert.deepEqual([seen.killed(idOf(11)), seen.lost()], [1, []]);
  });

  it('begins at what pods stand at, and counts one that is made later from its begin on', async (t) => {
    const { host, kill, raise } = makeNode(t);
    raise(podOf(1), 7);
    raise(kubepods, 9);
    const seen = await observe(t, host);
    seen.source.look();
    host.make(groupOf(3, 31));
    host.make(podOf(3));
    await eventually('it is seen', () => seen.source.readMemory(idOf(31)) && true);
    kill(podOf(3));
    seen.source.look();
    assert.deepEqual(seen.lost().map(place), [[`/${podOf(3)}`, 1, []]]);
  });

  it('goes on where an earlier run stopped, also with containers and pods that went since', async (t) => {
    const { host, kill, remove } = makeNode(t);
    const first = await observe(t, host);
    kill(groupOf(1, 12));
    first.source.look();
    const known = new Map([11, 12, 21, 22].map((n) => [idOf(n), first.source.groupsOf(idOf(n))]));
    const { slices } = first.source;
    // Those that have counted nothing are as good as new ones.
    assert.deepEqual(
      slices?.map(({ memcg }) => memcg),
      [`/${kubepods}`, `/${podOf(1)}`],
    );
    await first.end();
    kill(groupOf(1, 11));
    kill(groupOf(1, 12), 2);
    kill(groupOf(2, 21));
    remove(groupOf(1, 11));
    remove(podOf(2));
    const second = await observe(t, host, (source) => source.resume(known, slices));
    assert.equal(second.killed(idOf(12)), 2);
    assert.deepEqual(second.lost().map(place), [
      [`/${podOf(1)}`, 1, [idOf(11)]],
      [`/${kubepods}`, 1, [idOf(11), idOf(21), idOf(22)]],
    ]);
  });

  it('tells no old kills as new ones where an earlier run knew of no pods', async (t) => {
    const { host, kill } = makeNode(t);
    const first = await observe(t, host);
    kill(groupOf(1, 12), 4);
    first.source.look();
    const known = new Map([11, 12, 21, 22].map((n) => [idOf(n), first.source.groupsOf(idOf(n))]));
    await first.end();
    kill(groupOf(1, 12));
    const second = await observe(t, host, (source) => source.resume(known));
    assert.deepEqual([second.killed(idOf(12)), second.lost()], [1, []]);
    kill(podOf(1));
    second.source.look();
    assert.deepEqual(second.lost().map(place), [[`/${podOf(1)}`, 1, []]]);
  });

  it('reads nothing there where counters are local (memory_localevents)', async (t) => {
    const { host, raise } = makeNode(t, 'rw,memory_localevents');
    const seen = await observe(t, host);
    raise(podOf(1), 1);
    host.write('proc/vmstat', 'nr_free_pages 1\noom_kill 1\n');
    seen.source.look();
    assert.deepEqual([seen.lost(), seen.source.slices], [[], []]);
  });

  it('tells once of a kill in a pod inside a container (kind), by the pod and not by the container', async (t) => {
    const host = new FakeHost(t, 2);
    const node = `docker/${idOf(9)}`;
    const pod = `${node}/kubelet/kubepods/besteffort/pod4909103c-cdc2-432e-92aa-2e06c2c7d1e3`;
    const inner = `${pod}/${idOf(1)}`;
    const groups = [node, `${node}/kubelet`, `${node}/kubelet/kubepods`, `${node}/kubelet/kubepods/besteffort`, pod];
    for (const group of [...groups, inner]) host.make(group);
    const seen = await observe(t, host);
    for (const group of groups) host.writeGroup(group, 'memory.events', 'oom 0\noom_kill 1\n');
    host.write('proc/vmstat', 'nr_free_pages 1\noom_kill 1\n');
    rmSync(join(host.root, 'sys/fs/cgroup', inner), { recursive: true });
    await eventually('it is told', () => seen.lost().length > 0 || undefined);
    seen.source.look();
    assert.deepEqual(
      [seen.lost().map(({ memcg, oomKills }) => [memcg, oomKills]), seen.killed(idOf(9))],
      [[[`/${pod}`, 1]], 0],
    );
  });
});
