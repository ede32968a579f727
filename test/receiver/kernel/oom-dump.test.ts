import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { OomDump } from '../../../receiver/kernel/oom-dump.ts';
import { known } from './reading.ts';

const at = { monotonicUs: 1 };
const usage = 'memory: usage 1024kB, limit 2048kB, failcnt 19';
const used = { usageBytes: 1_048_576, limitBytes: 2_097_152, failcnt: 19 };
const header = '[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name';
const row = '[    134]     0   134     5373     5122    77824        0             0 hog';
const task = { pid: 134, comm: 'hog', rssBytes: 5122 * 4096 };
const ofFour = (memcg: string, rss: number) => `Memory cgroup stats for ${memcg}: cache:0KB rss:${rss}KB swap:0KB`;

/** A dump of these lines, each of which is one of its. */
function dumpOf(...lines: string[]): OomDump {
  const dump = new OomDump(at, 4096);
  for (const text of lines) assert.equal(dump.add({ text }), true, text);
  return dump;
}

const told = (dump: OomDump, victim?: { pid: number; totalVmBytes?: number }): Record<string, unknown> => {
  const { pids, ...facts } = dump.toInvocation(victim);
  return { ...(known(facts) as Record<string, unknown>), ...(pids === undefined ? {} : { pids: [...pids] }) };
};

suite('the dump before a kill', () => {
  test('tells what filled the group, in the form of kernels from 5.3 on', () => {
    const lines = [
      'Memory cgroup stats for /a:',
      'anon 4096\nfile 0',
      'sock 7',
      'Tasks state (memory values in pages):',
    ];
    const dump = dumpOf(usage, ...lines, header, row);
    assert.deepEqual(told(dump), {
      at,
      oomMemcg: '/a',
      ...used,
      memoryStat: { anon: 4096, file: 0, sock: 7 },
      tasks: [task],
      pids: [134],
    });
    // The statistics end where the tasks begin.
    assert.equal(dump.add({ text: 'slab 5' }), false);
    assert.equal(dumpOf('Memory cgroup stats for /a:', header).add({ text: 'slab 5' }), false);
    assert.equal(dumpOf(usage).add({ text: 'anon 5' }), false);
  });

  test('takes keys of memory.stat between lines that are none, however newlines are written', () => {
    for (const newline of ['\n', '#012', '\\x0a']) {
      const dump = dumpOf(
        'Memory cgroup stats for /a:',
        ['anon 1', 'x y z', '  file 2', 'A 3', 'slab 4 '].join(newline),
      );
      assert.deepEqual(told(dump)['memoryStat'], { anon: 1, file: 2 });
    }
    assert.equal(dumpOf('Memory cgroup stats for /a:').add({ text: 'nothing of it' }), false);
  });

  test('holds 192 keys', () => {
    const lines = Array.from({ length: 300 }, (_, index) => `key${index} ${index}`);
    const dump = dumpOf('Memory cgroup stats for /a:', ...lines, 'key5 7');
    const stat = dump.toInvocation().memoryStat!;
    assert.deepEqual([stat.size, stat.get('key191'), stat.get('key5')], [192, 191, 7]);
  });

  test('sums up the groups below in the form of kernels before 5.3', () => {
    const dump = dumpOf(usage, ofFour('/a', 2), ofFour('/a/b', 3), ofFour('/a/c: d', 4));
    assert.deepEqual(told(dump), { at, oomMemcg: '/a', ...used, memoryStat: { cache: 0, rss: 9 * 1024, swap: 0 } });
    assert.equal(new OomDump(at, 4096).add({ text: 'Memory cgroup stats for /a' }), false);
    assert.equal(new OomDump(at, 4096).add({ text: 'Memory cgroup stats for ' }), false);
  });

  test('takes no group for the limited one where others can have been told before', () => {
    assert.deepEqual(told(dumpOf(ofFour('/a/b', 3), ofFour('/a/b/c', 4))), { at });
    const limited = dumpOf(ofFour('/a', 3));
    limited.oomMemcg = '/a';
    assert.deepEqual(told(limited), { at, oomMemcg: '/a', memoryStat: { cache: 0, rss: 3 * 1024, swap: 0 } });
  });

  test('leaves out what contradicts itself: lines of two reports', () => {
    assert.deepEqual(told(dumpOf(usage, ofFour('/a', 2), ofFour('/b', 3))), { at, oomMemcg: '/a' });
    assert.deepEqual(told(dumpOf(usage, 'Memory cgroup stats for /a:', 'Memory cgroup stats for /a:')), {
      at,
      oomMemcg: '/a',
    });
    assert.deepEqual(told(dumpOf(usage, usage)), { at });
    assert.deepEqual(told(dumpOf(header, row, header, row)), { at });
    assert.deepEqual(told(dumpOf('Task in /a/b killed as a result of limit of /')), {
      at,
      oomMemcg: '/',
      taskMemcg: '/a/b',
    });
    // Wrapped by a terminal: the path goes on in the next line.
    assert.equal(new OomDump(at, 4096).add({ text: 'Task in /a/b killed as a result of limit of /a/' }), false);
    const groups = 'Task in /a/b killed as a result of limit of /a';
    assert.deepEqual(told(dumpOf(groups, usage)), { at, oomMemcg: '/a', taskMemcg: '/a/b', ...used });
    assert.deepEqual(told(dumpOf(groups, usage, groups)), { at, oomMemcg: '/a', taskMemcg: '/a/b' });
    assert.deepEqual(told(dumpOf(groups, usage, ofFour('/b', 3))), { at, oomMemcg: '/a', taskMemcg: '/a/b' });
    const mixed = dumpOf(usage, ofFour('/a', 2), header, row);
    mixed.mixed = true;
    assert.deepEqual(told(mixed), { at });
  });

  test('takes the group of the statistics for the limited one only where nothing else tells it', () => {
    const dump = dumpOf(ofFour('/a', 2));
    dump.constraint = 'CONSTRAINT_NONE';
    assert.deepEqual(told(dump), { at, constraint: 'CONSTRAINT_NONE' });
    const other = dumpOf(ofFour('/a', 2));
    other.oomMemcg = '/a';
    assert.deepEqual(told(other)['memoryStat'], { cache: 0, rss: 2048, swap: 0 });
  });

  test('tells no tasks where the victim is not among them', () => {
    const dump = dumpOf(header, row);
    assert.deepEqual(told(dump, { pid: 134 }), { at, tasks: [task], pids: [134] });
    assert.deepEqual(told(dump, { pid: 7 }), { at });
    assert.deepEqual(told(dumpOf(header)), { at, pids: [] });
    assert.deepEqual(told(dumpOf()), { at });
    assert.equal(dumpOf(header).add({ text: '[ no row' }), false);
    assert.equal(dumpOf().add({ text: row }), false);
  });

  test('tells the limited group where nothing in it can be killed', () => {
    assert.deepEqual(told(dumpOf('Memory limit reached of cgroup /a')), { at, oomMemcg: '/a' });
  });

  test('knows the pid of who asked for memory by the name, and by the first such line', () => {
    const dump = new OomDump(at, 4096);
    const cpu = (pid: number, comm: string, uid = '') => ({
      text: `CPU: 12 ${uid}PID: ${pid} Comm: ${comm} Not tainted 6.12.107 #1`,
    });
    assert.equal(dump.add(cpu(7, 'hog')), false);
    dump.triggerComm = 'hog';
    assert.equal(dump.add({ text: 'CPU: hog' }), false);
    assert.equal(dump.add({ text: `x${cpu(6, 'hog').text}` }), false);
    assert.equal(dump.add(cpu(6, 'other')), false);
    assert.equal(dump.add(cpu(7, 'hog', 'UID: 1000 ')), true);
    assert.equal(dump.add(cpu(8, 'hog')), false);
    assert.deepEqual(told(dump), { at, triggerComm: 'hog', triggerPid: 7 });
  });

  test('takes no line that only looks like one of its own', () => {
    const lines = [
      `x ${usage}`,
      `${usage} x`,
      'memory: usage 1kB',
      'Task in /a killed as a result of limit of /b',
      'Task out',
      'Tasks state',
      'swap: usage 0kB, limit 0kB, failcnt 0',
    ];
    for (const text of lines) assert.equal(new OomDump(at, 4096).add({ text }), false, text);
  });
});
