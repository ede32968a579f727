import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import type { ContainerSeen, Observation } from '../../receiver/observation.ts';
import { keepObserving } from '../../receiver/source.ts';
import { ContainerdSource } from '../../receiver/sources/containerd.ts';
import { cachePath } from '../helpers/cache.ts';
import { startContainerd } from '../helpers/containerd-host.ts';
import type { CriHost } from '../helpers/cri-host.ts';
import { eventually } from '../helpers/eventually.ts';
import type { Pod, PodContainer } from '../helpers/kubelet.ts';
import { requires } from '../helpers/requires.ts';

const versions = [
  { name: "Debian's containerd", needs: requires('containerd') },
  { name: 'containerd 1.7', needs: requires('containerd', 'containerd-trixie'), suite: 'trixie' },
  { name: 'containerd 2', needs: requires('containerd', 'containerd-sid'), suite: 'sid' },
];

for (const { name, needs, suite } of versions) {
  describe(`the containerd source on a real ${name}`, needs, () => {
    let host: CriHost;
    let pod: Pod;
    let stop: AbortController;
    let observing: Promise<void>;
    let seen: Observation[];
    let bad: string[];
    let ups: number;

    before(async () => {
      host = await startContainerd(suite === undefined ? undefined : cachePath(`containerd-${suite}`, 'bin'));
      pod = await host.kubelet.runPod();
    });

    after(() => host?.stop());

    beforeEach(async () => {
      [seen, bad, ups] = [[], [], 0];
      stop = new AbortController();
      const source = new ContainerdSource({
        endpoint: `unix://${host.socket}`,
        hostRoot: '/',
        timeoutMs: 5_000,
        namespaces: ['k8s.io'],
        retoldWithinMs: 8_000,
        onBadInput: (what, value) => bad.push(`${what}: ${value}`),
      });
      const watcher = { up: () => void ups++, down: () => {} };
      observing = keepObserving(source, (observation) => seen.push(observation), watcher, stop.signal);
      await until('the source works', () => ups === 1);
    });

    afterEach(async () => {
      stop.abort();
      await observing;
      assert.deepEqual(bad, []);
    });

    async function until(what: string, isSo: () => boolean): Promise<void> {
      await eventually(what, () => isSo() || undefined, 20);
    }

    /** What was observed of a container by events. */
    function eventsOf({ id }: PodContainer): Observation[] {
      return seen.filter((one) => 'containerId' in one && one.containerId === id && one.kind !== 'container_seen');
    }

    function kindsOf(container: PodContainer): string[] {
      return eventsOf(container).map(({ kind }) => kind);
    }

    async function untilTold(container: PodContainer, ...kinds: Observation['kind'][]): Promise<void> {
      await until(kinds.join(), () => kinds.every((kind) => kindsOf(container).includes(kind)));
    }

    function lastSeen(containerId: string): ContainerSeen {
      const last = seen.findLast((one) => one.kind === 'container_seen' && one.containerId === containerId);
      assert.ok(last?.kind === 'container_seen', `${containerId} was seen`);
      return last;
    }

    /** The CRI knows of an end a little later than we do. */
    async function remove(container: PodContainer): Promise<void> {
      await container.ended();
      await container.remove();
    }

    function exitCodesOf(container: PodContainer): (number | undefined)[] {
      return eventsOf(container).flatMap((one) => (one.kind === 'container_exited' ? [one.exitCode] : []));
    }

    it('finds the sandbox of a pod, and knows it for one', () => {
      const { sandbox, running, pod: facts } = lastSeen(pod.sandboxId);
      assert.deepEqual([sandbox, running], [true, true]);
      assert.deepEqual(
        { ...facts, containerName: undefined, restartCount: undefined },
        { uid: pod.uid, namespace: 'shop', name: pod.name, containerName: undefined, restartCount: undefined },
      );
    });

    it('tells a start with its place in Kubernetes, its pid and its times, and an exit with its code', async () => {
      const fromMs = Date.now();
      const container = await pod.run(['memhog', 'sleep'], { name: 'app', attempt: 2, labels: { team: 'a' } });
      const pid = await container.mainPid();
      await until('its pid is told', () => seen.some((one) => one.kind === 'container_seen' && one.pid === pid));
      const one = lastSeen(container.id);
      assert.deepEqual([one.runtime, one.name, one.image], ['containerd', 'app', 'localhost/exit137-test:1']);
      assert.deepEqual([one.running, one.paused, one.sandbox, one.labels?.['team']], [true, false, false, 'a']);
      const { uid, namespace, name: podName } = pod;
      assert.deepEqual(one.pod, { uid, namespace, name: podName, containerName: 'app', restartCount: 2 });
      assert.ok(one.createdAtMs! >= fromMs && one.startedAtMs! >= one.createdAtMs! && one.startedAtMs! <= Date.now());
      await container.stop();
      await untilTold(container, 'container_exited');
      await remove(container);
      await untilTold(container, 'container_removed');
      assert.deepEqual(kindsOf(container), ['container_started', 'container_exited', 'container_removed']);
      assert.deepEqual(exitCodesOf(container), [0]);
      const [started, exited, removed] = eventsOf(container).map(({ atMs }) => atMs);
      assert.ok(fromMs <= started! && started! <= exited! && exited! <= removed! && removed! <= Date.now());
    });

    it('tells exit codes, 0 and 137 among them', async () => {
      for (const code of [0, 3, 137]) {
        const container = await pod.run(['memhog', 'exit', String(code), '20']);
        await untilTold(container, 'container_exited');
        assert.deepEqual(exitCodesOf(container), [code]);
        await remove(container);
      }
    });

    it('tells an OOM kill of the main process as a hint and an exit', async () => {
      const container = await pod.run(['memhog', 'self', '64']);
      await untilTold(container, 'oom_hinted', 'container_exited');
      assert.deepEqual(exitCodesOf(container), [137]);
      await remove(container);
    });

    it('tells an OOM kill of a child as a hint alone', async () => {
      const container = await pod.run(['memhog', 'child', '64']);
      await untilTold(container, 'oom_hinted');
      // An exit would come before that of the stop.
      await container.stop();
      await untilTold(container, 'container_exited');
      assert.deepEqual(exitCodesOf(container), [0]);
      await remove(container);
    });

    it('takes no exit of a probe for that of the container, nor that of an exec that the OOM killer ended', async () => {
      const container = await pod.run(['memhog', 'sleep']);
      assert.equal(await container.exec(['false']), 1);
      assert.deepEqual(kindsOf(container), ['container_started']);
      assert.equal(await container.exec(['memhog', 'self', '64']), 137);
      await untilTold(container, 'oom_hinted');
      assert.deepEqual(exitCodesOf(container), []);
      await container.stop();
      await untilTold(container, 'container_exited');
      assert.deepEqual(exitCodesOf(container), [0]);
      await remove(container);
    });

    it('tells a restart as a new container with the next attempt', async () => {
      const first = await pod.run(['memhog', 'self', '64'], { name: 'looping' });
      await first.ended();
      const second = await first.restart();
      await untilTold(second, 'container_exited');
      assert.deepEqual(
        [first, second].map(({ id }) => lastSeen(id).pod?.restartCount),
        [0, 1],
      );
      for (const container of [first, second]) await remove(container);
    });

    it('knows containers that live 100 ms and are removed at once', async () => {
      const containers = await Promise.all(
        Array.from({ length: 10 }, async (_, n) => {
          const container = await pod.run(['memhog', 'self', '64', '100'], { name: `short-${n}` });
          await remove(container);
          return container;
        }),
      );
      for (const [n, container] of containers.entries()) {
        await untilTold(container, 'container_removed');
        const kinds = kindsOf(container).filter((kind) => kind !== 'oom_hinted');
        assert.deepEqual(kinds, ['container_started', 'container_exited', 'container_removed']);
        assert.equal(lastSeen(container.id).name, `short-${n}`);
        assert.deepEqual(exitCodesOf(container), [137]);
      }
    });

    it('makes up for the time while containerd was dead, and tells nothing twice', async () => {
      const lives = await pod.run(['memhog', 'sleep'], { name: 'lives' });
      const ends = await pod.run(['memhog', 'sleep'], { name: 'ends', limitMib: 48 });
      const pid = await ends.mainPid();
      await untilTold(lives, 'container_started');
      const known = lastSeen(lives.id);
      await host.kill();
      process.kill(pid, 'SIGTERM');
      await until('its main process is gone', () => !existsSync(`/proc/${pid}`));
      await host.start();
      await until('the source works again', () => ups === 2);
      const living = lastSeen(lives.id);
      assert.deepEqual([living.running, living.pid, living.startedAtMs], [true, known.pid, known.startedAtMs]);
      const endsTold = (): (number | undefined)[] => [
        ...exitCodesOf(ends),
        ...seen.flatMap((one) =>
          one.kind === 'container_seen' && one.containerId === ends.id && !one.running ? [one.exitCode] : [],
        ),
      ];
      await until('the end that was missed is told', () => endsTold().length > 0);
      await lives.stop();
      await untilTold(lives, 'container_exited');
      assert.deepEqual(endsTold(), [0]);
      assert.deepEqual(kindsOf(lives), ['container_started', 'container_exited']);
      for (const container of [lives, ends]) await remove(container);
      await untilTold(lives, 'container_removed');
    });
  });
}
