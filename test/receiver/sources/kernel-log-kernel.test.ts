import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { after, before, test, type TestContext } from 'node:test';
import type { KernelLogGap, Observation, VictimLogged } from '../../../receiver/observation.ts';
import { KernelLogSource } from '../../../receiver/sources/kernel-log.ts';
import { eventually } from '../../helpers/eventually.ts';
import { lockMachine, untilKillsAreReported } from '../../helpers/machine-lock.ts';
import { MemoryGroup } from '../../helpers/memory-group.ts';
import { onUnifiedHierarchy } from '../../helpers/nested-cgroup.ts';
import { requires } from '../../helpers/requires.ts';

const limitBytes = 16 * 2 ** 20;
const onKernel = requires('root', 'kmsg', onUnifiedHierarchy ? 'cgroup-v2' : 'cgroup-v1');

let unlock = (): void => {};
before(async () => {
  if (onKernel.skip !== false) return;
  unlock = await lockMachine();
  await untilKillsAreReported();
});
after(() => unlock());

test('a real kill is told with its process, its group, its limit and its time', onKernel, async (t) => {
  const group = makeGroup(t, 'exit137-klog-a');
  const { victimsIn } = await follow(t);
  const fromMs = Date.now();
  assert.equal(await group.kill(), 'SIGKILL');
  const toMs = Date.now();
  const [told] = await victimsIn(group, 1);
  const { victim, atMs } = told!;
  assert.equal(victim.comm, 'tail');
  assert.equal(victim.confirmed, true);
  assert.equal(victim.invocation?.oomMemcg, group.memcg);
  assert.equal(victim.invocation?.limitBytes, limitBytes);
  // The log's clock begins a little later than the one that we can read.
  assert.ok(atMs > fromMs - 20 && atMs < toMs + 20, `${atMs} is not between ${fromMs} and ${toMs}`);
});

test('a kill of before the start is not told, the next one is', onKernel, async (t) => {
  const group = makeGroup(t, 'exit137-klog-b');
  group.killSync();
  const { victimsIn, seen } = await follow(t);
  group.killSync();
  await victimsIn(group, 1);
  assert.equal(seen.filter((one) => one.kind === 'oom_victim' && one.victim.memcg === group.memcg).length, 1);
});

test('kills of a time in which nobody looked are told after a restart, and none of before', onKernel, async (t) => {
  const group = makeGroup(t, 'exit137-klog-c');
  const first = await follow(t);
  group.killSync();
  await first.victimsIn(group, 1);
  await first.stop();
  const resumeAfter = first.source.position();
  const pid = first.seen.find((one) => one.kind === 'oom_victim')?.victim.pid;
  group.killSync();
  const second = await follow(t, { resumeAfter });
  const [told] = await second.victimsIn(group, 1);
  assert.notEqual(told?.victim.pid, pid);
});

test('what a process writes to the log is no kill', onKernel, async (t) => {
  const group = makeGroup(t, 'exit137-klog-e');
  const { seen, victimsIn } = await follow(t);
  const fd = openSync('/dev/kmsg', 'w');
  const forged = 'Killed process 4294967 (forged) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:0';
  writeSync(fd, `<0>Memory cgroup out of memory: ${forged} pgtables:4kB oom_score_adj:0\n`);
  closeSync(fd);
  group.killSync();
  await victimsIn(group, 1);
  assert.deepEqual(
    seen.filter((one) => one.kind === 'oom_victim' && one.victim.comm === 'forged'),
    [],
  );
});

test('a flood of 50,000 records in 2 s costs less than 1 s of CPU, and what is lost is told', onKernel, async (t) => {
  allowFlood(t);
  const { source, gaps } = await follow(t);
  const atFirst = source.position()!.sequence!;
  const cpu = process.cpuUsage();
  const writer = spawn(process.execPath, ['--input-type=module', '-e', flood], { stdio: 'inherit' });
  await once(writer, 'exit');
  await eventually('all is read', () => source.position()!.sequence! >= atFirst + 50_000 || undefined);
  const { user, system } = process.cpuUsage(cpu);
  const cpuMs = (user + system) / 1000;
  const lost = gaps.reduce((sum, { lostRecords }) => sum + (lostRecords ?? 0), 0);
  t.diagnostic(`${cpuMs.toFixed(0)} ms of CPU; ${lost} of 50,000 records lost in ${gaps.length} gaps`);
  assert.ok(cpuMs < 1_000, `${cpuMs} ms`);
});

test('a kill is told where there is no device, by dmesg', onKernel, async (t) => {
  const group = makeGroup(t, 'exit137-klog-d');
  const child = followIn(t, ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /dev && exec "$@"', '-']);
  assert.match(await child.line(/^open/), /^open dmesg --syslog --raw: cannot open "\/dev\/kmsg": ENOENT/);
  await child.line(/^up/);
  assert.equal(await group.kill(), 'SIGKILL');
  const told = JSON.parse(await child.line(new RegExp(`^\\{.*"memcg":"${group.memcg}"`))) as VictimLogged;
  assert.equal(told.victim.comm, 'tail');
  assert.ok(Math.abs(told.atMs - Date.now()) < 30_000);
});

test('who has no CAP_SYSLOG reads the file, and says why', onKernel, async (t) => {
  const without = '-syslog,-sys_admin';
  const child = followIn(t, ['setpriv', `--bounding-set=${without}`, `--inh-caps=${without}`], '/proc/self/status');
  const opened = await child.line(/^open/);
  assert.match(
    opened,
    /^open \/proc\/self\/status: cannot open "\/dev\/kmsg": EPERM.*; cannot run "dmesg .*not permitted/,
  );
});

test('who can read none says what to grant', onKernel, async (t) => {
  const without = '-syslog,-sys_admin';
  const child = followIn(t, ['setpriv', `--bounding-set=${without}`, `--inh-caps=${without}`]);
  assert.match(await child.line(/^failed/), /EPERM.*run as root with CAP_SYSLOG/);
});

/** 50,000 records in 2 s. */
const flood = `
  import { openSync, writeSync } from 'node:fs';
  const fd = openSync('/dev/kmsg', 'w');
  const begin = performance.now();
  for (let count = 0; count < 50_000; count++) {
    writeSync(fd, '<4>exit137 test: [  134]     0   134     5373     5122     5056        0        66    77824 hog ' + count + '\\n');
    while (performance.now() < begin + count / 25);
  }
`;

/** The kernel takes 10 lines in 5 s from a process unless it is told otherwise. */
function allowFlood(t: TestContext): void {
  const path = '/proc/sys/kernel/printk_devkmsg';
  const as = readFileSync(path, 'latin1');
  writeFileSync(path, 'on\n');
  t.after(() => writeFileSync(path, as));
}

function makeGroup(t: TestContext, name: string): MemoryGroup {
  const group = MemoryGroup.make(name);
  group.limit(limitBytes);
  t.after(() => group.remove());
  return group;
}

async function follow(t: TestContext, options: { resumeAfter?: ReturnType<KernelLogSource['position']> } = {}) {
  const seen: Observation[] = [];
  const gaps: KernelLogGap[] = [];
  const stopping = new AbortController();
  const source = new KernelLogSource({
    hostRoot: '/',
    pollIntervalMs: 100,
    ...options,
    onOpen: (from) => assert.equal(from, '/dev/kmsg'),
    onGap: (gap) => void gaps.push(gap),
    onBadInput: (what, value) => assert.fail(`${what}: ${value}`),
  });
  const { promise: up, resolve } = Promise.withResolvers<void>();
  const ended = source.observe((observation) => void seen.push(observation), resolve, stopping.signal);
  const stop = async (): Promise<void> => {
    stopping.abort();
    await ended;
  };
  t.after(stop);
  await up;
  /** Waits until so many kills in a group are told. */
  const victimsIn = ({ memcg }: MemoryGroup, count: number): Promise<VictimLogged[]> =>
    eventually(`${count} kills in ${memcg} are told`, () => {
      const told = seen.filter((one) => one.kind === 'oom_victim' && one.victim.memcg === memcg);
      return told.length >= count ? (told as VictimLogged[]) : undefined;
    });
  return { source, seen, gaps, stop, victimsIn };
}

/** Follows the log in a process of its own, which is started by a command that takes something from it. */
function followIn(t: TestContext, command: readonly string[], file?: string) {
  const program = `
    import { KernelLogSource } from ${JSON.stringify(new URL('../../../receiver/sources/kernel-log.ts', import.meta.url))};
    const source = new KernelLogSource({
      hostRoot: '/', pollIntervalMs: 100, file: ${JSON.stringify(file)},
      onOpen: (from, refused) => console.log('open ' + from + ': ' + refused.join('; ')),
      onGap: () => {}, onBadInput: () => {},
    });
    const stopping = new AbortController();
    process.on('SIGTERM', () => stopping.abort());
    await source.observe((one) => console.log(JSON.stringify(one)), () => console.log('up'), stopping.signal)
      .catch((error) => console.log('failed ' + error.message));
  `;
  const [launcher, ...args] = [...command, process.execPath, '--input-type=module', '-e', program];
  const child = spawn(launcher, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  t.after(() => child.kill('SIGKILL'));
  const line = (form: RegExp): Promise<string> =>
    eventually(
      `${form} is printed`,
      () =>
        output
          .split('\n')
          .slice(0, -1)
          .find((one) => form.test(one)),
      20,
    );
  return { line };
}
