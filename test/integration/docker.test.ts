import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import type Docker from 'dockerode';
import { startAgent, type Agent } from '../helpers/agent.ts';
import { mainPid, startDocker, untilReady, type DockerHost } from '../helpers/docker-host.ts';
import { eventually, patience } from '../helpers/eventually.ts';
import { untilKillsAreReported } from '../helpers/machine-lock.ts';
import { onUnifiedHierarchy, makeNestedCgroup, memoryCgroupOf, usageBytesOf } from '../helpers/nested-cgroup.ts';
import type { ReceivedLog } from '../helpers/otlp-decoding.ts';
import { requires } from '../helpers/requires.ts';
import {
  crashLoopBegan,
  exitOf,
  killedExit,
  killOf,
  lifecycleCounters,
  nothingCounted,
  oomExit,
  restarted,
  valueOf,
  waitUntilTold,
  type Told,
} from '../helpers/told.ts';

const mib = 2 ** 20;

/** An emulated machine takes seconds for each start. */
const burst = patience > 1 ? 8 : 30;

describe('a Docker host', requires('docker', 'bundle'), () => {
  let host: DockerHost;
  let agent: Agent;
  /** Runs before the agent does. */
  let early: Docker.Container;
  /** What was told of each container when its test ended. At the end of all nothing more may have been. */
  const settled = new Map<string, Told[]>();

  before(async () => {
    host = await startDocker();
    early = await host.run(['memhog', 'signal', '64'], { name: 'early' });
    process.kill(await mainPid(early), 'SIGUSR1');
    await eventually('the child was killed', async () => (await hogLog(early)).includes('killed') || undefined);
    agent = await startAgent({ receiver: { sources: { docker: { endpoint: `unix://${host.socket}` } } } });
    // Only Docker knows its name.
    await eventually('the agent knows the containers', () =>
      agent.endpoint.received.some(({ metrics }) =>
        metrics.some(({ resource }) => resource['container.id'] === early.id && resource['container.name'] === 'early'),
      )
        ? true
        : undefined,
    );
  });

  after(async () => {
    await agent?.close();
    await host?.stop();
  });

  /** Of no test but that of the burst are there more. */
  beforeEach(() => untilKillsAreReported(5));

  async function assertTold(container: Docker.Container, ...expected: Told[]): Promise<ReceivedLog[]> {
    const records = await waitUntilTold(agent, container.id, expected);
    settled.set(container.id, expected);
    for (const record of records) assert.equal(record.resource['container.runtime'], 'docker');
    return records;
  }

  async function assertCounted(container: Docker.Container, expected: Record<string, number>): Promise<void> {
    const metrics = await agent.nextMetricsOf(container.id);
    assert.deepEqual(lifecycleCounters(metrics), { ...nothingCounted, ...expected });
  }

  it('tells an OOM kill of the main process and the exit that follows', async () => {
    const container = await host.run(['memhog', 'self', '64']);
    const [kill, exit] = await assertTold(container, killOf('init'), oomExit);
    assert.ok((kill!.attributes['oom.evidence'] as string[]).includes('kernel_log'));
    assert.ok(BigInt(kill!.timeUnixNano) <= BigInt(exit!.timeUnixNano), 'the kill comes before the exit');
    await assertCounted(container, { oomKills: 1, oomIncidents: 1, exitsOomKilled: 1, exitCode: 137 });
  });

  it('tells an OOM kill of a child while the main process lives on', async () => {
    const container = await host.run(['memhog', 'signal', '64']);
    process.kill(await mainPid(container), 'SIGUSR1');
    await assertTold(container, killOf('child'));
    await assertCounted(container, { oomKills: 1, oomIncidents: 1 });
  });

  it('tells each of several killed children once', async () => {
    const container = await host.run(['memhog', 'child', '64', '5', '20']);
    await assertTold(container, ...Array.from({ length: 5 }, () => killOf('child')));
    await assertCounted(container, { oomKills: 5, oomIncidents: 5 });
  });

  it('tells an OOM kill of an exec’d process', async () => {
    const container = await host.run(['memhog', 'sleep']);
    await execute(container, ['memhog', 'self', '64']);
    await assertTold(container, killOf('child'));
  });

  it('tells an OOM kill in a cgroup nested in the container’s', async () => {
    const container = await host.run(['memhog', 'sleep']);
    const cgroup = await memoryCgroupOf(await mainPid(container));
    const pid = await execute(container, ['memhog', 'signal', '64']);
    const nested = await makeNestedCgroup(cgroup, 16 * mib);
    await nested.add(pid);
    await untilReady(pid);
    process.kill(pid, 'SIGUSR2');
    // The container's own limit was not hit.
    await assertTold(container, killOf('child', 'nested'));
    await nested.remove();
  });

  it('tells a plain kill -9 as no OOM kill', async () => {
    const container = await host.run(['memhog', 'sleep']);
    process.kill(await mainPid(container), 'SIGKILL');
    await assertTold(container, killedExit);
    await assertCounted(container, { exitsKilled: 1, exitCode: 137 });
  });

  it('tells docker kill as no OOM kill', async () => {
    const container = await host.run(['memhog', 'sleep']);
    await container.kill();
    await assertTold(container, killedExit);
  });

  it('tells an exit with code 137 as no OOM kill', async () => {
    const container = await host.run(['memhog', 'exit', '137', '50']);
    await assertTold(container, killedExit);
    await assertCounted(container, { exitsKilled: 1, exitCode: 137 });
  });

  it('tells a plain exit kill -9 after a child was OOM-killed as no OOM kill of the main process', async () => {
    const container = await host.run(['memhog', 'signal', '64']);
    const pid = await mainPid(container);
    process.kill(pid, 'SIGUSR1');
    await assertTold(container, killOf('child'));
    process.kill(pid, 'SIGKILL');
    await assertTold(container, killOf('child'), killedExit);
  });

  it('tells exits with their codes', async () => {
    const fine = await host.run(['memhog', 'exit', '0', '20']);
    await assertTold(fine, exitOf(0, 'completed', 'completed'));
    const failed = await host.run(['memhog', 'exit', '3', '20']);
    await assertTold(failed, exitOf(3, 'error', 'app_error', { 'error.type': 'exit_3' }));
    await assertCounted(failed, { exitsError: 1, exitCode: 3 });
  });

  it('tells a docker stop as asked for', async () => {
    const container = await host.run(['memhog', 'sleep']);
    await container.stop();
    await assertTold(container, exitOf(0, 'completed', 'stopped'));
  });

  it('tells a docker stop that ends in SIGKILL as asked for', async () => {
    // As PID 1 it ignores SIGTERM.
    const container = await host.run(['sleep', '1000']);
    await container.stop({ t: 1 });
    await assertTold(container, exitOf(137, 'killed', 'stopped'));
  });

  it('tells a docker stop after a child was OOM-killed as asked for, whatever OOMKilled says', async () => {
    const container = await host.run(['memhog', 'signal', '64']);
    process.kill(await mainPid(container), 'SIGUSR1');
    await assertTold(container, killOf('child'));
    await container.stop();
    await assertTold(container, killOf('child'), exitOf(0, 'completed', 'stopped'));
    await assertCounted(container, { oomKills: 1, oomIncidents: 1, exitsCompleted: 1, exitCode: 0 });
  });

  it('tells each turn of a restart loop', async () => {
    const container = await host.run(['memhog', 'exit', '1', '20'], { restart: 'on-failure', maxRestarts: 3 });
    const failed = exitOf(1, 'error', 'app_error', { 'error.type': 'exit_1' });
    const turns = [failed, restarted, failed, restarted, failed, restarted];
    await assertTold(container, ...turns, crashLoopBegan(1), failed);
    await assertCounted(container, { restarts: 3, exitsError: 4, exitCode: 1 });
  });

  it('tells each turn of a loop of OOM kills', async () => {
    const container = await host.run(['memhog', 'self', '64', '20'], { restart: 'on-failure', maxRestarts: 2 });
    const turn = [killOf('init'), oomExit];
    await assertTold(container, ...turn, restarted, ...turn, restarted, ...turn);
    await assertCounted(container, { restarts: 2, oomKills: 3, oomIncidents: 3, exitsOomKilled: 3, exitCode: 137 });
  });

  it('tells a restart by hand', async () => {
    const container = await host.run(['memhog', 'sleep']);
    await container.restart();
    await assertTold(container, exitOf(0, 'completed', 'stopped'), restarted);
    await assertCounted(container, { restarts: 1, exitsCompleted: 1, exitCode: 0 });
  });

  it('tells the exit of a --rm container that lives 100 ms', async () => {
    const container = await host.run(['memhog', 'exit', '3', '100'], { autoRemove: true, name: 'short' });
    const [exit] = await assertTold(container, exitOf(3, 'error', 'app_error', { 'error.type': 'exit_3' }));
    assert.equal(exit!.resource['container.name'], 'short');
    assert.equal(exit!.resource['container.image.name'], 'localhost/exit137-test');
  });

  it('tells the OOM kill of a --rm container that dies at once', async () => {
    const container = await host.run(['memhog', 'self', '64'], { autoRemove: true });
    await assertTold(container, killOf('init'), oomExit);
    await assertCounted(container, { oomKills: 1, oomIncidents: 1, exitsOomKilled: 1, exitCode: 137 });
  });

  it(`tells ${burst} containers that are started and killed at once, each once, and names whom the kernel does`, async () => {
    await untilKillsAreReported();
    const containers = await Promise.all(Array.from({ length: burst }, () => host.create(['memhog', 'self', '64'])));
    await Promise.all(containers.map((container) => container.start()));
    let named = 0;
    for (const container of containers) {
      await eventually('both are told', () => agent.logsOf(container.id).length > 1 || undefined);
      const { event, severity, attributes } = killOf('init');
      const { 'oom.inferred': inferred } = agent.logsOf(container.id)[0]!.attributes;
      await assertTold(
        container,
        { event, severity, attributes: { ...attributes, 'oom.inferred': inferred } },
        oomExit,
      );
      if (inferred === false) named++;
    }
    assert.ok(named >= Math.min(burst, 10), `${named} victims are named`);
  });

  it('knows a container by its new name after a rename', async () => {
    const container = await host.run(['memhog', 'signal', '64'], { name: 'before' });
    await container.rename({ name: 'after' });
    process.kill(await mainPid(container), 'SIGUSR1');
    const [kill] = await assertTold(container, killOf('child'));
    assert.equal(kill!.resource['container.name'], 'after');
    assert.match(String(kill!.body), /\bafter\b/);
  });

  it('tells nothing of a pause, and kills after it', async () => {
    const container = await host.run(['memhog', 'signal', '64']);
    await container.pause();
    await agent.nextMetricsOf(container.id);
    await container.unpause();
    process.kill(await mainPid(container), 'SIGUSR1');
    await assertTold(container, killOf('child'));
    await container.stop();
    await assertTold(container, killOf('child'), exitOf(0, 'completed', 'stopped'));
  });

  it('counts from an explicit zero at first sight', async () => {
    const beforeMs = Date.now();
    const container = await host.run(['memhog', 'sleep']);
    await agent.nextMetricsOf(container.id);
    const [first] = agent.allMetricsOf(container.id);
    assert.deepEqual(lifecycleCounters(first!), nothingCounted);
    const { kind, monotonic, temporality, points } = first!['container.memory.oom_kills']!;
    assert.deepEqual({ kind, monotonic, temporality }, { kind: 'sum', monotonic: true, temporality: 2 });
    const startMs = Number(BigInt(points[0]!.startTimeUnixNano) / 1_000_000n);
    assert.ok(startMs >= beforeMs - 1 && startMs <= Date.now(), `started at ${startMs}`);
    settled.set(container.id, []);
  });

  it('starts at zero with a container that was there before it, whatever happened to that', async () => {
    const [first] = agent.allMetricsOf(early.id);
    assert.deepEqual(lifecycleCounters(first!), nothingCounted);
    settled.set(early.id, []);
  });

  it('sends the memory that the kernel tells', async () => {
    const container = await host.run(['memhog', 'hold', '16']);
    const cgroup = await memoryCgroupOf(await mainPid(container));
    await eventually('the memory is in use', async () => ((await usageBytesOf(cgroup)) > 16 * mib ? true : undefined));
    const metrics = await agent.nextMetricsOf(container.id);
    const usage = valueOf(metrics, 'container.memory.usage');
    assertNear(usage, await usageBytesOf(cgroup), mib);
    assert.equal(valueOf(metrics, 'container.memory.usage.limit'), 32 * mib);
    assertNear(valueOf(metrics, 'container.memory.unreclaimable'), 16 * mib, 2 * mib);
    assertNear(
      valueOf(metrics, onUnifiedHierarchy ? 'container.memory.anon' : 'container.memory.total_rss'),
      16 * mib,
      mib,
    );
    assertNear(valueOf(metrics, 'container.memory.rss'), 16 * mib, mib);
    assert.ok(valueOf(metrics, 'container.memory.working_set') <= usage);
    assertNear(valueOf(metrics, 'container.memory.available'), 16 * mib, 2 * mib);
    assertNear(valueOf(metrics, 'container.memory.limit.utilization'), 0.5, 0.07);
    assert.ok(valueOf(metrics, 'container.memory.usage.max') >= usage);
    settled.set(container.id, []);
  });

  it('makes up for what happened while dockerd was dead', async () => {
    const child = await host.run(['memhog', 'signal', '64']);
    const main = await host.run(['memhog', 'signal', '64']);
    const killed = await host.run(['memhog', 'sleep']);
    const pids = await Promise.all([child, main, killed].map(mainPid));
    await agent.nextMetricsOf(killed.id);

    await host.kill();
    process.kill(pids[0]!, 'SIGUSR1');
    process.kill(pids[1]!, 'SIGUSR2');
    process.kill(pids[2]!, 'SIGKILL');
    // A cgroup tells of the child without Docker's help.
    await assertTold(child, killOf('child'));

    await host.start();
    await assertTold(main, killOf('init'), oomExit);
    await assertTold(killed, killedExit);
    const next = await host.run(['memhog', 'self', '64']);
    await assertTold(next, killOf('init'), oomExit);
    process.kill(pids[0]!, 'SIGUSR1');
    await assertTold(child, killOf('child'), killOf('child'));
  });

  it('sends what it holds on SIGTERM, and has told nothing twice', async () => {
    const { promise: until, resolve: answer } = Promise.withResolvers<void>();
    agent.endpoint.answerAlways({ until });
    const [sent, held] = [await host.run(['memhog', 'self', '64']), await host.run(['memhog', 'exit', '3'])];
    await eventually('a request waits for its answer', () => agent.logsOf(sent.id).length > 0 || undefined);
    const isWritten = async () =>
      (await agent.fileLines()).some((line) => JSON.stringify(line).includes(held.id) && eventsOf(line).length > 0);
    await eventually('there is more to send', async () => (await isWritten()) || undefined);
    const stopped = agent.stop();
    await eventually('it is about to end', () => agent.stderr().includes('"stopping"') || undefined);
    answer();
    assert.equal(await stopped, 0, agent.stderr());
    settled.set(sent.id, [killOf('init'), oomExit]);
    settled.set(held.id, [exitOf(3, 'error', 'app_error')]);
    for (const [id, expected] of settled) {
      const events = agent.logsOf(id).map(({ eventName }) => eventName);
      assert.deepEqual(
        events,
        expected.map(({ event }) => event),
        `container ${id}`,
      );
    }
  });

  it('writes the same records to its file', async () => {
    const written = (await agent.fileLines()).flatMap(eventsOf);
    const sent = agent.endpoint.received.flatMap(({ logs }) => logs.map(({ eventName }) => eventName));
    assert.deepEqual(written, sent);
  });
});

function assertNear(actual: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not within ${tolerance} of ${expected}`);
}

async function hogLog(container: Docker.Container): Promise<string> {
  return (await container.logs({ stdout: true })).toString();
}

/** `docker exec -d`; resolves with the host's pid of the process. */
async function execute(container: Docker.Container, command: string[]): Promise<number> {
  const process = await container.exec({ Cmd: command });
  await process.start({ Detach: true });
  return (await process.inspect()).Pid;
}

/** Event names in one line of the file exporter. */
function eventsOf(line: Record<string, unknown>): string[] {
  const { resourceLogs = [] } = line as { resourceLogs?: { scopeLogs: { logRecords: { eventName: string }[] }[] }[] };
  return resourceLogs.flatMap(({ scopeLogs }) =>
    scopeLogs.flatMap(({ logRecords }) => logRecords.map(({ eventName }) => eventName)),
  );
}
