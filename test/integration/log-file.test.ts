import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startAgent, type Agent } from '../helpers/agent.ts';
import { eventually } from '../helpers/eventually.ts';
import { requires } from '../helpers/requires.ts';

/** Containers that only the log knows. */
const [id, otherId] = ['e137'.repeat(16), '731e'.repeat(16)];

const line = (text: string): string => `${new Date().toISOString()} node-7 kernel: ${text}\n`;
const kill = (pid: number, of = id): string =>
  line(
    `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=${of},mems_allowed=0,oom_memcg=/docker/${of},task_memcg=/docker/${of},task=hog,pid=${pid},uid=0`,
  ) +
  line(
    `Memory cgroup out of memory: Killed process ${pid} (hog) total-vm:21492kB, anon-rss:20224kB, file-rss:0kB, shmem-rss:264kB, UID:0 pgtables:76kB oom_score_adj:0`,
  );

/** The service without the capability to read the kernel's log, from the kernel. */
const without = '-syslog,-sys_admin';
const through = ['setpriv', `--bounding-set=${without}`, `--inh-caps=${without}`];

function startAlone(file: string, stateFolder: string, grpcPort?: number): Promise<Agent> {
  const receiver = { sources: { docker: { enabled: false }, kernel_log: { file } } };
  return startAgent({ receiver, stateFolder, grpcPort, through, toFile: false });
}

async function startOn(file: string, stateFolder: string, grpcPort?: number): Promise<Agent> {
  const agent = await startAlone(file, stateFolder, grpcPort);
  await agent.observes('kernel_log');
  assert.match(agent.stderr(), new RegExp(`"from":"${file}"`));
  return agent;
}

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'exit137-log-file-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test(
  'kills that only a log file shows are told once, over a crash, a stop and a rotation',
  requires('root', 'bundle'),
  async (t) => {
    const folder = makeFolder(t);
    const file = join(folder, 'kern.log');
    writeFileSync(file, line('Linux version 6.12.107'));
    const first = await startOn(file, folder);
    t.after(() => first.close());
    const pids = () => first.logsOf(id).map(({ attributes }) => Number(attributes['process.pid']));
    const told = (...expected: number[]) =>
      eventually(`the kills of ${expected.join()} are told`, () => pids().length >= expected.length || undefined).then(
        () => assert.deepEqual(pids(), expected),
      );

    appendFileSync(file, kill(4_000_001));
    await told(4_000_001);
    // The state is written once the answer is there, and no request goes out before the answer to the one before.
    appendFileSync(file, kill(4_000_000, otherId));
    await eventually('another kill is told', () => first.logsOf(otherId).length > 0 || undefined);
    process.kill(first.pid, 'SIGKILL');
    await first.stop();
    appendFileSync(file, kill(4_000_002));
    const second = await startOn(file, folder, first.endpoint.port);
    t.after(() => second.close());
    await told(4_000_001, 4_000_002);

    await second.stop();
    appendFileSync(file, kill(4_000_003));
    renameSync(file, `${file}.1`);
    writeFileSync(file, kill(4_000_004));
    const third = await startOn(file, folder, first.endpoint.port);
    t.after(() => third.close());
    await told(4_000_001, 4_000_002, 4_000_003, 4_000_004);
    await third.stop();
    await told(4_000_001, 4_000_002, 4_000_003, 4_000_004);
  },
);

test(
  'kills of the time when the log file was not there, and the counters were, are not told again when it is',
  requires('root', 'bundle'),
  async (t) => {
    const folder = makeFolder(t);
    const [file, elsewhere] = [join(folder, 'kern.log'), join(folder, 'elsewhere')];
    writeFileSync(file, line('Linux version 6.12.107'));
    const first = await startOn(file, folder);
    t.after(() => first.close());
    assert.equal(await first.stop(), 0);
    renameSync(file, elsewhere);
    appendFileSync(elsewhere, kill(4_000_001));
    const second = await startAlone(file, folder, first.endpoint.port);
    t.after(() => second.close());
    await second.observes('memcg');
    appendFileSync(elsewhere, kill(4_000_002));
    // The settle time, and for how long what the log names late is known for what was told.
    await sleep(1_000 + 10_000 + 500);
    appendFileSync(elsewhere, kill(4_000_003));
    renameSync(elsewhere, file);
    const pids = () => first.logsOf(id).map(({ attributes }) => attributes['process.pid']);
    await eventually('the last kill is told', () => pids().map(Number).includes(4_000_003) || undefined);
    assert.deepEqual(pids().map(Number), [4_000_001, 4_000_003]);
  },
);
