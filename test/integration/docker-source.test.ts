import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import type Docker from 'dockerode';
import type { Observation } from '../../receiver/observation.ts';
import { keepObserving } from '../../receiver/source.ts';
import { DockerSource } from '../../receiver/sources/docker.ts';
import { mainPid, startDocker, startPodman, type DockerHost } from '../helpers/docker-host.ts';
import { eventually } from '../helpers/eventually.ts';
import { requires } from '../helpers/requires.ts';

const runtimes = [
  { name: 'docker', start: startDocker },
  { name: 'podman', start: startPodman },
] as const;

for (const runtime of runtimes) {
  describe(`the docker source on a real ${runtime.name}`, requires(runtime.name), () => {
    let host: DockerHost;
    let stop: AbortController;
    let observing: Promise<void>;
    let seen: Observation[];
    let bad: string[];
    let ups: number;

    before(async () => {
      host = await runtime.start();
    });

    after(() => host?.stop());

    beforeEach(async () => {
      [seen, bad, ups] = [[], [], 0];
      stop = new AbortController();
      const source = new DockerSource({
        endpoint: `unix://${host.socket}`,
        hostRoot: '/',
        timeoutMs: 5000,
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

    /** What was observed of a container by events, without inspections: these come when they come. */
    function eventsOf({ id }: Docker.Container): Observation[] {
      return seen.filter((one) => 'containerId' in one && one.containerId === id && one.kind !== 'container_seen');
    }

    async function untilEvents(container: Docker.Container, ...kinds: Observation['kind'][]): Promise<Observation[]> {
      const told = () => eventsOf(container).map(({ kind }) => kind);
      await until(kinds.join(), () => kinds.every((kind) => told().includes(kind)));
      return eventsOf(container);
    }

    it('observes what is done to a container, with the runtime’s times', async () => {
      const fromMs = Date.now();
      const container = await host.create(['memhog', 'sleep'], { name: 'before' });
      await container.start();
      await container.rename({ name: 'after' });
      await container.pause();
      await container.unpause();
      // Podman waits no time at all where it is not told how long.
      await container.stop({ t: 5 });
      await container.remove();
      const events = await untilEvents(container, 'container_removed');
      const kinds = events.map(({ kind }) => kind);
      // Podman sends no kill, and often no stop either; where there is one Docker sends it before or after the exit.
      assert.deepEqual(
        kinds.filter((kind) => kind !== 'container_signalled' && kind !== 'container_stopped'),
        [
          'container_started',
          'container_renamed',
          'container_paused',
          'container_paused',
          'container_exited',
          'container_removed',
        ],
      );
      if (runtime.name === 'docker')
        assert.ok(kinds.includes('container_signalled') && kinds.includes('container_stopped'));
      for (const { atMs } of events) assert.ok(atMs >= fromMs && atMs <= Date.now());
      const exit = events.find((event) => event.kind === 'container_exited');
      assert.equal(exit?.exitCode, 0);
      assert.equal(exit?.name, 'after');
    });

    it('inspects what was started: pid, times and labels, also those that events hide', async () => {
      const labels = { name: 'a label', team: 'a' };
      const container = await host.docker.createContainer({
        Image: 'localhost/exit137-test:1',
        Cmd: ['memhog', 'sleep'],
        Labels: labels,
        HostConfig: { NetworkMode: 'none' },
      });
      await container.start();
      const inspected = () => seen.find((one) => one.kind === 'container_seen' && one.containerId === container.id);
      await until('it is inspected', () => inspected() !== undefined);
      const one = inspected();
      const { State, Name, Created } = await container.inspect();
      assert.ok(one?.kind === 'container_seen' && one.running);
      assert.deepEqual([one.pid, one.name, one.runtime, one.restartCount], [State.Pid, Name.slice(1), runtime.name, 0]);
      assert.equal(Math.floor(one.startedAtMs!), Date.parse(State.StartedAt));
      assert.equal(Math.floor(one.createdAtMs!), Date.parse(Created));
      assert.deepEqual({ ...one.labels }, labels);
      await container.remove({ force: true });
    });

    it('believes no label that passes for an exit code', async () => {
      const container = await host.docker.createContainer({
        Image: 'localhost/exit137-test:1',
        Cmd: ['memhog', 'exit', '3'],
        Labels: { exitCode: '0' },
        HostConfig: { NetworkMode: 'none' },
      });
      await container.start();
      const inspected = () =>
        seen.findLast((one) => one.kind === 'container_seen' && one.containerId === container.id && !one.running);
      const events = await untilEvents(container, 'container_exited');
      const exit = events.find((event) => event.kind === 'container_exited');
      if (runtime.name === 'podman') {
        assert.equal(exit?.exitCode, 3);
      } else {
        assert.equal(exit?.exitCode, undefined);
        await until('it is inspected', () => inspected() !== undefined);
        const one = inspected();
        assert.ok(one?.kind === 'container_seen');
        assert.equal(one.exitCode, 3);
      }
      await container.remove({ force: true });
    });

    it('knows 30 containers that are started at once and live 100 ms by their events', async () => {
      const containers = await Promise.all(
        Array.from({ length: 30 }, (_, n) =>
          host.create(['memhog', 'self', '64', '100'], { name: `short-${n}`, autoRemove: true }),
        ),
      );
      await Promise.all(containers.map((container) => container.start()));
      for (const [n, container] of containers.entries()) {
        const events = await untilEvents(container, 'container_removed');
        const kinds = events.map(({ kind }) => kind).filter((kind) => kind !== 'oom_hinted');
        assert.deepEqual(kinds, ['container_started', 'container_exited', 'container_removed']);
        const [started, exited] = events.filter(
          (event) => event.kind === 'container_started' || event.kind === 'container_exited',
        );
        assert.equal(started?.name, `short-${n}`);
        assert.ok(exited?.kind === 'container_exited');
        assert.equal(exited.exitCode, 137);
      }
    });

    it('makes up for the time while the daemon was dead, and tells nothing twice', async () => {
      const lives = await host.run(['memhog', 'sleep']);
      const ends = await host.run(['memhog', 'sleep']);
      await untilEvents(lives, 'container_started');
      await untilEvents(ends, 'container_started');
      const pid = await mainPid(ends);
      await host.kill();
      process.kill(pid, 'SIGKILL');
      await until('its main process is gone', () => !existsSync(`/proc/${pid}`));
      await host.start();
      await until('the source works again', () => ups === 2);
      const last = ({ id }: Docker.Container) =>
        seen.findLast((one) => one.kind === 'container_seen' && one.containerId === id);
      const [living, ended] = [last(lives), last(ends)];
      assert.ok(living?.kind === 'container_seen' && ended?.kind === 'container_seen');
      assert.deepEqual([living.running, ended.running, ended.exitCode], [true, false, 137]);
      assert.deepEqual(
        eventsOf(lives).map(({ kind }) => kind),
        ['container_started'],
      );
      for (const container of [lives, ends]) await container.remove({ force: true });
      await untilEvents(lives, 'container_removed');
    });
  });
}
