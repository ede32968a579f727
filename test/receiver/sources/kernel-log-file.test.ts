import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { KmsgDevice } from '../../../receiver/kernel/kmsg-device.ts';
import { LogFile } from '../../../receiver/kernel/log-file.ts';
import type { LogResumption, LogStart, LogTap } from '../../../receiver/kernel/log-tap.ts';
import { KernelLogSource } from '../../../receiver/sources/kernel-log.ts';
import { eventually } from '../../helpers/eventually.ts';

const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();

/** As rsyslog writes it, at this moment. */
const line = (text: string): string => `${new Date().toISOString()} node-7 kernel: ${text}\n`;

function report(pid: number): string[] {
  return [
    line('hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0'),
    line('memory: usage 8192kB, limit 8192kB, failcnt 17'),
    line(
      `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=hog,pid=${pid},uid=0`,
    ),
    line(
      `Memory cgroup out of memory: Killed process ${pid} (hog) total-vm:21492kB, anon-rss:20224kB, file-rss:0kB, shmem-rss:264kB, UID:0 pgtables:76kB oom_score_adj:0`,
    ),
  ];
}

const kill = (pid: number): string => report(pid).join('');

function makeFile(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'exit137-log-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'kern.log');
  writeFileSync(path, line('Linux version 6.12.107'));
  return path;
}

/** One run of the service, as far as it concerns the log. */
async function run(open: (start: LogStart) => LogTap, resumeAfter?: LogResumption) {
  const told: { pid: number; limitBytes?: number }[] = [];
  const boots: (string | undefined)[] = [];
  const stopping = new AbortController();
  const source = new KernelLogSource({
    hostRoot: '/',
    pollIntervalMs: 10,
    // As it comes back from the state.
    resumeAfter: resumeAfter && (JSON.parse(JSON.stringify(resumeAfter)) as LogResumption),
    onOpen: () => {},
    onGap: () => {},
    onBadInput: (what) => assert.fail(what),
    open: async (_search, start, sink) => {
      const tap = open(start);
      return { tap, refused: [], more: await tap.read(sink) };
    },
  });
  const { promise: up, resolve } = Promise.withResolvers<void>();
  const ended = source.observe(
    (seen) => {
      if (seen.kind !== 'oom_victim') return;
      told.push({ pid: seen.victim.pid, limitBytes: seen.victim.invocation?.limitBytes });
      boots.push(seen.bootId);
    },
    resolve,
    stopping.signal,
  );
  await up;
  const stop = async (): Promise<LogResumption | undefined> => {
    stopping.abort();
    await ended;
    return source.position();
  };
  const tells = (...pids: number[]) =>
    eventually(`${pids.join()} are told`, () => told.length >= pids.length || undefined).then(() =>
      assert.deepEqual(
        told.map(({ pid }) => pid),
        pids,
      ),
    );
  return { source, stop, tells, told, boots };
}

suite('the source kernel_log on a file', () => {
  test('tells each kill once, over restarts and rotation', async (t) => {
    const path = makeFile(t);
    const open = (start: LogStart): LogTap => new LogFile(path, start);
    const first = await run(open);
    appendFileSync(path, kill(7));
    await first.tells(7);
    const position = await first.stop();
    appendFileSync(path, kill(8));
    renameSync(path, `${path}.1`);
    writeFileSync(path, kill(9));
    const second = await run(open, position);
    await second.tells(8, 9);
    const third = await run(open, await second.stop());
    appendFileSync(path, kill(10));
    await third.tells(10);
    await third.stop();
  });

  test('goes on behind what was told, if it was ended without a word', async (t) => {
    const path = makeFile(t);
    const open = (start: LogStart): LogTap => new LogFile(path, start);
    const first = await run(open);
    t.after(() => first.stop());
    const [begin, usage, choice, killed] = report(8);
    appendFileSync(path, `${kill(7)}${begin}${usage}`);
    await first.tells(7);
    const position = first.source.position();
    appendFileSync(path, `${choice}${killed}`);
    const second = await run(open, position);
    t.after(() => second.stop());
    await second.tells(8);
    assert.deepEqual(second.told, [{ pid: 8, limitBytes: 8192 * 1024 }]);
  });

  test('tells the boot of a kill only where its date is that of the kernel’s own time', async (t) => {
    const path = makeFile(t);
    const { stop, tells, boots } = await run((start) => new LogFile(path, start));
    t.after(stop);
    const killed = 'Memory cgroup out of memory: Killed process';
    const figures = '(x) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB';
    const upSeconds = Number(process.hrtime.bigint() / 1000n) / 1e6;
    for (const [pid, seconds] of [upSeconds, upSeconds - 60].entries())
      appendFileSync(path, line(`[${seconds.toFixed(6)}] ${killed} ${pid + 7} ${figures}`));
    appendFileSync(path, line(`${killed} 9 ${figures}`));
    await tells(7, 8, 9);
    assert.deepEqual(boots, [bootId, undefined, undefined]);
  });

  test('takes no name with a line break for a report, where that was read just behind the break', async (t) => {
    const path = makeFile(t);
    const forged = 'Memory cgroup out of memory: Killed process 1 (x) total-vm:1kB, anon-rss:1kB, file-rss:0kB';
    appendFileSync(path, line('Memory cgroup out of memory: Killed process 7 (x'));
    const open = (start: LogStart): LogTap => new LogFile(path, start);
    const first = await run(open);
    const position = await first.stop();
    appendFileSync(path, `${forged}\n${kill(8)}`);
    const second = await run(open, position);
    t.after(() => second.stop());
    await second.tells(8);
  });

  test('goes on where another way to read the log has ended', async (t) => {
    const path = makeFile(t);
    const nowUs = Number(process.hrtime.bigint() / 1000n);
    appendFileSync(path, kill(7).replaceAll(/^[^ ]+/gm, new Date(Date.now() - 60_000).toISOString()) + kill(8));
    const device = { bootId, sequence: 462, monotonicUs: nowUs - 30_000_000 };
    const onFile = await run((start) => new LogFile(path, start), device);
    await onFile.tells(8);
    const file = await onFile.stop();
    const records = [7, 8, 9].map((pid, index) => {
      const killed = report(pid)[3]!.replace(/^.*kernel: /, '');
      return `3,${463 + index},${nowUs + (index - 1) * 10_000_000},-;${killed}`;
    });
    const onDevice = await run(
      (start) =>
        KmsgDevice.open('/dev/null', start, (_fd, buffer) => {
          const record = records.shift();
          if (record === undefined) throw Object.assign(new Error('EAGAIN'), { code: 'EAGAIN' });
          return buffer.write(record, 'latin1');
        }),
      file,
    );
    t.after(() => onDevice.stop());
    await onDevice.tells(9);
  });
});
