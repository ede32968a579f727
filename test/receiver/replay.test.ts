import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Replay, type Replayed } from '../../receiver/replay.ts';

interface Recording {
  file: string;
  victims: { pid: number; comm: string }[];
  containerId: string | null;
  limitScope: string | null;
}

const fixtures = join(import.meta.dirname, 'kernel/fixtures');
const recordings = JSON.parse(readFileSync(join(fixtures, 'index.json'), 'utf8')) as Recording[];

function replay(text: string): Replayed[] {
  const log = new Replay('1.2.3', 4096, () => Date.UTC(2026, 10, 20));
  return [...text.split('\n').flatMap((line) => log.read(line)), ...log.end()];
}

const attributesOf = (replayed: Replayed[], ...names: string[]) =>
  replayed.map(({ record }) => names.map((name) => record.attributes[name] ?? record.resource.attributes[name]));

describe('Replay', () => {
  for (const { file, victims, containerId, limitScope } of recordings) {
    it(`tells each kill once, on its container and with its scope: ${file}`, () => {
      const all = replay(readFileSync(join(fixtures, file), 'utf8'));
      const told = all.filter(({ record }) => record.eventName !== 'container.memory.stuck');
      assert.deepEqual(
        attributesOf(told, 'process.pid', 'process.executable.name'),
        victims.map(({ pid, comm }) => [pid, comm]),
      );
      for (const { record, at } of told) {
        assert.equal(at.wallTimeMs, undefined);
        const { attributes, resource, eventName } = record;
        if (attributes['oom.constraint'] === undefined) continue;
        assert.equal(attributes['oom.scope'], limitScope);
        assert.equal(resource.attributes['container.id'], containerId ?? undefined);
        assert.equal(eventName, containerId === null ? 'system.oom_kill' : 'container.oom_kill');
      }
    });
  }

  it('knows the container of a victim whose report was held back, if an earlier report listed it', () => {
    const memcg = `/docker/${'7c1f9d0e2b3a4859'.repeat(4)}`;
    const told = replay(`[    3.090100] hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
[    3.090200] Tasks state (memory values in pages):
[    3.090300] [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name
[    3.090400] [    134]     0   134     5373     5122    77824        0             0 hog
[    3.090500] [    135]     0   135     5373     5122    77824        0             0 hog
[    3.091000] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg=${memcg},task_memcg=${memcg},task=hog,pid=134,uid=0
[    3.091534] Memory cgroup out of memory: Killed process 134 (hog) total-vm:21492kB, anon-rss:20224kB, file-rss:264kB, shmem-rss:0kB, UID:0 pgtables:76kB oom_score_adj:0
[    3.191534] Memory cgroup out of memory: Killed process 135 (hog) total-vm:21492kB, anon-rss:20224kB, file-rss:264kB, shmem-rss:0kB, UID:0 pgtables:76kB oom_score_adj:0
[    3.291534] Memory cgroup out of memory: Killed process 136 (hog) total-vm:21492kB, anon-rss:20224kB, file-rss:264kB, shmem-rss:0kB, UID:0 pgtables:76kB oom_score_adj:0`);
    const containerId = memcg.slice('/docker/'.length);
    assert.deepEqual(attributesOf(told, 'process.pid', 'container.id'), [
      [134, containerId],
      [135, containerId],
      [136, undefined],
    ]);
  });

  it('tells once that nothing can be killed in a container', () => {
    const told = replay(readFileSync(join(fixtures, '6.1-v2-unkillable-flood.kmsg'), 'utf8'));
    assert.deepEqual(
      told.map(({ record }) => [record.eventName, record.attributes['memory.stuck.reason']]),
      [['container.memory.stuck', 'nothing_killable']],
    );
  });

  it('tells a kill whose container the text does not name on the node', () => {
    const [told] = replay(
      'Nov 12 20:13:52 node-7 kernel: Memory cgroup out of memory: Killed process 134 (hog) total-vm:21492kB, anon-rss:20224kB, file-rss:264kB, shmem-rss:0kB, UID:0 pgtables:76kB oom_score_adj:0',
    );
    assert.deepEqual(attributesOf([told!], 'oom.scope', 'process.pid', 'container.id'), [['unknown', 134, undefined]]);
    assert.ok(told!.at.wallTimeMs !== undefined);
    assert.equal(told!.record.eventName, 'system.oom_kill');
  });

  it('gives the victims of one invocation one id, and the same whatever the form of the log', () => {
    const file = readFileSync(join(fixtures, '6.12-v2-oom-group-4-procs.kmsg'), 'utf8');
    const ids = attributesOf(replay(file), 'oom.incident.id').flat();
    assert.deepEqual([ids.length, new Set(ids).size], [4, 1]);
    const asDmesg = file.replaceAll(
      /^\d+,\d+,(\d+),[^;]*;/gm,
      (_, us: string) => `[${(Number(us) / 1e6).toFixed(6)}] `,
    );
    assert.deepEqual(attributesOf(replay(asDmesg), 'oom.incident.id').flat(), ids);
  });
});
