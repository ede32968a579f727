import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type Docker from 'dockerode';
import { startAgent, type Agent } from '../helpers/agent.ts';
import { mainPid, startPodman, type DockerHost } from '../helpers/docker-host.ts';
import { eventually } from '../helpers/eventually.ts';
import { requires } from '../helpers/requires.ts';
import { exitOf, killedExit, killOf, oomExit, restarted, toTold, waitUntilTold, type Told } from '../helpers/told.ts';

/** Podman never sends an `oom` event: what is told of a kill comes from the counters. */
describe('Podman’s Docker-compatible API', requires('podman', 'bundle'), () => {
  let host: DockerHost;
  let agent: Agent;
  const settled = new Map<string, Told[]>();

  before(async () => {
    host = await startPodman();
    const early = await host.run(['memhog', 'sleep'], { name: 'early' });
    agent = await startAgent({ receiver: { sources: { docker: { endpoint: `unix://${host.socket}` } } } });
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

  async function assertTold(container: Docker.Container, ...expected: Told[]): Promise<void> {
    const records = await waitUntilTold(agent, container.id, expected);
    settled.set(container.id, expected);
    for (const record of records) assert.equal(record.resource['container.runtime'], 'podman');
  }

  /** Podman 4.3 sends the `stop` event only now and then, so a stop cannot always be told from another end. */
  async function assertStopped(container: Docker.Container, asked: Told, unasked: Told): Promise<void> {
    const [exit] = await eventually('the exit has arrived', () => {
      const exits = agent.logsOf(container.id).filter(({ eventName }) => eventName === 'container.exit');
      return exits.length > 0 ? exits : undefined;
    });
    const told = exit!.attributes['container.exit.cause'] === 'stopped' ? asked : unasked;
    const earlier = agent.logsOf(container.id).slice(0, -1).map(toTold);
    await assertTold(container, ...earlier, told);
  }

  it('tells an OOM kill of the main process and the exit that follows', async () => {
    await assertTold(await host.run(['memhog', 'self', '64', '100']), killOf('init'), oomExit);
  });

  it('tells an OOM kill of a child while the main process lives on', async () => {
    const container = await host.run(['memhog', 'signal', '64']);
    process.kill(await mainPid(container), 'SIGUSR1');
    await assertTold(container, killOf('child'));
    await container.stop({ t: 10 });
    await assertStopped(container, exitOf(0, 'completed', 'stopped'), exitOf(0, 'completed', 'completed'));
  });

  it('tells a plain kill -9 as no OOM kill', async () => {
    const container = await host.run(['memhog', 'sleep']);
    process.kill(await mainPid(container), 'SIGKILL');
    await assertTold(container, killedExit);
  });

  it('tells a stop that ends in SIGKILL as no OOM kill', async () => {
    const container = await host.run(['sleep', '1000']);
    await container.stop({ t: 1 });
    await assertStopped(container, exitOf(137, 'killed', 'stopped'), killedExit);
  });

  it('tells a restart by hand', async () => {
    const container = await host.run(['memhog', 'sleep']);
    await container.restart({ t: 10 });
    // Each is told when it is certain: an exit without a `stop` event waits for one and comes after the restart.
    const records = await eventually('both have arrived', () => {
      const arrived = agent.logsOf(container.id);
      return arrived.length >= 2 ? arrived : undefined;
    });
    const byTime = records.toSorted((a, b) => Number(BigInt(a.timeUnixNano) - BigInt(b.timeUnixNano))).map(toTold);
    const cause = byTime[0]!.attributes['container.exit.cause'] === 'stopped' ? 'stopped' : 'completed';
    assert.deepEqual(byTime, [exitOf(0, 'completed', cause), restarted]);
    await assertTold(container, ...records.map(toTold));
  });

  it('tells the OOM kill of a --rm container', async () => {
    await assertTold(await host.run(['memhog', 'self', '64', '100'], { autoRemove: true }), killOf('init'), oomExit);
  });

  it('has told nothing twice', async () => {
    assert.equal(await agent.stop(), 0, agent.stderr());
    for (const [id, expected] of settled) assert.deepEqual(agent.logsOf(id).map(toTold), expected, `container ${id}`);
  });
});
