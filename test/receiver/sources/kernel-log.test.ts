import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { KmsgDevice } from '../../../receiver/kernel/kmsg-device.ts';
import type { ProcessClocks } from '../../../receiver/kernel/log-clock.ts';
import type { LogResumption } from '../../../receiver/kernel/log-tap.ts';
import type { Observation } from '../../../receiver/observation.ts';
import { KernelLogSource } from '../../../receiver/sources/kernel-log.ts';
import { eventually } from '../../helpers/eventually.ts';

const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();

/** Microseconds of CLOCK_MONOTONIC. */
const nowUs = (): number => Number(process.hrtime.bigint() / 1000n);

/** A kernel log in memory, read record by record as /dev/kmsg is. */
class Log {
  #sequence: number;
  #answers: (string | { code: string })[] = [];
  #next = 0;

  constructor(sequence = 100) {
    this.#sequence = sequence;
  }

  write(text: string, { atUs = nowUs(), facility = 0, flag = '-' } = {}): this {
    this.#answers.push(`${facility * 8 + 4},${this.#sequence++},${atUs},${flag};${text}\n`);
    return this;
  }

  /** `OomReports` needs no more of a report than this. */
  kill(pid: number, memcg: string, atUs = nowUs()): this {
    const groups = `nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=${memcg},task_memcg=${memcg}`;
    return this.write('hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0', { atUs })
      .write(`oom-kill:constraint=CONSTRAINT_MEMCG,${groups},task=hog,pid=${pid},uid=0`, { atUs })
      .write(`Memory cgroup out of memory: ${killed(pid)}`, { atUs });
  }

  /** It cannot be opened. */
  isDenied = false;

  fail(code: string): this {
    this.#answers.push({ code });
    return this;
  }

  lose(records: number): this {
    this.#sequence += records;
    return this;
  }

  /** Whether all of it was read. */
  get isRead(): boolean {
    return this.#next === this.#answers.length;
  }

  /** Who opens it reads from the oldest record on. */
  open(): void {
    this.#answers = this.#answers.filter((answer, index) => typeof answer === 'string' || index >= this.#next);
    this.#next = 0;
  }

  read(buffer: Buffer): number {
    if (this.isRead) throw Object.assign(new Error('EAGAIN'), { code: 'EAGAIN' });
    const answer = this.#answers[this.#next++]!;
    if (typeof answer === 'string') return buffer.write(answer, 'latin1');
    throw Object.assign(new Error(answer.code), { code: answer.code });
  }
}

function killed(pid: number): string {
  return `Killed process ${pid} (hog) total-vm:21492kB, anon-rss:20224kB, file-rss:0kB, shmem-rss:264kB, UID:0 pgtables:76kB oom_score_adj:0`;
}

function follow(t: TestContext, log: Log, options: FollowOptions = {}) {
  const { hostRoot = '/', resumeAfter, pollIntervalMs = 10, clocks, onEmit = () => {}, onRead = () => {} } = options;
  const seen: Observation[] = [];
  const stopping = new AbortController();
  const opened: string[] = [];
  const source = new KernelLogSource({
    hostRoot,
    pollIntervalMs,
    resumeAfter,
    countersTellWithinMs: options.countersTellWithinMs,
    clocks,
    onOpen: (from) => void opened.push(from),
    onGap: () => {},
    onBadInput: () => {},
    open: async (_search, start, sink) => {
      if (log.isDenied) throw new Error('nobody may read it');
      log.open();
      const tap = KmsgDevice.open('/dev/null', start, (_fd, buffer) => {
        onRead();
        return log.read(buffer);
      });
      return { tap, refused: [], more: tap.read(sink) };
    },
  });
  const take = (observation: Observation): void => {
    seen.push(observation);
    onEmit();
  };
  const observe = (): { up: Promise<void>; ended: Promise<void> } => {
    const { promise: up, resolve } = Promise.withResolvers<void>();
    return { up, ended: source.observe(take, resolve, stopping.signal) };
  };
  const stop = async (): Promise<void> => stopping.abort();
  t.after(stop);
  return { source, observe, stop, seen, opened };
}

interface FollowOptions {
  hostRoot?: string;
  resumeAfter?: LogResumption;
  pollIntervalMs?: number;
  clocks?: ProcessClocks;
  onEmit?: () => void;
  onRead?: () => void;
  countersTellWithinMs?: () => number | undefined;
}

/** Clocks by hand: a report goes on, and is held back, for as long as they stand still. */
class Clocks implements ProcessClocks {
  #us = 1e12;

  monotonicUs(): number {
    return this.#us;
  }

  wallMs(): number {
    return this.#us / 1000;
  }

  /** Returns the new time by CLOCK_MONOTONIC. */
  pass(ms: number): number {
    return (this.#us += ms * 1000);
  }
}

/** What happened longer ago the counters have told. */
const withinMs = 10_000;

/** A node whose log is denied for a time. */
class DeniedNode {
  readonly log = new Log();
  readonly clocks = new Clocks();
  countersWork = true;
  #pid = 0;

  /** Returns the victim's pid. */
  kill(memcg = inContainer): number {
    this.log.kill(++this.#pid, memcg, this.clocks.pass(1));
    return this.#pid;
  }

  /** As `keepObserving` does again and again. */
  async try({ observe }: { observe: () => { ended: Promise<void> } }): Promise<void> {
    await assert.rejects(observe().ended, /nobody may read it/);
  }

  /** Reads the log to its end and stops; returns who was told of in this run. */
  async read({ observe, stop, seen }: ReturnType<typeof follow>): Promise<number[]> {
    const { up, ended } = observe();
    await up;
    await stop();
    await ended;
    return pidsOf(seen);
  }

  /** A run of the service, which goes on where an earlier one ended. */
  run(t: TestContext, earlier?: KernelLogSource) {
    const { clocks } = this;
    clocks.pass(1);
    const countersTellWithinMs = (): number | undefined => (this.countersWork ? withinMs : undefined);
    const run = follow(t, this.log, { clocks, countersTellWithinMs });
    if (earlier !== undefined) run.source.resume(earlier.position()!, earlier.countersTold);
    return run;
  }
}

const inContainer = `/docker/${'a'.repeat(64)}`;

/** Who was killed, in the order in which it was told. */
function pidsOf(seen: readonly Observation[]): number[] {
  return seen.flatMap((observation) => (observation.kind === 'oom_victim' ? [observation.victim.pid] : []));
}

suite('the source kernel_log', () => {
  test('tells of a kill with its group, its limit and its time', async (t) => {
    const log = new Log();
    const { observe, seen } = follow(t, log);
    await observe().up;
    const fromMs = Date.now();
    log.kill(7, '/docker/a');
    const toMs = Date.now();
    await eventually('the victim is told', () => seen.length > 0 || undefined);
    const [told] = seen;
    assert.ok(told?.kind === 'oom_victim');
    assert.deepEqual(
      { source: told.source, pid: told.victim.pid, memcg: told.victim.memcg, bootId: told.bootId },
      { source: 'kernel_log', pid: 7, memcg: '/docker/a', bootId },
    );
    assert.ok(told.atMs > fromMs - 20 && told.atMs < toMs + 20, `${told.atMs} is not between ${fromMs} and ${toMs}`);
  });

  test('tells of what a userspace OOM killer wrote, and of nothing else that processes wrote', async (t) => {
    const log = new Log();
    const { observe, seen } = follow(t, log);
    await observe().up;
    const aroundMs = Date.now();
    log.write(`Memory cgroup out of memory: ${killed(6)}`, { facility: 1 });
    log.write('[talos] Sending SIGKILL to cgroup {"cgroup": "/sys/fs/cgroup/kubepods/besteffort/pod1"}', {
      facility: 1,
    });
    log.write('earlyoom[5]: sending SIGKILL to process 71 uid 991 "rustc": badness 994, VmRSS 4 MiB', { facility: 3 });
    log.write('earlyoom[5]: sending SIGKILL to process 72 uid 991 "rustc": badness 994, VmRSS 4 MiB');
    log.kill(7, '/docker/a');
    await eventually('the victim is told', () => pidsOf(seen).length > 0 || undefined);
    const told = seen.map((observation) => (observation.kind === 'userspace_killer_logged' ? observation : undefined));
    assert.deepEqual(
      told.map((kill) => kill && [kill.killer, kill.memcg ?? kill.pid]),
      [['talos', '/kubepods/besteffort/pod1'], ['earlyoom', 71], undefined],
    );
    assert.ok(Math.abs(told[0]!.atMs - aroundMs) < 1000);
  });

  test('tells at once what the log has, when asked to catch up', async (t) => {
    const log = new Log();
    const clocks = new Clocks();
    const { source, observe, seen, stop } = follow(t, log, { pollIntervalMs: 60_000, clocks });
    source.catchUp();
    const { up, ended } = observe();
    await up;
    log.kill(7, '/docker/a', clocks.pass(1));
    clocks.pass(10);
    source.catchUp();
    assert.deepEqual(pidsOf(seen), [7]);
    // Its report may go on.
    log.kill(8, '/docker/a', clocks.pass(1));
    source.catchUp();
    assert.deepEqual(pidsOf(seen), [7]);
    log.fail('EIO');
    source.catchUp();
    await stop();
    source.lookAt();
    await ended.catch(() => undefined);
    assert.deepEqual(pidsOf(seen), [7, 8]);
  });

  test('loses none of many kills where whoever takes one asks for more', async (t) => {
    const log = new Log();
    const pids = Array.from({ length: 5_000 }, (_, index) => index + 2);
    const { source, observe, seen } = follow(t, log, { pollIntervalMs: 60_000, onEmit: () => source.catchUp() });
    await observe().up;
    for (const pid of pids) log.write(killed(pid));
    source.lookAt();
    await eventually('all are told', () => pidsOf(seen).length === pids.length || undefined);
    assert.deepEqual(pidsOf(seen), pids);
  });

  test('holds up others once, not again and again, where the log grows faster than it is read', async (t) => {
    const log = new Log();
    let grows = true;
    const onRead = (): void => {
      const untilMs = performance.now() + 0.1;
      while (performance.now() < untilMs);
      if (grows) log.write('again');
    };
    const { source, observe, seen } = follow(t, log, { pollIntervalMs: 60_000, onRead });
    grows = false;
    await observe().up;
    grows = true;
    log.write('once');
    const beganMs = performance.now();
    for (let n = 0; n < 50; n++) source.catchUp();
    const tookMs = performance.now() - beganMs;
    assert.ok(tookMs >= 100 && tookMs < 2_000, `${tookMs} ms`);
    grows = false;
    log.kill(7, '/docker/a');
    await eventually('its own reading goes on', () => pidsOf(seen).length > 0 || undefined);
    log.kill(8, '/docker/a');
    source.catchUp();
    assert.ok(log.isRead);
  });

  test('tells victims of one invocation with one object for it', async (t) => {
    const log = new Log();
    const { observe, seen } = follow(t, log);
    await observe().up;
    log.kill(7, '/docker/a').write('Tasks in /docker/a are going to be killed due to memory.oom.group set');
    log.write(`Memory cgroup out of memory: ${killed(8)}`);
    await eventually('both are told', () => seen.length === 2 || undefined);
    const [one, two] = seen.map((observation) => (observation as { victim?: { invocation?: object } }).victim);
    assert.ok(one?.invocation !== undefined);
    assert.equal(one.invocation, two?.invocation);
  });

  test('does not tell of kills before its start, and knows the report that had begun then', async (t) => {
    const before = nowUs() - 1e6;
    const log = new Log().kill(7, '/docker/a', before);
    log.write('hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0', { atUs: before });
    log.write('memory: usage 8192kB, limit 8192kB, failcnt 17', { atUs: before });
    const { observe, seen } = follow(t, log);
    await observe().up;
    const groups = 'nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/docker/b,task_memcg=/docker/b';
    log.write(`oom-kill:constraint=CONSTRAINT_MEMCG,${groups},task=hog,pid=8,uid=0`).write(killed(8));
    await eventually('the victim is told', () => seen.length > 0 || undefined);
    assert.deepEqual(pidsOf(seen), [8]);
    const [told] = seen;
    assert.equal(told?.kind === 'oom_victim' ? told.victim.invocation?.limitBytes : undefined, 8192 * 1024);
  });

  test('goes on where an earlier run stopped', async (t) => {
    const before = nowUs() - 1e6;
    const log = new Log(100).kill(7, '/docker/a', before).kill(8, '/docker/b', before);
    const { observe, seen, source, stop } = follow(t, log, { resumeAfter: { bootId, sequence: 102 } });
    const { up, ended } = observe();
    await up;
    await stop();
    await ended;
    assert.deepEqual(pidsOf(seen), [8]);
    assert.equal(source.position()?.sequence, 105);
  });

  test('does not count as told what it holds back', async (t) => {
    const log = new Log(100);
    const clocks = new Clocks();
    const { observe, source, seen } = follow(t, log, { clocks });
    await observe().up;
    const atUs = clocks.pass(1);
    log.write('one thing', { atUs, facility: 3 }).write('another thing', { atUs });
    await eventually('both are read', () => log.isRead || undefined);
    clocks.pass(10);
    await eventually('both are told', () => source.position()?.sequence === 101 || undefined);
    log.kill(7, '/docker/a', clocks.pass(1));
    await eventually('the victim is read', () => log.isRead || undefined);
    assert.deepEqual([seen.length, source.position()?.sequence], [0, 101]);
    clocks.pass(10);
    await eventually('the victim is told', () => source.position()?.sequence === 104 || undefined);
    assert.deepEqual(pidsOf(seen), [7]);
  });

  test('tells of a part that was lost, and of what it held before', async (t) => {
    const log = new Log();
    const { observe, seen } = follow(t, log);
    await observe().up;
    log.kill(7, '/docker/a').fail('EPIPE').lose(40).kill(8, '/docker/b');
    await eventually('all is told', () => seen.length === 3 || undefined);
    assert.deepEqual(
      seen.map(({ kind }) => kind),
      ['oom_victim', 'kernel_log_gap', 'oom_victim'],
    );
    const gap = seen[1];
    assert.ok(gap?.kind === 'kernel_log_gap' && gap.fromMs !== undefined && gap.fromMs <= gap.toMs);
    assert.deepEqual([gap.reason, gap.lostRecords], ['overrun', 40]);
  });

  test('goes on after an error without telling a kill twice, or missing one', async (t) => {
    const log = new Log();
    const { observe, seen, source } = follow(t, log);
    const first = observe();
    await first.up;
    log.kill(7, '/docker/a').fail('EIO').kill(8, '/docker/b');
    await assert.rejects(first.ended, /^Error: cannot read "\/dev\/null"$/);
    assert.deepEqual(pidsOf(seen), [7]);
    await observe().up;
    await eventually('the other is told', () => seen.length === 2 || undefined);
    assert.deepEqual(pidsOf(seen), [7, 8]);
    assert.ok(source.position()?.sequence !== undefined);
  });

  test('reads at once when another source hints at a kill', async (t) => {
    const log = new Log();
    const { observe, seen, source } = follow(t, log, { pollIntervalMs: 600_000 });
    await observe().up;
    log.kill(7, '/docker/a');
    source.lookAt();
    await eventually('the victim is told', () => seen.length === 1 || undefined, 2);
  });

  test('tells once a second that nothing can be killed, however often the kernel says it', async (t) => {
    const log = new Log();
    const { observe, seen } = follow(t, log);
    await observe().up;
    const atUs = nowUs();
    for (let count = 0; count < 1_000; count++) log.write('Out of memory and no killable processes...', { atUs });
    log.kill(7, '/docker/a');
    await eventually('all is read', () => pidsOf(seen).length === 1 || undefined);
    assert.equal(seen.filter(({ kind }) => kind === 'nothing_killable').length, 1);
  });

  test('takes nothing from what processes wrote to the log', async (t) => {
    const log = new Log();
    const { observe, seen } = follow(t, log);
    await observe().up;
    log.write(killed(6), { facility: 1 }).kill(7, '/docker/a');
    await eventually('the victim is told', () => seen.length > 0 || undefined);
    assert.deepEqual(pidsOf(seen), [7]);
  });

  test('says by which way it reads, once', async (t) => {
    const log = new Log();
    const { observe, opened } = follow(t, log);
    const first = observe();
    await first.up;
    log.fail('EIO');
    await assert.rejects(first.ended);
    await observe().up;
    assert.deepEqual(opened, ['/dev/null']);
  });

  test('has the group of a victim from /proc, and not that of an earlier process with the same pid', async (t) => {
    const hostRoot = mkdtempSync(join(tmpdir(), 'exit137-host-'));
    t.after(() => rmSync(hostRoot, { recursive: true, force: true }));
    mkdirSync(join(hostRoot, 'proc/4711'), { recursive: true });
    writeFileSync(join(hostRoot, 'proc/4711/cgroup'), '9:memory:/docker/a\n');
    const log = new Log();
    const { seen, source, observe } = follow(t, log, { hostRoot });
    await observe().up;
    const atUs = nowUs();
    log.write(killed(4711), { atUs: atUs - 2_500_000 });
    source.lookAt();
    await eventually('the first is told', () => (seen.length === 1 ? true : undefined));
    log.write(killed(4711), { atUs: atUs - 2_400_000 });
    await eventually('it is read twice', () => (log.isRead ? true : undefined));
    rmSync(join(hostRoot, 'proc/4711'), { recursive: true });
    log.write(killed(4711), { atUs });
    source.lookAt();
    await eventually('the second is told', () => (seen.length === 2 ? true : undefined));
    assert.deepEqual(
      seen.map((observation) => observation.kind === 'oom_victim' && observation.memcgSeen),
      ['/docker/a', undefined],
    );
  });

  suite('that could not be read for a time', () => {
    test('tells no more of what the counters told meanwhile, but of the last moments and of processes outside of containers', async (t) => {
      const node = new DeniedNode();
      node.log.isDenied = true;
      const run = node.run(t);
      await node.try(run);
      node.kill();
      node.kill('/kubepods/pod5a1f3c62-0b5e-4a51-9e0f-6f1f5b1d2c3e');
      const outside = node.kill('/user.slice');
      node.clocks.pass(30_000);
      await node.try(run);
      node.kill();
      node.clocks.pass(withinMs + 1000);
      const late = node.kill();
      node.clocks.pass(withinMs - 1000);
      node.log.isDenied = false;
      assert.deepEqual(await node.read(run), [outside, late]);
    });

    test('tells all of a moment that was shorter than what the counters need', async (t) => {
      const node = new DeniedNode();
      const run = node.run(t);
      const first = run.observe();
      await first.up;
      node.log.isDenied = true;
      node.log.fail('EIO');
      await assert.rejects(first.ended, /cannot read/);
      const pids = [node.kill(), node.kill()];
      node.clocks.pass(withinMs - 1000);
      await node.try(run);
      node.log.isDenied = false;
      assert.deepEqual(await node.read(run), pids);
    });

    test('tells of all runs what happened while neither the log was read nor the counters', async (t) => {
      const node = new DeniedNode();
      const first = node.run(t);
      const told = node.kill();
      assert.deepEqual(await node.read(first), [told]);
      node.log.isDenied = true;
      let earlier = first.source;
      const untold: number[] = [];
      for (let n = 0; n < 3; n++) {
        node.clocks.pass(60_000);
        untold.push(node.kill());
        node.clocks.pass(60_000);
        const run = node.run(t, earlier);
        node.clocks.pass(1000);
        node.kill();
        node.clocks.pass(60_000);
        await node.try(run);
        node.kill();
        node.clocks.pass(60_000);
        await node.try(run);
        node.countersWork = false;
        node.clocks.pass(60_000);
        await node.try(run);
        node.clocks.pass(1000);
        untold.push(node.kill());
        node.clocks.pass(60_000);
        await node.try(run);
        node.countersWork = true;
        node.clocks.pass(1000);
        node.kill();
        node.clocks.pass(60_000);
        await node.try(run);
        earlier = run.source;
      }
      node.clocks.pass(60_000);
      untold.push(node.kill());
      node.log.isDenied = false;
      const last = node.run(t, earlier);
      assert.equal(last.source.countersTold.length, 6);
      await last.observe().up;
      node.clocks.pass(10);
      last.source.lookAt();
      await eventually('all is read and told', () => last.source.countersTold.length === 0 || undefined);
      assert.deepEqual(pidsOf(last.seen), untold);
    });
  });
});
