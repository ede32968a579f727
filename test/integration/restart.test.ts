import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import { startAgent, type Agent } from '../helpers/agent.ts';
import { mainPid, startDocker, untilRemoved, type DockerHost } from '../helpers/docker-host.ts';
import { eventually } from '../helpers/eventually.ts';
import { MemoryGroup } from '../helpers/memory-group.ts';
import { memoryCgroupOf } from '../helpers/nested-cgroup.ts';
import type { ReceivedLog } from '../helpers/otlp-decoding.ts';
import { requires } from '../helpers/requires.ts';
import {
  exitOf,
  killOf,
  lifecycleCounters,
  nothingCounted,
  oomExit,
  restarted,
  waitUntilTold,
  type Told,
} from '../helpers/told.ts';

/** By what a backend knows that two records are of one kill. */
const identityOf = ({ attributes }: ReceivedLog) => ({
  incident: attributes['oom.incident.id'],
  pid: attributes['process.pid'],
});

describe('exit137 that is stopped and started again', requires('docker', 'bundle', 'kmsg'), () => {
  let host: DockerHost;
  let first: Agent;
  let present: Agent;
  const stateFolder = mkdtempSync(join(tmpdir(), 'exit137-state-'));
  const told = new Map<string, Told[]>();

  before(async () => {
    host = await startDocker();
    first = present = await startAgent(options());
    await present.observes('memcg', 'kernel_log', 'docker');
  });

  after(async () => {
    if (present !== first) await present?.close();
    await first?.close();
    await host?.stop();
    rmSync(stateFolder, { recursive: true, force: true });
  });

  const options = () => ({
    receiver: { sources: { docker: { endpoint: `unix://${host.socket}` } } },
    toFile: false,
    stateFolder,
  });

  async function start(): Promise<void> {
    if (present !== first) await present.close();
    present = await startAgent({ ...options(), grpcPort: first.endpoint.port });
    await present.observes('memcg', 'kernel_log', 'docker');
    assert.match(present.stderr(), /goes on where an earlier run ended/);
  }

  async function crash(): Promise<void> {
    process.kill(present.pid, 'SIGKILL');
    await present.stop();
  }

  async function assertTold(container: Docker.Container, ...expected: Told[]): Promise<ReceivedLog[]> {
    const records = await waitUntilTold(first, container.id, expected);
    told.set(container.id, expected);
    return records;
  }

  /**
   * Resolves when all that the service knew before is in its state: that is written with what is told, as soon as its
   * answer is there, and no request goes out before the answer to the one before.
   */
  async function untilKept(): Promise<void> {
    const other = await host.run(['memhog', 'exit', '1', '20'], { restart: 'on-failure', maxRestarts: 1 });
    const failed = exitOf(1, 'error', 'app_error', { 'error.type': 'exit_1' });
    await waitUntilTold(first, other.id, [failed, restarted, failed]);
  }

  /** Has a child of the container killed, whoever watches. */
  async function killChild(container: Docker.Container): Promise<void> {
    const pid = await mainPid(container);
    const group = new MemoryGroup(await memoryCgroupOf(pid));
    const { oomKills } = group;
    process.kill(pid, 'SIGUSR1');
    await eventually('the child was killed', () => group.oomKills > oomKills || undefined);
  }

  it('tells a kill of the time when it was not running, with the time of the kill', async () => {
    const container = await host.run(['memhog', 'signal', '64'], { name: 'downtime' });
    await first.nextMetricsOf(container.id);
    assert.equal(await present.stop(), 0);
    const fromMs = Date.now();
    await killChild(container);
    const toMs = Date.now();
    await sleep(500);
    await start();
    const [kill] = await assertTold(container, killOf('child'));
    const toldAtMs = Number(BigInt(kill!.timeUnixNano) / 1_000_000n);
    assert.ok(toldAtMs > fromMs - 200 && toldAtMs < toMs + 200, `${toldAtMs} is not between ${fromMs} and ${toMs}`);
    assert.equal(kill!.resource['container.name'], 'downtime');
  });

  it('tells a kill that was told no second time, and counts on from what it had counted', async () => {
    const container = await host.run(['memhog', 'signal', '64']);
    await killChild(container);
    await assertTold(container, killOf('child'));
    const earlier = await first.nextMetricsOf(container.id);
    await untilKept();
    await crash();
    await start();
    const restored = await first.nextMetricsOf(container.id);
    const counter = 'container.memory.oom_kills';
    assert.deepEqual(lifecycleCounters(restored), { ...nothingCounted, oomKills: 1, oomIncidents: 1 });
    assert.equal(restored[counter]!.points[0]!.startTimeUnixNano, earlier[counter]!.points[0]!.startTimeUnixNano);
    await killChild(container);
    await assertTold(container, killOf('child'), killOf('child'));
  });

  it('tells each of many kills once, though it is killed right after each', async () => {
    const container = await host.run(['memhog', 'signal', '64']);
    await first.nextMetricsOf(container.id);
    for (let kills = 1; kills <= 4; kills++) {
      const isSeen = kills % 2 === 0;
      if (!isSeen) process.kill(present.pid, 'SIGSTOP');
      await killChild(container);
      if (isSeen) {
        await assertTold(container, ...Array.from({ length: kills }, () => killOf('child')));
        await untilKept();
      }
      await crash();
      await start();
      await assertTold(container, ...Array.from({ length: kills }, () => killOf('child')));
    }
  });

  it('tells a kill again, as the same incident, whose answer it did not live to see', async () => {
    const container = await host.run(['memhog', 'signal', '64']);
    await first.nextMetricsOf(container.id);
    first.endpoint.answerAlways({ hang: true });
    await killChild(container);
    await assertTold(container, killOf('child'));
    await crash();
    first.endpoint.answerAlways({});
    await start();
    const [earlier, later] = await assertTold(container, killOf('child'), killOf('child'));
    assert.deepEqual(identityOf(later!), identityOf(earlier!));
    const metrics = await first.nextMetricsOf(container.id);
    assert.deepEqual(lifecycleCounters(metrics), { ...nothingCounted, oomKills: 1, oomIncidents: 1 });
  });

  it('tells after the next start what nobody took until it was stopped', async () => {
    const container = await host.run(['memhog', 'signal', '64']);
    await first.nextMetricsOf(container.id);
    await untilKept();
    // 14 UNAVAILABLE
    first.endpoint.answerAlways({ code: 14 });
    await killChild(container);
    await assertTold(container, killOf('child'));
    assert.equal(await present.stop(), 0);
    const refused = first.logsOf(container.id).length;
    first.endpoint.answerAlways({});
    await start();
    const records = await assertTold(container, ...Array.from({ length: refused + 1 }, () => killOf('child')));
    assert.deepEqual(identityOf(records.at(-1)!), identityOf(records[0]!));
  });

  it('tells of a container that died and was removed meanwhile', async () => {
    const container = await host.run(['memhog', 'signal', '64'], { name: 'gone', autoRemove: true });
    await first.nextMetricsOf(container.id);
    await untilKept();
    await crash();
    process.kill(await mainPid(container), 'SIGUSR2');
    await untilRemoved(container);
    await start();
    const [kill, exit] = await assertTold(container, killOf('init'), oomExit);
    assert.equal(kill!.resource['container.name'], 'gone');
    assert.equal(exit!.resource['container.name'], 'gone');
  });

  it('tells what became of containers that began meanwhile', async () => {
    await present.stop();
    const child = await host.run(['memhog', 'signal', '64']);
    await killChild(child);
    const removed = await host.run(['memhog', 'self', '64'], { autoRemove: true });
    await untilRemoved(removed);
    await start();
    await assertTold(child, killOf('child'));
    await assertTold(removed, killOf('init'), oomExit);
  });

  it('tells what became of a container that was stopped and started meanwhile', async () => {
    const container = await host.run(['memhog', 'sleep']);
    await first.nextMetricsOf(container.id);
    await present.stop();
    await container.restart();
    await start();
    await assertTold(container, exitOf(0, 'completed', 'stopped'), restarted);
  });

  it('has told nothing twice in the end, and no kill is unattributed', async () => {
    await present.stop();
    for (const [id, expected] of told) {
      assert.deepEqual(
        first.logsOf(id).map(({ eventName }) => eventName),
        expected.map(({ event }) => event),
      );
    }
    const node = first.endpoint.received
      .flatMap(({ metrics }) => metrics)
      .findLast(({ metrics }) => metrics['system.linux.oom_kills.unattributed'] !== undefined);
    assert.equal(node?.metrics['system.linux.oom_kills.unattributed']!.points[0]!.asInt, '0');
  });
});
