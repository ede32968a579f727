import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startAgent, type Agent } from '../helpers/agent.ts';
import { cachePath } from '../helpers/cache.ts';
import { startContainerd } from '../helpers/containerd-host.ts';
import type { CriHost } from '../helpers/cri-host.ts';
import { eventually, patience } from '../helpers/eventually.ts';
import type { Pod, PodContainer } from '../helpers/kubelet.ts';
import type { ReceivedLog } from '../helpers/otlp-decoding.ts';
import { requires } from '../helpers/requires.ts';
import { exitOf, killedExit, killOf, oomExit, restarted, waitUntilTold, type Told } from '../helpers/told.ts';

const allVersions = [
  { name: "Debian's containerd", needs: requires('containerd', 'bundle'), keepsEnds: true },
  { name: 'containerd 1.7', needs: requires('containerd', 'containerd-trixie', 'bundle'), suite: 'trixie' },
  { name: 'containerd 2', needs: requires('containerd', 'containerd-sid', 'bundle'), suite: 'sid' },
];

/** Where the machine is emulated, the newest alone: with all of them it takes seven minutes. */
const versions = patience > 1 ? allVersions.slice(-1) : allVersions;

/** Nobody knows the exit code, and the kernel tells of a kill. */
const oomExitWithoutCode: Told = {
  event: 'container.exit',
  severity: 17,
  attributes: {
    'container.exit.reason': 'oom_killed',
    'container.exit.cause': 'oom_container',
    'error.type': 'oom_killed',
  },
};

/** Nobody knows anything. */
const unknownExit: Told = {
  event: 'container.exit',
  severity: 17,
  attributes: { 'container.exit.reason': 'error', 'container.exit.cause': 'unknown' },
};

for (const { name, needs, suite, keepsEnds } of versions) {
  describe(`a node of Kubernetes with ${name}`, needs, () => {
    let host: CriHost;
    let agent: Agent;
    let pod: Pod;
    let stateFolder: string;
    /** What was told of each container when its test ended. At the end of all nothing more may have been. */
    const settled = new Map<string, Told[]>();

    before(async () => {
      host = await startContainerd(suite === undefined ? undefined : cachePath(`containerd-${suite}`, 'bin'));
      stateFolder = await mkdtemp(join(tmpdir(), 'exit137-state-'));
      agent = await start();
      pod = await host.kubelet.runPod();
    });

    /** Each run goes on where the one before ended. */
    async function start(): Promise<Agent> {
      const sources = { docker: { enabled: false }, containerd: { endpoint: `unix://${host.socket}` } };
      const started = await startAgent({ receiver: { sources }, stateFolder });
      await started.observes('containerd', 'memcg', 'kernel_log');
      return started;
    }

    after(async () => {
      await agent?.close();
      await rm(stateFolder, { recursive: true, force: true });
      await host?.stop();
    });

    async function assertTold(container: PodContainer, ...expected: Told[]): Promise<ReceivedLog[]> {
      const records = await waitUntilTold(agent, container.id, expected);
      settled.set(container.id, expected);
      for (const { resource } of records) {
        const of = container.pod;
        assert.deepEqual(
          ['container.runtime', 'k8s.pod.uid', 'k8s.pod.name', 'k8s.namespace.name', 'k8s.container.name'].map(
            (key) => resource[key],
          ),
          ['containerd', of.uid, of.name, of.namespace, container.name],
        );
      }
      return records;
    }

    /**
     * From 1.7 on containerd clears away what has ended while it was dead, exit code and all. Then it is known where the
     * shim lives long enough to tell it.
     */
    async function knowsEndOf({ id }: PodContainer): Promise<boolean> {
      const exit = await eventually('the exit is told', () =>
        agent.logsOf(id).find(({ eventName }) => eventName === 'container.exit'),
      );
      return keepsEnds === true || 'process.exit.code' in exit.attributes;
    }

    it('tells an OOM kill of the main process and the exit that follows', async () => {
      const container = await pod.run(['memhog', 'self', '64'], { name: 'main' });
      await assertTold(container, killOf('init'), oomExit);
    });

    it('tells an OOM kill of a child while the main process lives on', async () => {
      const container = await pod.run(['memhog', 'signal', '64'], { name: 'parent' });
      await container.signal('SIGUSR1');
      await assertTold(container, killOf('child'));
    });

    it('tells nothing of a probe that fails, and an OOM kill of an exec as that of a child', async () => {
      const container = await pod.run(['memhog', 'sleep'], { name: 'probed' });
      assert.equal(await container.exec(['false']), 1);
      assert.equal(await container.exec(['memhog', 'self', '64']), 137);
      await assertTold(container, killOf('child'));
    });

    it('tells exits with their codes', async () => {
      const fine = await pod.run(['memhog', 'exit', '0', '20'], { name: 'fine' });
      await assertTold(fine, exitOf(0, 'completed', 'completed'));
      const failed = await pod.run(['memhog', 'exit', '3', '20'], { name: 'failed' });
      await assertTold(failed, exitOf(3, 'error', 'app_error', { 'error.type': 'exit_3' }));
      const killed = await pod.run(['memhog', 'sleep'], { name: 'killed' });
      await killed.signal('SIGKILL');
      await assertTold(killed, killedExit);
    });

    it('tells the exits of instances that could not be started, and counts the restarts between them', async () => {
      const first = await pod.runInVain({ name: 'unstartable' });
      const code = exitOf(128, 'error', 'app_error', { 'error.type': 'exit_128' });
      await assertTold(first, code);
      const second = await pod.runInVain({ name: 'unstartable', attempt: 1 });
      await assertTold(second, restarted, code);
    });

    it('tells the OOM kills of both of two instances of a container', async () => {
      const first = await pod.run(['memhog', 'self', '64'], { name: 'looping' });
      await assertTold(first, killOf('init'), oomExit);
      await first.ended();
      const second = await first.restart();
      await assertTold(second, restarted, killOf('init'), oomExit);
    });

    it('tells only the victim of a kill at the limit of a pod', async () => {
      const small = await host.kubelet.runPod({ name: 'small', limitMib: 24 });
      const bystander = await small.run(['memhog', 'sleep'], { name: 'bystander' });
      const victim = await small.run(['memhog', 'self', '64'], { name: 'victim' });
      const exit = exitOf(137, 'oom_killed', 'oom_pod', { 'error.type': 'oom_killed' });
      await assertTold(victim, killOf('init', 'pod'), exit);
      assert.deepEqual(agent.logsOf(bystander.id), []);
      await bystander.stop();
      await assertTold(bystander, exitOf(0, 'completed', 'completed'));
      assert.deepEqual(agent.logsOf(small.sandboxId), []);
    });

    it('tells ten containers that are started and killed at once and removed, each once', async () => {
      const containers = await Promise.all(
        Array.from({ length: 10 }, (_, n) => pod.run(['memhog', 'self', '64'], { name: `burst-${n}` })),
      );
      await Promise.all(
        containers.map(async (container) => {
          await container.ended();
          await container.remove();
        }),
      );
      for (const container of containers) await assertTold(container, killOf('init'), oomExit);
    });

    it('makes up for what happened while containerd was dead', async () => {
      const child = await pod.run(['memhog', 'signal', '64'], { name: 'dead-child' });
      const main = await pod.run(['memhog', 'signal', '64'], { name: 'dead-main' });
      const killed = await pod.run(['memhog', 'sleep'], { name: 'dead-killed' });
      const pids = await Promise.all([child, main, killed].map((container) => container.mainPid()));
      await agent.nextMetricsOf(killed.id);
      await host.kill();
      process.kill(pids[0]!, 'SIGUSR1');
      process.kill(pids[1]!, 'SIGUSR2');
      process.kill(pids[2]!, 'SIGKILL');
      // A cgroup tells of the child without containerd's help.
      await assertTold(child, killOf('child'));
      await eventually('the main processes are gone', () => !existsSync(`/proc/${pids[1]}`) || undefined);
      await host.start();
      await assertTold(main, killOf('init'), (await knowsEndOf(main)) ? oomExit : oomExitWithoutCode);
      await assertTold(killed, (await knowsEndOf(killed)) ? killedExit : unknownExit);
      process.kill(pids[0]!, 'SIGUSR1');
      await assertTold(child, killOf('child'), killOf('child'));
    });

    it('sends what it holds on SIGTERM, and has told nothing twice', async () => {
      assert.equal(await agent.stop(), 0, agent.stderr());
      for (const [id, expected] of settled) {
        const events = agent.logsOf(id).map(({ eventName }) => eventName);
        assert.deepEqual(
          events,
          expected.map(({ event }) => event),
          `container ${id}`,
        );
      }
    });

    it('tells what happened while it was not running, with exit codes, and nothing twice', async () => {
      await agent.close();
      agent = await start();
      const lives = await pod.run(['memhog', 'sleep'], { name: 'down-lives' });
      const ends = await pod.run(['memhog', 'sleep'], { name: 'down-ends' });
      const killed = await pod.run(['memhog', 'signal', '64'], { name: 'down-killed' });
      for (const { id } of [lives, ends, killed]) await agent.nextMetricsOf(id);
      await agent.close();
      await ends.stop();
      await killed.signal('SIGUSR2');
      await killed.ended();
      agent = await start();
      await assertTold(killed, killOf('init'), oomExit);
      await assertTold(ends, exitOf(0, 'completed', 'completed'));
      await lives.stop();
      await assertTold(lives, exitOf(0, 'completed', 'completed'));
    });
  });
}
