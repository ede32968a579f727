import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { startAgent, type Agent } from '../helpers/agent.ts';
import { startContainerd } from '../helpers/containerd-host.ts';
import type { CriHost } from '../helpers/cri-host.ts';
import { startCrio } from '../helpers/crio-host.ts';
import { eventually } from '../helpers/eventually.ts';
import type { Pod, PodContainer } from '../helpers/kubelet.ts';
import { onUnifiedHierarchy } from '../helpers/nested-cgroup.ts';
import type { ReceivedLog, ReceivedMetric } from '../helpers/otlp-decoding.ts';
import { has, requires } from '../helpers/requires.ts';
import { lifecycleCounters, nothingCounted } from '../helpers/told.ts';

/** What of a record these tests compare. */
type Told = [event: string, what: unknown, cause?: unknown];

const kill = (victim: 'init' | 'child', scope = 'container'): Told => ['container.oom_kill', victim, scope];
const restart: Told = ['container.restart', undefined, undefined];
/** After the third restart. */
const crashLoop: Told = ['container.crash_loop', undefined, undefined];
const exit = (code: number, cause: string): Told => ['container.exit', code, cause];

/** Which sources are asked, given where the runtime serves. */
type Sources = (endpoint: string) => Record<string, { endpoint: string } | { enabled: false }>;

interface Runtime {
  name: 'containerd' | 'crio';
  start: () => Promise<CriHost>;
  /** By who tells. */
  sources: Record<string, Sources>;
  /** The reason that it gives for a clean end after a child was killed. */
  reasonOfCleanEnd: RegExp;
}

const criAlone: Sources = (endpoint) => ({ cri: { endpoint }, containerd: { enabled: false } });
const criAndContainerd: Sources = (endpoint) => ({ cri: { endpoint }, containerd: { endpoint } });

const containerd: Runtime = {
  name: 'containerd',
  start: startContainerd,
  sources: { 'the source cri alone': criAlone, 'cri and containerd together': criAndContainerd },
  reasonOfCleanEnd: /^OOMKilled$/,
};
const crio: Runtime = {
  name: 'crio',
  start: startCrio,
  sources: { 'the source cri': criAlone },
  // Its conmon does not see every kill on cgroup v2.
  reasonOfCleanEnd: onUnifiedHierarchy ? /^(OOMKilled|Completed)$/ : /^OOMKilled$/,
};

// No suite of Debian has CRI-O, so that CI goes without.
const runtimes = has('crio') ? [containerd, crio] : [containerd];
const tellers = runtimes.flatMap((runtime) => {
  return Object.entries(runtime.sources).map(([who, sources]) => ({ runtime, who, sources }));
});

for (const { runtime, who, sources } of tellers) {
  suite(`pods of a real ${runtime.name}, told by ${who}`, requires(runtime.name, 'kmsg', 'bundle'), () => {
    let host: CriHost;
    let agent: Agent;
    before(async () => {
      host = await runtime.start();
      const ofRuntimes = sources(`unix://${host.socket}`);
      agent = await startAgent({ receiver: { sources: { docker: { enabled: false }, ...ofRuntimes } } });
      const serving = Object.entries(ofRuntimes).filter(([, source]) => 'endpoint' in source);
      await agent.observes('memcg', 'kernel_log', ...serving.map(([name]) => name));
    });
    after(async () => {
      await agent?.close();
      await host?.stop();
    });

    test('an OOM kill of the main process is one kill and the reason of the exit', async () => {
      const pod = await host.kubelet.runPod();
      const container = await pod.run(['memhog', 'signal', '64']);
      await container.signal('SIGUSR2');
      await container.ended();
      await waitUntilTold(container, [kill('init'), exit(137, 'oom_container')]);
      await pod.remove();
    });

    test('an OOM kill of a child is one kill; the main process lives on and ends well', async () => {
      const pod = await host.kubelet.runPod();
      const container = await pod.run(['memhog', 'signal', '64']);
      await container.signal('SIGUSR1');
      await waitUntilTold(container, [kill('child')]);
      await container.stop();
      assert.match((await container.ended()).reason, runtime.reasonOfCleanEnd);
      await waitUntilTold(container, [kill('child'), exit(0, 'completed')]);
      await pod.remove();
    });

    test('a probe that fails is no exit of the container', async () => {
      const pod = await host.kubelet.runPod();
      const container = await pod.run(['memhog', 'sleep']);
      for (let probes = 0; probes < 5; probes++) assert.equal(await container.exec(['false']), 1);
      await container.stop();
      await waitUntilTold(container, [exit(0, 'completed')]);
      await pod.remove();
    });

    if (runtime === containerd) {
      test('of instances that could not be started the exits are told, and the restarts between them', async () => {
        const pod = await host.kubelet.runPod();
        const first = await pod.runInVain();
        await waitUntilTold(first, [exit(128, 'app_error')]);
        const second = await pod.runInVain({ attempt: 1 });
        await waitUntilTold(second, [restart, exit(128, 'app_error')]);
        await pod.remove();
      });
    } else {
      test('nothing is told of a container that was never made, which is where CRI-O looks for its program', async () => {
        const pod = await host.kubelet.runPod();
        await assert.rejects(pod.run(['/is/not/there']), /no such file/);
        const container = await pod.run(['memhog', 'exit', '3']);
        await waitUntilTold(container, [exit(3, 'app_error')]);
        const logs = agent.endpoint.received.flatMap((batch) => batch.logs);
        const ofPod = logs.filter(({ resource }) => resource['k8s.pod.uid'] === pod.uid);
        assert.deepEqual(ofPod, agent.logsOf(container.id));
        await pod.remove();
      });
    }

    test('of containers that come and go at once each exit is told, and each once', async () => {
      const pod = await host.kubelet.runPod();
      const instances = [await pod.run(['memhog', 'exit', '3'])];
      // Without the back-off of a kubelet, which removes those that have ended once a minute.
      for (let restarts = 1; restarts <= 4; restarts++) {
        const last = instances.at(-1)!;
        await last.ended();
        instances.push(await last.restart(['memhog', 'exit', String(3 + restarts)]));
      }
      await instances.at(-1)!.ended();
      for (const [n, instance] of instances.entries()) {
        const begin = n === 0 ? [] : n === 3 ? [restart, crashLoop] : [restart];
        await waitUntilTold(instance, [...begin, exit(3 + n, 'app_error')]);
      }
      const counted = { ...nothingCounted, exitsError: 5, restarts: 4, exitCode: 7 };
      await eventually('one series has counted them all', () => {
        const metrics = workloadOf(pod);
        return (metrics !== undefined && isDeepStrictEqual(lifecycleCounters(metrics), counted)) || undefined;
      }).catch(() => assert.deepEqual(lifecycleCounters(workloadOf(pod) ?? {}), counted));
      await pod.remove();
    });

    test("at a pod's limit the victim alone was killed, whatever the runtime says of the others", async () => {
      const pod = await host.kubelet.runPod({ limitMib: 96 });
      const bystander = await pod.run(['memhog', 'hold', '8'], { name: 'sidecar', limitMib: undefined });
      const victim = await pod.run(['memhog', 'signal', '128'], { limitMib: undefined });
      await victim.signal('SIGUSR2');
      await victim.ended();
      await waitUntilTold(victim, [kill('init', 'pod'), exit(137, 'oom_pod')]);
      await bystander.stop();
      await waitUntilTold(bystander, [exit(0, 'completed')]);
      await pod.remove();
    });

    test('what happened while the runtime was away is told once it is back, and nothing again', async () => {
      const pod = await host.kubelet.runPod();
      const [lives, ends] = [await pod.run(['memhog', 'sleep'], { name: 'lives' }), await pod.run(['memhog', 'sleep'])];
      const first = await pod.run(['memhog', 'exit', '7'], { name: 'before' });
      await waitUntilTold(first, [exit(7, 'app_error')]);
      const pid = await ends.mainPid();
      await host.kill();
      process.kill(pid, 'SIGKILL');
      await host.start();
      await ends.ended();
      await waitUntilTold(ends, [exit(137, 'killed_externally')]);
      await lives.stop();
      await waitUntilTold(lives, [exit(0, 'completed')]);
      await waitUntilTold(first, [exit(7, 'app_error')]);
      await pod.remove();
    });

    test('a sandbox is no container', async () => {
      const pod = await host.kubelet.runPod();
      const container = await pod.run(['memhog', 'sleep']);
      await agent.nextMetricsOf(container.id);
      await container.stop();
      await waitUntilTold(container, [exit(0, 'completed')]);
      await pod.remove();
      const next = await (await host.kubelet.runPod()).run(['memhog', 'sleep']);
      await agent.nextMetricsOf(next.id);
      await next.pod.remove();
      assert.deepEqual([agent.allMetricsOf(pod.sandboxId), agent.logsOf(pod.sandboxId)], [[], []]);
    });

    /** The newest counters of a pod's container, which outlive its instances. */
    /** Undefined where none have arrived. */
    function workloadOf({ uid }: Pod): Record<string, ReceivedMetric> | undefined {
      const sent = agent.endpoint.received.flatMap(({ metrics }) => metrics);
      const ofPod = sent.filter(({ resource }) => {
        return resource['k8s.pod.uid'] === uid && resource['container.id'] === undefined;
      });
      return ofPod.at(-1)?.metrics;
    }

    async function waitUntilTold(container: PodContainer, expected: Told[]): Promise<void> {
      const records = () => agent.logsOf(container.id);
      const enough = () => records().length >= expected.length || undefined;
      await eventually(`${expected.length} records have arrived`, enough, 15).catch(() => undefined);
      assert.deepEqual(records().map(toldOf), expected);
    }
  });
}

function toldOf({ eventName, attributes }: ReceivedLog): Told {
  return eventName === 'container.exit'
    ? [eventName, attributes['process.exit.code'], attributes['container.exit.cause']]
    : [eventName, attributes['oom.victim'], attributes['oom.scope']];
}

for (const { name, start } of runtimes) {
  suite(`exit137 that was not running, with the CRI of a real ${name}`, requires(name, 'kmsg', 'bundle'), () => {
    test('tells the exits that it missed, also of containers that it never saw, and none again', async () => {
      const host = await start();
      const stateFolder = await mkdtemp(join(tmpdir(), 'exit137-state-'));
      const sources = { docker: { enabled: false }, ...criAlone(`unix://${host.socket}`) };
      const agents = [await startAgent({ receiver: { sources }, stateFolder })];
      try {
        await agents[0]!.observes('cri');
        const pod = await host.kubelet.runPod();
        const told = await pod.run(['memhog', 'exit', '3']);
        const known = await pod.run(['memhog', 'sleep'], { name: 'b' });
        const exitsOf = ({ id }: PodContainer) => agents.flatMap((agent) => agent.logsOf(id)).map(toldOf);
        await eventually('the first exit is told', () => exitsOf(told).length > 0 || undefined);
        await agents[0]!.nextMetricsOf(known.id);
        await agents[0]!.stop();
        await known.stop();
        const unseen = await pod.run(['memhog', 'exit', '5'], { name: 'c' });
        await unseen.ended();
        agents.push(await startAgent({ receiver: { sources }, stateFolder }));
        await eventually('the last exit is told', () => exitsOf(unseen).length > 0 || undefined);
        const next = await pod.run(['memhog', 'sleep'], { name: 'd' });
        await agents[1]!.nextMetricsOf(next.id);
        const exits = [told, known, unseen].map(exitsOf);
        assert.deepEqual(exits, [[exit(3, 'app_error')], [exit(0, 'completed')], [exit(5, 'app_error')]]);
      } finally {
        for (const agent of agents) await agent.close();
        await host.stop();
        await rm(stateFolder, { recursive: true });
      }
    });
  });
}
