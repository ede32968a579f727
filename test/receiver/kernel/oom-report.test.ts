import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import type { OomVictim } from '../../../receiver/kernel/oom-event.ts';
import { LogLineReader } from '../../../receiver/kernel/log-line.ts';
import { OomReports } from '../../../receiver/kernel/oom-report.ts';
import { known, readLog, readVictims } from './reading.ts';

const begin = (comm = 'hog'): string =>
  `${comm} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0`;
const summary = (pid: number, comm = 'hog', memcg = '/docker/a', oomMemcg = memcg): string =>
  `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0-1,oom_memcg=${oomMemcg},task_memcg=${memcg},task=${comm},pid=${pid},uid=1000`;
const figures = 'total-vm:100kB, anon-rss:50kB, file-rss:2kB, shmem-rss:1kB';
const killed = (pid: number, comm = 'hog', from = 'Memory cgroup out of memory: '): string =>
  `${from}Killed process ${pid} (${comm}) ${figures}, UID:1000 pgtables:76kB oom_score_adj:-7`;
const group = (path: string): string => `Tasks in ${path} are going to be killed due to memory.oom.group set`;
const usage = 'memory: usage 1024kB, limit 2048kB, failcnt 19';
const unlimited = 'memory: usage 1024kB, limit 9007199254740988kB, failcnt 0';

/** Lines of one kernel, one microsecond apart unless told. */
function kmsg(lines: readonly string[], stepUs = 1): string[] {
  return lines.map((line, index) => `4,${index},${1_000_000 + index * stepUs},-;${line}`);
}

const briefly = (victims: readonly OomVictim[]): unknown[] =>
  victims.map(({ pid, comm, memcg, invocation }) => [pid, comm, memcg, invocation?.oomGroup]);

describe('OOM reports', () => {
  it('tell all that a kill and its dump say, in bytes', () => {
    const lines = [begin('worker'), 'CPU: 1 PID: 7 Comm: worker Not tainted 5.10.0 #1', usage, summary(8), killed(8)];
    assert.deepEqual(known(readLog(kmsg(lines))), [
      {
        kind: 'oom_victim',
        at: { sequence: 4, monotonicUs: 1_000_004 },
        pid: 8,
        comm: 'hog',
        uid: 1000,
        totalVmBytes: 102_400,
        anonRssBytes: 51_200,
        fileRssBytes: 2048,
        shmemRssBytes: 1024,
        pgtablesBytes: 77_824,
        oomScoreAdj: -7,
        confirmed: true,
        memcgOom: true,
        memcg: '/docker/a',
        invocation: {
          at: { sequence: 0, monotonicUs: 1_000_000 },
          triggerComm: 'worker',
          triggerPid: 7,
          constraint: 'CONSTRAINT_MEMCG',
          oomMemcg: '/docker/a',
          taskMemcg: '/docker/a',
          usageBytes: 1_048_576,
          limitBytes: 2_097_152,
          failcnt: 19,
        },
      },
    ]);
  });

  it('have no limit where the kernel prints the largest number', () => {
    const [victim] = readVictims([begin(), unlimited, summary(8), killed(8)]);
    assert.equal(victim!.invocation!.usageBytes, 1_048_576);
    assert.equal(victim!.invocation!.limitBytes, undefined);
  });

  it('of 3.10 to 4.x: tell the groups first, sum up the groups below, and kill what they announce', () => {
    const [victim, ...others] = readVictims([
      'java invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0',
      'java cpuset=7c1f mems_allowed=0',
      'CPU: 5 PID: 13536 Comm: java Tainted: P           OX 3.10.0-1160.el7.x86_64 #1',
      'Task in /docker/a/b killed as a result of limit of /docker/a',
      usage,
      'memory+swap: usage 0kB, limit 18014398509481983kB, failcnt 0',
      'Memory cgroup stats for /docker/a: cache:4KB rss:980KB rss_huge:0KB',
      'Memory cgroup stats for /docker/a/b: cache:8KB rss:20KB rss_huge:0KB',
      '[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name',
      '[13536] 275858 13536  8389663      343   16267  8324326             0 java',
      'Memory cgroup out of memory: Kill process 13536 (java) score 996 or sacrifice child',
      'Killed process 13536 (java), UID 1000, total-vm:400kB, anon-rss:92kB, file-rss:4kB, shmem-rss:0kB',
    ]);
    assert.equal(others.length, 0);
    assert.equal(victim!.uid, 1000);
    assert.equal(victim!.memcgOom, true);
    assert.equal(victim!.memcg, '/docker/a/b');
    const { invocation } = victim!;
    assert.equal(invocation!.oomMemcg, '/docker/a');
    assert.equal(invocation!.triggerPid, 13_536);
    assert.deepEqual(known(invocation!.memoryStat), { cache: 12_288, rss: 1_024_000, rss_huge: 0 });
    assert.deepEqual(invocation!.tasks, [{ pid: 13_536, comm: 'java', rssBytes: 343 * 4096 }]);
  });

  it('before 5.2 kill a child in place of the chosen one', () => {
    const [victim, ...others] = readVictims([
      begin(),
      'Task in /a killed as a result of limit of /a',
      'Memory cgroup out of memory: Kill process 10 (parent) score 9 or sacrifice child',
      `Killed process 11 (child) ${figures}`,
    ]);
    assert.deepEqual([victim!.pid, victim!.comm, victim!.memcg, others.length], [11, 'child', '/a', 0]);
  });

  it('up to 4.7 kill who shares the memory of a victim', () => {
    const lines = [
      'Out of memory: Kill process 10 (a) score 9 or sacrifice child',
      `Killed process 10 (a) ${figures}`,
      'Kill process 12 (b) sharing same memory',
    ];
    assert.deepEqual(
      readVictims(lines).map(({ pid, memcgOom }) => [pid, memcgOom]),
      [
        [10, false],
        [12, false],
      ],
    );
  });

  it('take the columns of the task table by name and its pages by their size, and keep the ten largest', () => {
    const rows = Array.from(
      { length: 30 },
      (_, n) => `[${String(n + 1).padStart(7)}]     0     ${n}      571      ${n}        0 ${n}  51200  96   0 t ${n}`,
    );
    const lines = [
      begin(),
      '[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file pgtables_bytes swapents oom_score_adj name',
      ...rows,
      summary(3),
      killed(3),
    ];
    const { tasks } = readVictims(lines, 65_536)[0]!.invocation!;
    assert.deepEqual(
      tasks?.map(({ pid }) => pid),
      [30, 29, 28, 27, 26, 25, 24, 23, 22, 21],
    );
    assert.deepEqual(tasks[0], { pid: 30, comm: 't 29', rssBytes: 29 * 65_536 });
  });

  it('tell of sysrq f', () => {
    const lines = [
      'kworker/0:3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=-1, oom_score_adj=0',
      'oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/docker/a,task=x,pid=8,uid=-2',
      killed(8, 'x', 'Out of memory: '),
    ];
    const [victim] = readVictims(lines);
    assert.deepEqual([victim!.invocation!.sysrq, victim!.memcg, victim!.memcgOom], [true, '/docker/a', false]);
    assert.equal(victim!.invocation!.oomMemcg, undefined);
  });

  it('name the victim where the report was held back, without a group', () => {
    assert.deepEqual(
      known(
        readVictims(kmsg([killed(8), killed(9)])).map(({ pid, memcg, invocation }) => ({ pid, memcg, invocation })),
      ),
      [{ pid: 8 }, { pid: 9 }],
    );
  });

  it('give a victim whose kill is not in the log once, and say so', () => {
    const victims = readVictims([
      begin(),
      summary(8),
      'Memory cgroup out of memory: Kill process 7 (x) score 1 or sacrifice child',
    ]);
    assert.deepEqual(
      victims.map(({ pid, confirmed }) => [pid, confirmed]),
      [
        [8, false],
        [7, false],
      ],
    );
  });

  it('have no victim where it was exiting by itself', () => {
    const skipped = 'Memory cgroup out of memory: OOM victim 8 (hog) is already exiting. Skip killing the task';
    assert.deepEqual(readVictims([begin(), summary(8), skipped]), []);
  });

  it('take the number of a thread for the same kill', () => {
    const victims = readVictims([begin(), summary(8), killed(15)]);
    assert.deepEqual(
      victims.map(({ pid, memcg, confirmed }) => [pid, memcg, confirmed]),
      [[15, '/docker/a', true]],
    );
  });

  it('pass over what a process wrote to the kernel log', () => {
    assert.deepEqual(readLog(`12,1,2,-;${killed(1)}`), []);
  });

  it('give a victim at once when the log falls silent', () => {
    const reports = new OomReports(4096);
    assert.deepEqual(reports.feed({ text: killed(8), facility: 0 }), []);
    assert.equal(reports.settle().length, 1);
    assert.deepEqual([...reports.settle(), ...reports.flush()], []);
  });

  it('are told once where the log is read on after the choice was given out', () => {
    const reports = new OomReports(4096);
    for (const text of [begin(), summary(8)]) reports.feed({ text });
    assert.equal(reports.flush().length, 1);
    assert.deepEqual([...reports.feed({ text: killed(8) }), ...reports.flush()], []);
  });
});

describe('reports that are not whole, or not alone', () => {
  const table = [
    '[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name',
    '[      8]     0     8       25       12    77824        0             0 hog',
  ];
  const dumped = 'Task in /docker/a killed as a result of limit of /docker/a';
  const limits = (lines: readonly string[]) =>
    readVictims(lines).map(({ pid, memcg, invocation }) => [pid, memcg, invocation?.limitBytes]);
  const limit = 2_097_152;

  it('are known by any of their lines, where the first ones are lost', () => {
    for (const first of [
      usage,
      'Memory cgroup stats for /docker/a:',
      table[0]!,
      'Tasks state (memory values in pages):',
    ]) {
      const [victim] = readVictims(kmsg([first, summary(8), killed(8)]));
      assert.deepEqual(known(victim!.invocation!.at), { sequence: 0, monotonicUs: 1_000_000 }, first);
    }
    assert.deepEqual(limits(kmsg([dumped, usage, killed(8)])), [[8, '/docker/a', limit]]);
    const [reached] = readLog(
      kmsg(['Memory limit reached of cgroup /a', 'Out of memory and no killable processes...']),
    );
    assert.deepEqual(known(reached), {
      kind: 'oom_nothing_killable',
      at: { sequence: 1, monotonicUs: 1_000_001 },
      invocation: { at: { sequence: 0, monotonicUs: 1_000_000 }, oomMemcg: '/a' },
    });
  });

  it('belong to a victim that no line announced: the one whose table lists it', () => {
    assert.deepEqual(limits(kmsg([begin(), dumped, usage, ...table, killed(8)])), [[8, '/docker/a', limit]]);
    assert.deepEqual(limits(kmsg([begin(), dumped, usage, ...table, killed(9)])), [[9, undefined, undefined]]);
    const ofNode = killed(8, 'hog', 'Out of memory: ');
    assert.deepEqual(limits(kmsg([begin(), dumped, usage, ofNode])), [[8, undefined, undefined]]);
    assert.deepEqual(limits(kmsg([begin(), usage, ...table, ofNode])), [[8, undefined, limit]]);
    assert.deepEqual(limits(kmsg([begin(), usage, ofNode])), [[8, undefined, undefined]]);
    assert.deepEqual(limits(kmsg([begin(), dumped, usage, killed(8)], 11_000_000)), [[8, undefined, undefined]]);
  });

  it('end with the kill: what follows is another one', () => {
    const next = 'memory: usage 1024kB, limit 4096kB, failcnt 1';
    assert.deepEqual(limits(kmsg([begin(), usage, summary(8), killed(8), next, summary(9), killed(9)])), [
      [8, '/docker/a', limit],
      [9, '/docker/a', 2 * limit],
    ]);
    assert.deepEqual(limits(kmsg([begin(), usage, summary(8), killed(8), killed(10)])), [
      [8, '/docker/a', limit],
      [10, undefined, undefined],
    ]);
  });

  it('are told apart where one begins within a second of the other', () => {
    const both = [begin('one'), begin('two'), usage, summary(8), killed(8)];
    assert.deepEqual(limits(kmsg(both)), [[8, '/docker/a', undefined]]);
    assert.deepEqual(limits(kmsg(both, 1_000_000)), [[8, '/docker/a', limit]]);
    assert.deepEqual(limits(kmsg([begin('one'), summary(7), killed(7), ...both.slice(1)]))[1], [8, '/docker/a', limit]);
  });

  it('announce a kill twice in 5.0 and 5.1, and may still kill a child', () => {
    const announced = 'Memory cgroup out of memory: Kill process 8 (hog) score 985 or sacrifice child';
    const told = (last: string) =>
      readVictims(kmsg([begin(), summary(8), announced, last])).map(({ pid, uid, memcg }) => [pid, uid, memcg]);
    assert.deepEqual(told(`Killed process 8 (hog) ${figures}`), [[8, 1000, '/docker/a']]);
    // Whose user the summary did not tell.
    assert.deepEqual(told(`Killed process 9 (child) ${figures}`), [[9, undefined, '/docker/a']]);
  });

  it('tell the page size by the victim in the table, if the log is of another machine', () => {
    const rows = [table[0]!, table[1]!.replace(' 25 ', ' 16 ')];
    const lines = [begin(), ...rows, summary(8), killed(8).replace('total-vm:100kB', 'total-vm:1024kB')];
    assert.equal(readVictims(kmsg(lines))[0]!.invocation!.tasks![0]!.rssBytes, 12 * 65_536);
  });

  it('of which nothing can be killed end there', () => {
    const nothing = 'Out of memory and no killable processes...';
    const told = readLog(kmsg([begin(), usage, nothing, nothing, summary(8), killed(8)]));
    assert.deepEqual(
      told.map((event) => ('invocation' in event ? event.invocation?.limitBytes : undefined)),
      [limit, undefined, undefined],
    );
  });

  it('may announce up to eight kills before the first is told, in any order', () => {
    const pids = [1, 2, 3, 4, 5, 6, 7, 8];
    const lines = pids.flatMap((pid) => [begin(), summary(pid, 'hog', `/docker/${pid}`)]);
    const told = readVictims(kmsg([...lines, ...pids.toReversed().map((pid) => killed(pid))]));
    assert.deepEqual(
      told.map(({ pid, memcg, confirmed }) => [pid, memcg, confirmed]),
      pids.toReversed().map((pid) => [pid, `/docker/${pid}`, true]),
    );
    const nine = readVictims(kmsg([...lines, begin(), summary(9), killed(9)]));
    assert.deepEqual(
      nine.slice(0, 2).map(({ pid, confirmed }) => [pid, confirmed]),
      [
        [1, false],
        [9, true],
      ],
    );
  });

  it('give up a kill that does not follow within ten seconds', () => {
    const lines = kmsg([begin(), summary(8), killed(9, 'other')], 6_000_000);
    assert.deepEqual(
      readVictims(lines).map(({ pid, confirmed }) => [pid, confirmed]),
      [
        [9, true],
        [8, false],
      ],
    );
    const late = kmsg([begin(), summary(8), killed(9, 'other')], 11_000_000);
    assert.deepEqual(
      readVictims(late).map(({ pid, confirmed }) => [pid, confirmed]),
      [
        [8, false],
        [9, true],
      ],
    );
  });

  it('tell of another process than the announced one only where it can be its child or its thread', () => {
    const announced = 'Memory cgroup out of memory: Kill process 8 (hog) score 985 or sacrifice child';
    const child = killed(9, 'child', '');
    assert.deepEqual(briefly(readVictims(kmsg([begin(), dumped, announced, child]))), [
      [9, 'child', '/docker/a', undefined],
    ]);
    // Who is not in the table, which the kernel has just written, is no child.
    assert.deepEqual(
      readVictims(kmsg([begin(), dumped, ...table, announced, child])).map(({ pid, memcg }) => [pid, memcg]),
      [
        [9, undefined],
        [8, '/docker/a'],
      ],
    );
    // Nor is a victim of the whole machine that of a group.
    assert.equal(readVictims(kmsg([begin(), dumped, announced, killed(9, 'child', 'Out of memory: ')])).length, 2);
    // A thread has the process's name and user, and no row of its own.
    const of = (...lines: string[]): number[] => readVictims(kmsg([begin(), ...lines])).map(({ pid }) => pid);
    assert.deepEqual(of(summary(8), killed(9)), [9]);
    assert.deepEqual(of(summary(8), killed(9, 'other')), [9, 8]);
    assert.deepEqual(of(summary(8), killed(9).replace('UID:1000', 'UID:7')), [9, 8]);
    assert.deepEqual(of(...table, table[1]!.replaceAll('8', '9'), summary(8), killed(9)), [9, 8]);
  });

  it('take the same process told twice within two seconds for one, and a pid that comes again later for another', () => {
    const pids = (stepUs: number, ...lines: string[]) => readVictims(kmsg(lines, stepUs)).map(({ pid }) => pid);
    assert.deepEqual(pids(1, killed(8), killed(8)), [8]);
    assert.deepEqual(pids(2_000_000, killed(8), killed(8)), [8]);
    assert.deepEqual(pids(2_000_001, killed(8), killed(8)), [8, 8]);
    assert.deepEqual(pids(1, killed(8), killed(8, 'other')), [8, 8]);
    assert.deepEqual(pids(1, killed(8), killed(8).replace('total-vm:100kB', 'total-vm:104kB')), [8, 8]);
  });

  it('tell each process once where every line is there twice, or the whole log is', () => {
    const of6 = [begin(), usage, summary(8), killed(8), group('/docker/a'), killed(9), killed(8)];
    // Below a group's limit, up to 5.1 a thread can be chosen; 3.10: its process is what is killed.
    const of3 = [
      begin(),
      'Task in /docker/a killed as a result of limit of /docker/a',
      usage,
      '[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name',
      '[    8]     0     8       25        5        7        0          -998 hog',
      'Memory cgroup out of memory: Kill process 11 (hog) score 0 or sacrifice child',
      `Killed process 8 (hog) ${figures}`,
    ];
    for (const [lines, pids] of [
      [of6, [8, 9]],
      [of3, [8]],
    ] as const) {
      const once = kmsg(lines);
      for (const log of [once, once.flatMap((line) => [line, line]), [...once, ...once]]) {
        assert.deepEqual(
          readVictims(log).map(({ pid }) => pid),
          pids,
        );
      }
    }
    assert.deepEqual(readVictims(kmsg(of3))[0]!.invocation?.tasks, [{ pid: 8, comm: 'hog', rssBytes: 5 * 4096 }]);
  });

  it('have no victim that the kernel let go, and only that one', () => {
    const skipped = 'Memory cgroup out of memory: OOM victim 8 (hog) is already exiting. Skip killing the task';
    const told = readVictims(kmsg([begin(), summary(9), begin(), summary(8), skipped]));
    assert.deepEqual(
      told.map(({ pid }) => pid),
      [9],
    );
  });

  it('tell how many were held back', () => {
    const [victim, suppressed] = readLog(kmsg([killed(8), 'oom_kill_process: 70 callbacks suppressed']));
    assert.equal(victim!.kind, 'oom_victim');
    assert.deepEqual(known(suppressed), {
      kind: 'oom_reports_suppressed',
      at: { sequence: 1, monotonicUs: 1_000_001 },
      reports: 70,
    });
    for (const text of ['x oom_kill_process: 70 callbacks suppressed', 'oom_kill_process: 70 callbacks suppressed x']) {
      assert.deepEqual(readLog(kmsg([text])), []);
    }
  });

  it('give a victim out after 64 other messages, or a tenth of a second', () => {
    const told = (count: number, stepUs: number) => {
      const reader = new LogLineReader(() => 0);
      const reports = new OomReports(4096);
      const lines = kmsg([killed(8), ...Array.from({ length: count }, () => 'eth0: link up')], stepUs);
      return lines.flatMap((line) => reports.feed(reader.read(line)!)).length;
    };
    assert.deepEqual([told(64, 1), told(65, 1), told(1, 100_000), told(1, 100_001)], [0, 1, 0, 1]);
  });

  it('tell sharers of memory alone where the victim is not in the log', () => {
    assert.deepEqual(known(readVictims(kmsg(['Kill process 9 (hog) sharing same memory']))), [
      { kind: 'oom_victim', at: { sequence: 0, monotonicUs: 1_000_000 }, pid: 9, comm: 'hog', confirmed: true },
    ]);
  });
});

describe('kills of a whole group', () => {
  const path = '/docker/a';

  it('count the first victim once, and give all the same report', () => {
    const victims = readVictims(
      kmsg([
        begin(),
        summary(8, 'hog', '/docker/a/x'),
        killed(8),
        group(path),
        killed(5, 'sup'),
        killed(8),
        killed(6, 'idle'),
      ]),
    );
    assert.deepEqual(briefly(victims), [
      [8, 'hog', '/docker/a/x', path],
      [5, 'sup', path, path],
      [6, 'idle', path, path],
    ]);
    assert.equal(new Set(victims.map(({ invocation }) => invocation)).size, 1);
  });

  it('take in no one of another limit, nobody whom the table lacks, and nobody after a pause', () => {
    const table = [
      '[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name',
      '[      8]     0     8       25       12    77824        0             0 hog',
      '[      9]     0     9       25       12    77824        0             0 hog',
    ];
    const lines = [begin(), ...table, summary(8), killed(8), group('/docker/a')];
    const groupsOf = (...more: string[]) =>
      readVictims(kmsg([...lines, ...more])).map(({ pid, invocation }) => [pid, invocation?.oomGroup]);
    assert.deepEqual(groupsOf(killed(9)).at(-1), [9, '/docker/a']);
    assert.deepEqual(groupsOf(killed(9, 'hog', '')).at(-1), [9, '/docker/a']);
    assert.deepEqual(groupsOf(killed(7)).at(-1), [7, undefined]);
    assert.deepEqual(groupsOf(killed(9, 'hog', 'Out of memory: ')).at(-1), [9, undefined]);
    // The first one is told again as one of the group.
    assert.deepEqual(groupsOf(killed(8), killed(9)), [
      [8, '/docker/a'],
      [9, '/docker/a'],
    ]);
    assert.equal(readVictims(kmsg([...lines, killed(9, 'hog', '')]))[1]!.memcgOom, true);
  });

  it('are no group where the line is not whole, or the victim before is of elsewhere', () => {
    for (const text of [`x ${group('/docker/a')}`, `${group('/docker/a')} x`]) {
      assert.deepEqual(briefly(readVictims(kmsg([begin(), summary(8), killed(8), text]))), [
        [8, 'hog', '/docker/a', undefined],
      ]);
    }
    const elsewhere = [begin(), summary(8, 'hog', '/docker/b'), killed(8), group('/docker/a'), killed(9)];
    assert.deepEqual(briefly(readVictims(kmsg(elsewhere))), [
      [8, 'hog', '/docker/b', undefined],
      [9, 'hog', '/docker/a', '/docker/a'],
    ]);
  });

  it('are known without a report', () => {
    const victims = readVictims(kmsg([killed(8), group(path), killed(5), killed(8)]));
    assert.deepEqual(briefly(victims), [
      [8, 'hog', path, path],
      [5, 'hog', path, path],
    ]);
    assert.equal(victims[0]!.invocation, victims[1]!.invocation);
  });

  it('do not take in the first victim of the next group', () => {
    const lines = [
      killed(8),
      group('/docker/a'),
      killed(5),
      killed(8),
      killed(20),
      group('/docker/b'),
      killed(20),
      killed(21),
    ];
    assert.deepEqual(briefly(readVictims(kmsg(lines))), [
      [8, 'hog', '/docker/a', '/docker/a'],
      [5, 'hog', '/docker/a', '/docker/a'],
      [20, 'hog', '/docker/b', '/docker/b'],
      [21, 'hog', '/docker/b', '/docker/b'],
    ]);
  });

  it('join the first victim of a group that is announced after it was given out, by the place of its invocation', () => {
    for (const before of [[begin(), usage, summary(8)], []]) {
      const lines = kmsg([...before, killed(8), group('/docker/a'), killed(8), killed(5)]);
      const reports = new OomReports(4096);
      const reader = new LogLineReader(() => 0);
      const events = lines.flatMap((line) => {
        const message = reader.read(line)!;
        const told = reports.feed(message);
        return message.text.includes('Killed process 8') ? [...told, ...reports.settle()] : told;
      });
      const [first, second, ...others] = [...events, ...reports.flush()].filter((event) => event.kind === 'oom_victim');
      assert.deepEqual([first!.pid, first!.invocation?.oomGroup, second!.pid, others], [8, undefined, 5, []]);
      assert.deepEqual([first!.countedTwice, second!.countedTwice], [undefined, true]);
      const { at, oomGroup, firstVictimPid, ...rest } = second!.invocation!;
      const { at: atOfFirst, ...restOfFirst } = first!.invocation ?? { at: first!.at };
      assert.deepEqual(known([at, oomGroup, rest]), known([atOfFirst, '/docker/a', restOfFirst]));
      assert.equal(firstVictimPid, before.length === 0 ? 8 : undefined);
    }
  });

  it('tell which of them goes with the second count of the first one', () => {
    const lines = [begin(), usage, summary(8), killed(8), group(path), killed(8), killed(5), killed(30)];
    const counted = readVictims(kmsg(lines)).map(({ pid, countedTwice }) => [pid, countedTwice]);
    assert.deepEqual(counted, [
      [8, true],
      [5, undefined],
      [30, undefined],
    ]);
    // The line of the first one is lost.
    const headless = readVictims(kmsg([group(path), killed(5), killed(30)]));
    assert.deepEqual(
      headless.map(({ pid, countedTwice }) => [pid, countedTwice]),
      [
        [5, true],
        [30, undefined],
      ],
    );
  });

  it('end with the table of tasks, and with a pause', () => {
    const table = [
      '[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name',
      ...[5, 8].map((pid) => `[      ${pid}]     0     ${pid}      253       25    28672        0             0 hog`),
    ];
    assert.deepEqual(
      briefly(readVictims(kmsg([begin(), ...table, summary(8), killed(8), group(path), killed(5), killed(30)]))).at(-1),
      [30, 'hog', undefined, undefined],
    );
    const paused = [...kmsg([killed(8), group(path), killed(5)]), `3,9,9000000,-;${killed(30)}`];
    assert.deepEqual(briefly(readVictims(paused)).at(-1), [30, 'hog', undefined, undefined]);
  });
});

describe('hostile names', () => {
  const short = fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 15 });
  const word = fc.constantFrom(
    ',pid=1,uid=0',
    ',task=',
    ') total-vm:1kB',
    '(',
    ')',
    '/',
    ' score 1',
    '\n',
    'oom_memcg=',
    ', UID 0,',
  );
  const comm = fc.oneof(
    short,
    fc.array(word, { minLength: 1, maxLength: 3 }).map((words) => words.join('').slice(0, 15)),
  );
  const escape = (text: string): string =>
    text.replaceAll(/[^ -[\]-~]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);

  it('of processes never change the number, the group or the name', () => {
    fc.assert(
      fc.property(comm, comm, fc.boolean(), (name, other, isGroup) => {
        const lines = [
          begin(escape(other)),
          usage,
          summary(4711, escape(name), '/docker/a/b', '/docker/a'),
          killed(4711, escape(name)),
        ];
        const victims = readVictims(
          kmsg(isGroup ? [...lines, group('/docker/a/b'), killed(4712, escape(other))] : lines),
        );
        const expected: unknown[] = [[4711, name, '/docker/a/b', '/docker/a']];
        if (isGroup) expected.push([4712, other, '/docker/a/b', '/docker/a']);
        assert.deepEqual(
          victims.map(({ pid, comm: told, memcg, invocation }) => [pid, told, memcg, invocation?.oomMemcg]),
          expected,
        );
      }),
    );
  });

  it('of old kernels never change the number, the group or the name', () => {
    fc.assert(
      fc.property(comm, (name) => {
        const text = escape(name);
        const lines = [
          begin(text),
          'Task in /a killed as a result of limit of /a',
          `Memory cgroup out of memory: Kill process 9 (${text}) score 9 or sacrifice child`,
          `Killed process 9 (${text}) ${figures}`,
        ];
        assert.deepEqual(briefly(readVictims(kmsg(lines))), [[9, name, '/a', undefined]]);
      }),
    );
  });

  it('of groups only misstate what is below themselves', () => {
    const forged = '/docker/a/x,task_memcg=/docker/b,task=';
    const [victim] = readVictims(kmsg([begin(), summary(8, 'hog', forged), killed(8)]));
    assert.deepEqual(briefly([victim!]), [[8, 'hog', forged, undefined]]);
    const cpuset = summary(8).replace('cpuset=/', 'cpuset=x,mems_allowed=0,global_oom,task_memcg=y');
    assert.equal(readVictims(kmsg([begin(), cpuset, killed(8)]))[0]!.invocation!.oomMemcg, '/docker/a');
  });
});

describe('split messages', () => {
  const text = summary(8);

  it('are joined, with other messages between the fragments', () => {
    for (let at = 'oom-kill:'.length; at < text.length; at += 7) {
      const lines = [
        `4,1,1,-;${begin()}`,
        `6,2,2,-;${text.slice(0, at)}`,
        '6,3,3,-;eth0: link becomes ready',
        `6,4,4,c;${text.slice(at)}`,
        `3,5,5,-;${killed(8)}`,
      ];
      assert.deepEqual(briefly(readVictims(lines)), [[8, 'hog', '/docker/a', undefined]], `cut at ${at}`);
    }
  });

  it('of kernels before 4.10 begin with c and go on with +', () => {
    const lines = [
      `4,1,1,-;${begin()}`,
      '6,2,2,c;Task in ',
      '6,3,3,+;/docker/a',
      '6,4,4,+; killed as a result of limit of ',
      '6,5,5,+;/docker/a',
      `6,6,6,-;${usage}`,
      '6,7,7,c;Memory cgroup stats for ',
      '6,8,8,+;/docker/a',
      '6,9,9,+;: cache:0KB',
      '6,10,10,+; rss:980KB',
      '6,11,11,c;Memory cgroup stats for ',
      '6,12,12,+;/docker/a/b',
      '6,13,13,+;: cache:4KB',
      `3,14,14,-;Memory cgroup out of memory: Kill process 8 (hog) score 9 or sacrifice child`,
      `3,15,15,-;Killed process 8 (hog) ${figures}`,
    ];
    const [victim] = readVictims(lines);
    assert.equal(victim!.memcg, '/docker/a');
    assert.deepEqual(known(victim!.invocation!.memoryStat), { cache: 4096, rss: 1_003_520 });
  });

  it('are joined where a newline in a name splits a bare line', () => {
    assert.deepEqual(briefly(readVictims([begin(), summary(8, 'a\nb'), killed(8, 'a\nb')].join('\n'))), [
      [8, 'a\nb', '/docker/a', undefined],
    ]);
  });
});

const fixture = (name: string): string[] =>
  readFileSync(join(import.meta.dirname, 'fixtures', name), 'utf8')
    .trimEnd()
    .split('\n');
const facts = (lines: readonly string[]): unknown => readVictims(lines).map((victim) => known(victim));

describe('other messages', () => {
  const foreign = fc.oneof(
    fc.constantFrom(
      'eth0: renamed from vethbcd01c4',
      'CPU: 3 PID: 99 Comm: kworker Not tainted 6.12.107',
      ' [<ffffffff81720bf6>] dump_stack+0x45/0x56',
      'oom_reaper: reaped process 134 (hog), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB',
      'kill (99): drop_caches: 3',
      'Memory cgroup min protection 0kB -- low protection 0kB',
      'hog[99]: segfault at 0 ip 0 sp 0 error 4 in hog[400000+1000]',
    ),
    fc.string({ unit: 'grapheme-ascii' }).map((text) => `drbd: ${text}`),
  );

  for (const name of [
    '6.12-v2-oom-group-4-procs.kmsg',
    '6.1-v2-pod-level-limit.kmsg',
    '6.1-v2-sysrq-f.kmsg',
    '6.1-v1-cgroupfs-docker.kmsg',
  ]) {
    it(`may stand anywhere between the lines of ${name}`, () => {
      const lines = fixture(name);
      const expected = facts(lines);
      fc.assert(
        fc.property(fc.array(fc.tuple(fc.nat(lines.length), foreign), { maxLength: 40 }), (others) => {
          const mixed = lines.map((line) => [line]);
          for (const [at, text] of others)
            mixed[Math.min(at, lines.length - 1)]!.push(
              `6,1,${timeOf(lines[Math.min(at, lines.length - 1)]!)},-;${text}`,
            );
          assert.deepEqual(facts(mixed.flat()), expected);
        }),
        { numRuns: 60 },
      );
    });
  }

  it('of another report never change who was killed, where, and by whose limit', () => {
    const reports = [1, 2].map((n) => [
      begin(`trigger${n}`),
      `memory: usage ${n}kB, limit ${n}kB, failcnt ${n}`,
      `Memory cgroup stats for /docker/${n}:`,
      `anon ${n}`,
      summary(n, `hog${n}`, `/docker/${n}`),
      killed(n, `hog${n}`),
    ]);
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }), (first) => {
        const rest = reports.map((lines) => [...lines]);
        const order = first.map(
          (isFirst) => (isFirst ? rest[0] : rest[1])!.shift() ?? (isFirst ? rest[1] : rest[0])!.shift()!,
        );
        const victims = readVictims(kmsg(order)).toSorted((a, b) => a.pid - b.pid);
        assert.deepEqual(briefly(victims), [
          [1, 'hog1', '/docker/1', undefined],
          [2, 'hog2', '/docker/2', undefined],
        ]);
        for (const { pid, invocation } of victims) {
          assert.equal(invocation!.oomMemcg, `/docker/${pid}`);
          assert.ok([undefined, pid * 1024].includes(invocation!.usageBytes));
          assert.ok([undefined, `trigger${pid}`].includes(invocation!.triggerComm));
          assert.ok([undefined, pid].includes(invocation!.memoryStat?.get('anon')));
        }
      }),
    );
  });
});

describe('any text', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      begin(),
      usage,
      summary(8),
      killed(8),
      group('/a'),
      'Memory cgroup stats for /a:',
      'anon 1',
      '[  pid  ]   uid  tgid total_vm      rss name',
      '[      8]     0     8   1   2 x',
      'Task in /a killed as a result of limit of /b',
      'Out of memory and no killable processes...',
      'oom_kill_process: 3 callbacks suppressed',
    ),
    fc.string(),
  );

  it('never throws, and numbers and names stay within what a kernel can write', () => {
    const message = fc.array(piece, { maxLength: 4 }).map((pieces) => pieces.join(''));
    const prefix = fc.constantFrom('4,1,2,-;', '4,1,2,c;', '[    1.000000] ', 'Nov 12 20:13:52 a kernel: ', '');
    fc.assert(
      fc.property(fc.array(fc.tuple(prefix, message), { maxLength: 60 }), (lines) => {
        for (const { pid, comm } of readVictims(lines.map((line) => line.join('')))) {
          assert.ok(Number.isSafeInteger(pid) && comm.length <= 64);
        }
      }),
    );
  });

  it('takes time that grows with its length', () => {
    const hostile = [
      ',task=',
      ',task_memcg=/',
      ' killed as a result of limit of /',
      ' a:1KB',
      ':',
      '(',
      ') total-vm:1kB',
      'anon 1\n',
      ' 1',
      '\\x0a',
      'x\n',
      ' invoked oom-killer: gfp_mask=',
      ',pid=1,uid=0',
    ];
    const begins = [
      '',
      'oom-kill:constraint=A,cpuset=/,mems_allowed=0,oom_memcg=/a',
      'Task in /a',
      'Memory cgroup stats for /a: ',
      'Killed process 1 (',
      '[ 1] ',
      '[  pid  ] ',
      '[ 1.0] ',
      'Nov 12 20:13:52 ',
      'kern  :',
      '4,1,2,-;',
    ];
    for (const start of begins) {
      for (const part of hostile) {
        const measure = (repeats: number): number => {
          const line = start + part.repeat(repeats);
          const before = process.cpuUsage();
          for (let n = 0; n < 3; n++) readLog([begin(), 'Memory cgroup stats for /a:', line, line]);
          const { user, system } = process.cpuUsage(before);
          return (user + system) / 1000;
        };
        measure(500);
        const [short, long] = [measure(500), measure(5000)];
        assert.ok(long < 20 * short + 50, `${start}${part}: ${short} ms, ten times as much: ${long} ms`);
      }
    }
  });

  it('costs little where it is not about kills', () => {
    const reports = new OomReports(4096);
    const before = process.cpuUsage();
    for (let sequence = 0; sequence < 50_000; sequence++) {
      reports.feed({
        sequence,
        monotonicUs: sequence,
        facility: 0,
        text: 'docker0: port 2(veth380a1cd) entered disabled state',
      });
    }
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 500_000, `${(user + system) / 1000} ms`);
  });
});

function timeOf(record: string): string {
  return record.split(',', 3)[2]!;
}
