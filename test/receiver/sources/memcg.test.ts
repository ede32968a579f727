import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import type { Observation } from '../../../receiver/observation.ts';
import { MemcgSource } from '../../../receiver/sources/memcg.ts';
import { ContainerTable } from '../../../receiver/container-table.ts';
import { Telemetry } from '../../../receiver/telemetry.ts';
import { makeSettings } from '../../helpers/component-settings.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FakeHost } from '../../helpers/fake-cgroups.ts';

const idOf = (number: number) => number.toString(16).padStart(64, '0');
const counterFile = { 1: 'memory.oom_control', 2: 'memory.events' } as const;
const usageFile = { 1: 'memory.usage_in_bytes', 2: 'memory.current' } as const;

for (const version of [1, 2] as const) {
  describe(`the memcg source on cgroup v${version}`, () => {
    const counter = counterFile[version];
    const kills = (count: number) => `oom_kill ${count}\n`;

    it('counts and tells once that a counter is malformed, and counts kills when it is well again', async (t) => {
      const host = new FakeHost(t, version);
      host.make(idOf(1), { [counter]: 'oom_kill none\n' });
      host.make(idOf(2));
      const seen = await observe(t, host);
      host.writeGroup(idOf(2), counter, kills(1));
      // One more than the other shows, so that all are read.
      host.write('proc/vmstat', 'nr_free_pages 1\noom_kill 2\n');
      await eventually('the kill of the other is counted', () => seen.killed(idOf(2)) === 1 || undefined);
      await eventually('it is counted', async () => (await seen.badInput()) > 1 || undefined);
      assert.deepEqual(
        seen.warnings().map(({ what }) => what),
        ['cgroup file that cannot be used'],
      );
      assert.match(String(seen.warnings()[0]!['value']), new RegExp(`^cannot parse ".*/${idOf(1)}/${counter}"$`));

      host.writeGroup(idOf(1), counter, kills(5));
      host.write('proc/vmstat', 'nr_free_pages 1\noom_kill 3\n');
      seen.source.lookAt(idOf(1));
      host.writeGroup(idOf(1), counter, kills(7));
      seen.source.lookAt(idOf(1));
      await eventually('kills are counted', () => seen.killed(idOf(1)) > 0 || undefined);
      assert.equal(seen.killed(idOf(1)), 2, 'those from before its first reading are not ours');
    });

    it('counts and tells once that a file has no counter', async (t) => {
      const host = new FakeHost(t, version);
      host.make(idOf(1), { [counter]: 'oom 3\n' });
      const seen = await observe(t, host);
      for (let look = 0; look < 3; look++) seen.source.lookAt(idOf(1));
      assert.ok((await seen.badInput()) >= 1);
      assert.equal(seen.warnings().length, 1);
      assert.match(String(seen.warnings()[0]!['value']), /^cannot find "oom_kill" in /);
      assert.equal(seen.killed(idOf(1)), 0);
    });

    it('begins no reading in the midst of another, whoever takes what it tells', async (t) => {
      const host = new FakeHost(t, version);
      for (const n of [1, 2, 3]) host.make(idOf(n));
      let [depth, deepest] = [0, 0];
      const seen = await observe(t, host, undefined, (source) => {
        deepest = Math.max(deepest, ++depth);
        for (const n of [1, 2, 3]) source.lookAt(idOf(n));
        depth--;
      });
      for (const n of [1, 2, 3]) host.writeGroup(idOf(n), counter, kills(1));
      host.write('proc/vmstat', 'nr_free_pages 1\noom_kill 3\n');
      await eventually('all are counted', () => [1, 2, 3].every((n) => seen.killed(idOf(n)) === 1) || undefined);
      assert.equal(deepest, 1);
    });

    it('counts a kill that the machine counts well before the group', async (t) => {
      const host = new FakeHost(t, version);
      host.make(idOf(1));
      const seen = await observe(t, host);
      host.write('proc/vmstat', 'nr_free_pages 1\noom_kill 1\n');
      await eventually('the machine’s count was read', () =>
        seen.all.some((one) => one.kind === 'node_oom_kills_counted' && one.total === 1) ? true : undefined,
      );
      setTimeout(() => host.writeGroup(idOf(1), counter, kills(1)), 150);
      await eventually('the kill is counted', () => seen.killed(idOf(1)) || undefined, 2);
      assert.equal(seen.killed(idOf(1)), 1);
    });

    it('tells the kills since an earlier run, of the same group, of one made anew and of one that is new', async (t) => {
      const host = new FakeHost(t, version);
      for (const number of [1, 2, 3]) host.make(idOf(number), { [counter]: kills(5) });
      const first = await observe(t, host);
      const known = new Map([1, 2].map((number) => [idOf(number), first.source.groupsOf(idOf(number))]));
      known.set(idOf(2), [{ ...known.get(idOf(2))![0]!, inode: 1 }]);
      host.writeGroup(idOf(1), counter, kills(7));
      const second = await observe(t, host, known);
      assert.deepEqual(
        [1, 2, 3].map((number) => second.killed(idOf(number))),
        [2, 5, 5],
      );
      const resumed = second.all.filter((one) => one.kind === 'memcg_appeared' && one.resumed === true);
      assert.equal(resumed.length, 1);
    });

    it('begins at what its groups stand at where no earlier run is known', async (t) => {
      const host = new FakeHost(t, version);
      host.make(idOf(1), { [counter]: kills(5) });
      const seen = await observe(t, host);
      seen.source.lookAt(idOf(1));
      assert.equal(seen.killed(idOf(1)), 0);
    });

    it('tells the first thousand processes of a container, and once that there are more', async (t) => {
      const host = new FakeHost(t, version);
      const pids = (from: number, count: number) => Array.from({ length: count }, (_, n) => `${from + n}\n`).join('');
      host.make(idOf(1), { 'cgroup.procs': pids(4_000_000, 600) });
      host.make(`${idOf(1)}/nested`, { 'cgroup.procs': pids(4_100_000, 600) });
      const seen = await observe(t, host);
      seen.source.lookAt(idOf(1));
      const told = seen.all.find((one) => one.kind === 'processes_seen');
      assert.equal(told?.pids.length, 1000);
      assert.equal(told.pids.at(-1), 4_100_399);
      assert.deepEqual(
        seen.warnings().map(({ what }) => what),
        ['more processes in a container than are looked at'],
      );
    });

    it('leaves out of a reading what is malformed, and tells it once', async (t) => {
      const host = new FakeHost(t, version);
      host.make(idOf(1), { 'memory.stat': 'anon\ntotal_rss 12x\nfile 4096\ncache 4096\n' });
      host.make(idOf(2), { [usageFile[version]]: '-5\n' });
      const seen = await observe(t, host);
      for (let reading = 0; reading < 3; reading++) {
        const memory = seen.source.readMemory(idOf(1));
        assert.equal(memory?.usageBytes, 2 ** 20);
        assert.equal(memory.rssBytes, undefined);
        assert.equal(memory.workingSetBytes, undefined);
        assert.equal(memory.unreclaimableBytes, undefined);
        assert.equal(memory.limitBytes, 32 * 2 ** 20);
        assert.equal(seen.source.readMemory(idOf(2)), undefined);
      }
      assert.equal(await seen.badInput(), 6);
      assert.deepEqual(
        seen.warnings().map(({ what }) => what),
        ['malformed cgroup file'],
      );
    });

    it('takes nothing for a container whose name is not a container’s id', async (t) => {
      const host = new FakeHost(t, version);
      const names = [
        'f'.repeat(63),
        'f'.repeat(65),
        'F'.repeat(64),
        `${'f'.repeat(63)}g`,
        `${'f'.repeat(64)}\n`,
        'web',
      ];
      for (const name of names) host.make(`docker/${name}`, { [counter]: kills(0) });
      host.make(`docker/${idOf(1)}`);
      const seen = await observe(t, host);
      for (const name of names) host.writeGroup(`docker/${name}`, counter, kills(1));
      host.writeGroup(`docker/${idOf(1)}`, counter, kills(1));
      host.write('proc/vmstat', 'nr_free_pages 1\noom_kill 7\n');
      await eventually('the kill in the container is counted', () => seen.killed(idOf(1)) === 1 || undefined);
      const ids = new Set(seen.all.flatMap((one) => ('containerId' in one ? [one.containerId] : [])));
      assert.deepEqual([...ids], [idOf(1)]);
      for (const name of names) {
        seen.source.lookAt(name);
        assert.equal(seen.source.readMemory(name), undefined);
      }
      assert.deepEqual(seen.warnings(), []);
    });

    it('says that descriptors run short, and counts and reads all the same', async (t) => {
      const host = new FakeHost(t, version);
      const ids = Array.from({ length: 20 }, (_, index) => idOf(index + 1));
      for (const id of ids) host.make(id);
      // 256 are left to others.
      limitDescriptors(t, 266);
      const seen = await observe(t, host);
      assertWorks(host, seen, ids);
      assert.deepEqual(
        seen.warnings().map(({ what, value }) => [what, value]),
        [['too few file descriptors: cgroup files are opened for each reading', '10 are kept open']],
      );
    });

    it('closes files of its own where others have used up all descriptors', async (t) => {
      const host = new FakeHost(t, version);
      const ids = Array.from({ length: 20 }, (_, index) => idOf(index + 1));
      for (const id of ids) host.make(id);
      limitDescriptors(t, 356);
      const seen = await observe(t, host);
      const others: number[] = [];
      try {
        assert.throws(() => {
          for (;;) others.push(openSync('/dev/null', 'r'));
        }, /EMFILE/);
        assertWorks(host, seen, ids);
      } finally {
        for (const fd of others) closeSync(fd);
      }
      assert.deepEqual(
        seen.warnings().map(({ what }) => what),
        ['too few file descriptors: cgroup files are opened for each reading'],
      );
    });

    function assertWorks(host: FakeHost, seen: Awaited<ReturnType<typeof observe>>, ids: readonly string[]): void {
      for (const id of ids) {
        assert.equal(seen.source.readMemory(id)?.usageBytes, 2 ** 20);
        assert.equal(seen.source.readMemory(id)?.limitBytes, 32 * 2 ** 20);
        host.writeGroup(id, counter, kills(1));
        seen.source.lookAt(id);
        assert.equal(seen.killed(id), 1);
      }
    }
  });
}

describe('the memcg source on a cgroup v2 that counts local events only (memory_localevents)', () => {
  const events = (count: number) => `oom ${count}\noom_kill ${count}\n`;
  const mount = (options: string) => `cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,${options} 0 0\n`;

  /** A container with a group in it, and in that another container. */
  function makeNested(t: TestContext, options: string) {
    const host = new FakeHost(t, 2);
    host.write('proc/1/mounts', mount(options));
    const outer = `docker/${idOf(1)}`;
    const inner = `${outer}/docker/${idOf(2)}`;
    for (const group of [outer, `${outer}/docker`, inner]) host.make(group, { 'memory.events': events(0) });
    return {
      host,
      outer,
      inner,
      nested: `${outer}/docker`,
      tellMachine: (count: number) => host.write('proc/vmstat', `nr_free_pages 1\noom_kill ${count}\n`),
    };
  }

  it('counts kills in the groups of a container for it, each from its own counter', async (t) => {
    const { host, nested, outer, tellMachine } = makeNested(t, 'memory_localevents');
    const seen = await observe(t, host);
    // The container's own counter does not move.
    host.writeGroup(nested, 'memory.events', events(1));
    tellMachine(1);
    await eventually('the kill is counted', () => seen.killed(idOf(1)) === 1 || undefined);
    const rise = seen.all.find((one) => one.kind === 'oom_kills_counted');
    assert.equal(rise?.memcg, `/${nested}`);
    host.writeGroup(outer, 'memory.events', events(1));
    tellMachine(2);
    await eventually('the kill is counted', () => seen.killed(idOf(1)) === 2 || undefined);
    assert.equal(seen.killed(idOf(2)), 0);
  });

  it('takes nothing from the outer container for a kill in one that lies in it', async (t) => {
    const { host, inner, outer, tellMachine } = makeNested(t, 'memory_localevents');
    const seen = await observe(t, host);
    host.writeGroup(inner, 'memory.events', events(1));
    tellMachine(1);
    await eventually('the kill is counted', () => seen.killed(idOf(2)) === 1 || undefined);
    assert.equal(seen.killed(idOf(1)), 0);
    host.writeGroup(outer, 'memory.events', events(1));
    tellMachine(2);
    await eventually('the outer’s own kill is counted', () => seen.killed(idOf(1)) === 1 || undefined);
    assert.equal(seen.killed(idOf(2)), 1);
  });

  it('on any other, counts the nested group by the container’s counter alone, less what an inner container counts', async (t) => {
    const { host, inner, nested, outer, tellMachine } = makeNested(t, 'nsdelegate');
    const seen = await observe(t, host);
    for (const group of [inner, nested, outer]) host.writeGroup(group, 'memory.events', events(1));
    tellMachine(1);
    await eventually('the kill is counted', () => seen.killed(idOf(2)) === 1 || undefined);
    host.writeGroup(nested, 'memory.events', events(2));
    host.writeGroup(outer, 'memory.events', events(2));
    tellMachine(2);
    await eventually('the kill is counted', () => seen.killed(idOf(1)) === 1 || undefined);
    assert.equal(seen.killed(idOf(2)), 1);
  });
});

/** Lowers how many descriptors this process may have, until the test ends. */
function limitDescriptors(t: TestContext, most: number): void {
  const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))!;
  const set = (limit: string) => execFileSync('prlimit', [`--pid=${process.pid}`, `--nofile=${limit}:`]);
  set(String(most));
  t.after(() => set(soft!));
}

/** Observes a host until the test ends, with the telemetry of the real receiver. */
async function observe(
  t: TestContext,
  host: FakeHost,
  known?: Parameters<MemcgSource['resume']>[0],
  onEmit: (source: MemcgSource) => void = () => {},
) {
  const all: Observation[] = [];
  const settings = makeSettings();
  const telemetry = new Telemetry(settings, new ContainerTable(100));
  const source = new MemcgSource({
    hostRoot: host.root,
    pollIntervalMs: 20,
    sampleIntervalMs: 0,
    maxGroups: 1000,
    onBadInput: (what, value) => telemetry.countBadInput('memcg', what, value),
  });
  if (known !== undefined) source.resume(known);
  const stop = new AbortController();
  const up = Promise.withResolvers<void>();
  const take = (observation: Observation): void => {
    all.push(observation);
    onEmit(source);
  };
  const observing = source.observe(take, up.resolve, stop.signal);
  t.after(async () => {
    stop.abort();
    await observing;
  });
  await up.promise;
  return {
    source,
    all,
    killed: (containerId: string) =>
      all.reduce(
        (sum, one) => sum + (one.kind === 'oom_kills_counted' && one.containerId === containerId ? one.oomKills : 0),
        0,
      ),
    warnings: () => settings.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields),
    badInput: async () => (await settings.series())['exit137_source_bad_input{receiver=test,source=memcg}'] ?? 0,
  };
}
