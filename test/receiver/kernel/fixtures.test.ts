import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { identifyMemcg, scopeOfLimit } from '../../../receiver/cgroup/identity.ts';
import { parseKmsgRecord } from '../../../receiver/kernel/kmsg-record.ts';
import type { OomVictim } from '../../../receiver/kernel/oom-event.ts';
import { known, readLog, readVictims } from './reading.ts';

/** A recording of real kills, and what is known of them from the counters and from who was started. */
interface Recording {
  file: string;
  heading: string;
  kernel: string;
  victims: { pid: number; comm: string }[];
  containerId: string | null;
  limitScope: string | null;
}

const dir = join(import.meta.dirname, 'fixtures');
const recordings = JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')) as Recording[];
const recordsOf = (file: string): string => readFileSync(join(dir, file), 'utf8');

/** The same messages as `dmesg` writes them: bytes unescaped, further lines indented. */
function asDmesg(records: string): string[] {
  return records.split('\n').flatMap((record) => {
    const message = parseKmsgRecord(record);
    if (message === undefined) return [];
    const time = `[${(message.monotonicUs! / 1e6).toFixed(6).padStart(12)}] `;
    return `${time}${message.text.replaceAll('\n', `\n${' '.repeat(time.length)}`)}`.split('\n');
  });
}

function asJournal(records: string): string[] {
  return asDmesg(records).map((line) =>
    line.startsWith('[') ? line.replace(/^\[[^\]]+\]/, 'Nov 12 20:13:52 node-7 kernel:') : line,
  );
}

function scopeOf({ invocation }: OomVictim): string | undefined {
  if (invocation?.constraint === 'CONSTRAINT_NONE') return 'node';
  return invocation?.oomMemcg === undefined ? undefined : scopeOfLimit(invocation.oomMemcg, invocation.taskMemcg);
}

describe('reports of real kernels', () => {
  for (const { file, heading, victims, containerId, limitScope } of recordings) {
    const lines = recordsOf(file);

    it(`name the victims, their container and the limit: ${file} (${heading})`, () => {
      const told = readVictims(lines);
      assert.deepEqual(
        told.map(({ pid, comm }) => ({ pid, comm })),
        victims,
      );
      const named = told.filter(({ invocation }) => invocation !== undefined);
      assert.ok(victims.length === 0 || named.length >= Math.min(10, victims.length));
      for (const victim of named) {
        if (containerId !== null) assert.equal(identifyMemcg(victim.memcg!).containerId, containerId);
        assert.equal(scopeOf(victim), limitScope);
      }
      for (const { confirmed, totalVmBytes, anonRssBytes, uid } of told) {
        assert.equal(confirmed, true);
        assert.equal(uid, 0);
        assert.ok(totalVmBytes! > anonRssBytes!);
      }
    });

    it(`tell the same as text of dmesg and of a journal: ${file}`, () => {
      const facts = (log: string | string[]): unknown =>
        readVictims(log).map((victim) => {
          const { at: _at, invocation, ...rest } = victim;
          // A newline in the name of who asked for memory cannot be told from the end of a line of text.
          const { at: _first, triggerComm: _comm, triggerPid: _pid, tasks: _tasks, ...own } = invocation ?? {};
          return known({ ...rest, own });
        });
      assert.deepEqual(facts(asDmesg(lines)), facts(lines));
      assert.deepEqual(facts(asJournal(lines)), facts(lines));
    });
  }

  it('tell what filled the memory and who was there', () => {
    const [victim] = readVictims(recordsOf('6.12-v2-child-oom-parent-survives.kmsg'));
    const { memoryStat, tasks, pids, ...invocation } = victim!.invocation!;
    assert.equal(memoryStat?.get('anon'), 20_840_448);
    assert.equal(memoryStat?.size, 60);
    assert.equal(memoryStat?.get('pgfault'), 5097);
    assert.deepEqual(tasks, [
      { pid: 129, comm: 'worker', rssBytes: 5201 * 4096 },
      { pid: 128, comm: 'supervisor', rssBytes: 81 * 4096 },
    ]);
    assert.deepEqual([...pids!], [128, 129]);
    const { oomMemcg, taskMemcg, ...rest } = invocation;
    assert.equal(oomMemcg, taskMemcg);
    assert.deepEqual(known(rest), {
      at: { sequence: 365, monotonicUs: 2_305_188 },
      triggerComm: 'worker',
      triggerPid: 129,
      constraint: 'CONSTRAINT_MEMCG',
      usageBytes: 20 * 2 ** 20,
      limitBytes: 20 * 2 ** 20,
      failcnt: 19,
    });
  });

  it('tell that nothing can be killed, and in which group', () => {
    const events = readLog(recordsOf('6.1-v2-unkillable-flood.kmsg'));
    assert.deepEqual(
      events.map(({ kind }) => kind),
      Array(4).fill('oom_nothing_killable'),
    );
    const { invocation } = events[1] as { invocation?: OomVictim['invocation'] };
    assert.equal(scopeOfLimit(invocation!.oomMemcg!), 'container');
    assert.equal(invocation!.limitBytes, 8 * 2 ** 20);
    assert.equal(invocation!.triggerComm, 'unkillable');
  });

  it('tell how many reports the kernel held back', () => {
    const [suppressed] = readLog(recordsOf('6.1-v2-comm-parens.kmsg'));
    assert.deepEqual(known(suppressed), {
      kind: 'oom_reports_suppressed',
      at: { sequence: 918, monotonicUs: 18_269_058 },
      reports: 30,
    });
  });
});
