import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { describeError } from '../../../pipelines/errors.ts';
import type { Observation } from '../../../receiver/observation.ts';
import { DockerSource, type DockerSourceOptions } from '../../../receiver/sources/docker.ts';
import { eventually } from '../../helpers/eventually.ts';
import { answerWith, DockerDaemon, neverAnswer } from './docker-daemon.ts';
import { anId, anotherId, docker20, docker28, inspections, versions } from './docker-recordings.ts';

/** One call of `observe`. */
interface Watching {
  seen: Observation[];
  kinds(): string[];
  /** Resolves when `up` was called; rejects when the subscription ended before. */
  up: Promise<void>;
  /** Resolves with what it rejected with; undefined where it resolved. */
  ended: Promise<unknown>;
  /** Resolves once as many observations were made. */
  until(count: number): Promise<void>;
  stop(): void;
}

const nowMs = Date.UTC(2026, 10, 21, 7, 2);

describe('the docker source', { timeout: 30_000 }, () => {
  let daemon: DockerDaemon;
  let bad: string[];
  const watchings: Watching[] = [];

  beforeEach(async () => {
    daemon = await DockerDaemon.start();
    bad = [];
  });

  afterEach(async () => {
    for (const watching of watchings.splice(0)) watching.stop();
    await daemon.stop();
  });

  function makeSource(options: Partial<DockerSourceOptions> = {}): DockerSource {
    return new DockerSource({
      endpoint: daemon.endpoint,
      hostRoot: '/',
      timeoutMs: 2000,
      env: {},
      clock: () => nowMs,
      onBadInput: (what, value) => bad.push(`${what}: ${value}`),
      ...options,
    });
  }

  function watch(source: DockerSource): Watching {
    const stop = new AbortController();
    const seen: Observation[] = [];
    const waiting: { count: number; resolve: () => void }[] = [];
    const isUp = Promise.withResolvers<void>();
    const emit = (observation: Observation): void => {
      seen.push(observation);
      for (const { count, resolve } of waiting) if (seen.length >= count) resolve();
    };
    const ended = source.observe(emit, isUp.resolve, stop.signal).then(
      () => undefined,
      (error: unknown) => error,
    );
    void ended.then((error) => isUp.reject(error ?? new Error('it ended')));
    isUp.promise.catch(() => {});
    const watching: Watching = {
      seen,
      kinds: () => seen.map(({ kind }) => kind),
      up: isUp.promise,
      ended,
      stop: () => stop.abort(),
      async until(count) {
        const { promise, resolve } = Promise.withResolvers<void>();
        waiting.push({ count, resolve });
        if (seen.length < count) await promise;
      },
    };
    watchings.push(watching);
    return watching;
  }

  /** A container in the given state, as Docker would answer about it. */
  function container(id: string, state: object, rest: object = {}) {
    const base = structuredClone(inspections.docker28Running);
    const Config = { Image: 'busybox', Labels: {} };
    return { ...base, Id: id, Config, ...rest, State: { ...base.State, ...state } };
  }

  /** Just before the event docker20.start. */
  const startedByEvent = { StartedAt: '2026-11-21T06:58:02.058Z' };
  const ended = (finishedAt: string) => ({ Status: 'exited', Running: false, Pid: 0, FinishedAt: finishedAt });

  it('subscribes before it lists, with a filter, and says that it works when it has told what there is', async () => {
    daemon.containers.set(anId, inspections.docker28Running);
    const watching = watch(makeSource());
    await watching.up;
    const filters = `{"type":["container"],"event":["start","die","died","oom","kill","stop","pause","unpause","rename","destroy","remove"]}`;
    assert.deepEqual(daemon.calls, [
      'GET /version',
      `GET /events?since=${nowMs / 1000}&filters=${filters}`,
      'GET /containers/json?all=true',
      `GET /containers/${anId}/json`,
    ]);
    assert.equal(watching.seen.length, 1);
    assert.deepEqual(watching.seen[0], {
      kind: 'container_seen',
      containerId: anId,
      runtime: 'docker',
      name: 'bb',
      image: 'localhost/exit137-test:1',
      labels: { exitCode: '9', foo: 'bar', name: 'evil' },
      atMs: nowMs,
      running: true,
      paused: false,
      pid: 23190,
      createdAtMs: 1795244505093.4216,
      startedAtMs: 1795244505307.5493,
      finishedAtMs: undefined,
      exitCode: undefined,
      restartCount: 0,
    });
    assert.deepEqual(bad, []);
  });

  it('emits an event in the tick in which its line arrives, and inspects what was started', async () => {
    const watching = watch(makeSource());
    await watching.up;
    daemon.containers.set(docker20.containerId, container(docker20.containerId, startedByEvent));
    daemon.send(docker20.start);
    await watching.until(2);
    assert.deepEqual(watching.kinds(), ['container_started', 'container_seen']);
    daemon.send(docker20.oom, docker20.die, docker20.destroy);
    await watching.until(5);
    assert.deepEqual(watching.kinds().slice(2), ['oom_hinted', 'container_exited', 'container_removed']);
  });

  it('takes a container that is gone when it is inspected for normal', async () => {
    const watching = watch(makeSource());
    await watching.up;
    const inspected = daemon.called(/GET \/containers\/[0-9a-f]{64}/);
    daemon.send(docker20.start, docker20.die);
    await inspected;
    daemon.send(docker20.destroy);
    await watching.until(3);
    assert.deepEqual(watching.kinds(), ['container_started', 'container_exited', 'container_removed']);
    assert.deepEqual(bad, []);
  });

  it('takes Podman’s answer about a container that is just being removed for the same', async () => {
    daemon.misbehaviours.push([
      /containers\/[0-9a-f]{64}/,
      answerWith(
        500,
        '{"cause":"no such container","message":"container ID does not exist in database: no such container","response":500}',
      ),
    ]);
    const watching = watch(makeSource());
    await watching.up;
    const inspected = daemon.called(/containers\/[0-9a-f]{64}/);
    daemon.send(docker20.start);
    await inspected;
    daemon.send(docker20.destroy);
    await watching.until(2);
    assert.deepEqual(watching.kinds(), ['container_started', 'container_removed']);
    assert.deepEqual(bad, []);
  });

  it('leaves a life of which no event has come yet to its events', async () => {
    const watching = watch(makeSource());
    await watching.up;
    const id = docker20.containerId;
    const firstStart = docker20.start;
    const secondStart = docker20.start.replace('1795244282059770519', '1795244283000000000');
    // Its second life, while the event of its first is still on the way.
    daemon.containers.set(id, container(id, { StartedAt: '2026-11-21T06:58:02.999Z' }));
    const inspected = daemon.called(new RegExp(id));
    daemon.send(firstStart);
    await inspected;
    daemon.send(docker20.die, secondStart);
    await watching.until(4);
    assert.deepEqual(watching.kinds(), [
      'container_started',
      'container_exited',
      'container_started',
      'container_seen',
    ]);
  });

  it('does not tell of a container as it was before it was removed', async () => {
    const watching = watch(makeSource());
    await watching.up;
    let answer: (() => void) | undefined;
    daemon.misbehaviours.push([
      /GET \/containers\/[0-9a-f]{64}/,
      (response) => {
        answer = () => answerWith(200, JSON.stringify(container(docker20.containerId, startedByEvent)))(response);
      },
    ]);
    const inspected = daemon.called(/GET \/containers\/[0-9a-f]{64}/);
    daemon.send(docker20.start);
    await inspected;
    daemon.send(docker20.destroy);
    await watching.until(2);
    answer!();
    // Whatever comes of that answer comes before the next call is answered.
    daemon.misbehaviours.pop();
    daemon.containers.set(anId, inspections.docker28Running);
    daemon.send(docker28.start);
    await watching.until(4);
    assert.deepEqual(watching.kinds(), [
      'container_started',
      'container_removed',
      'container_started',
      'container_seen',
    ]);
  });

  it('emits events that come while it lists, at once', async () => {
    daemon.containers.set(anId, inspections.docker28Running);
    let answerList: (() => void) | undefined;
    daemon.misbehaviours.push([
      /containers\/json/,
      (response) => {
        answerList = () => answerWith(200, '[]')(response);
      },
    ]);
    const listing = daemon.called(/containers\/json/);
    const watching = watch(makeSource());
    await listing;
    daemon.send(docker20.oom);
    await watching.until(1);
    assert.deepEqual(watching.kinds(), ['oom_hinted']);
    answerList!();
    await watching.up;
  });

  it('tells of containers that run or ended lately, and does not even ask for those that ended long ago', async () => {
    const ids = Array.from({ length: 6 }, (_, n) => String(n).repeat(64));
    const [running, ago1m, ago6m, ago2h, created, restarting] = ids as [string, string, string, string, string, string];
    daemon.containers.set(running, container(running, {}));
    daemon.containers.set(ago1m, container(ago1m, ended('2026-11-21T07:01:00Z')));
    daemon.containers.set(ago6m, container(ago6m, ended('2026-11-21T06:56:00Z')));
    daemon.containers.set(ago2h, container(ago2h, ended('2026-11-21T05:02:00Z')));
    daemon.containers.set(created, container(created, { Status: 'created', Running: false }));
    daemon.containers.set(restarting, container(restarting, inspections.docker28Restarting.State));
    daemon.statuses.set(ago1m, 'Exited (1) About a minute ago');
    // It could be 5 minutes and a half by now, or 4.
    daemon.statuses.set(ago6m, 'Exited (1) 5 minutes ago');
    daemon.statuses.set(ago2h, 'Exited (1) 2 hours ago');
    const watching = watch(makeSource({ graceMs: 300_000 }));
    await watching.up;
    const told = watching.seen.map((seen) => ('containerId' in seen ? seen.containerId : undefined));
    assert.deepEqual(new Set(told), new Set([running, ago1m, restarting]));
    const asked = daemon.calls.flatMap((call) => /containers\/([0-9a-f]{64})/.exec(call)?.[1] ?? []);
    assert.deepEqual(new Set(asked), new Set([running, ago1m, ago6m, restarting]));
  });

  it('inspects four containers at once, no more, and all of them', async () => {
    const held: (() => void)[] = [];
    daemon.misbehaviours.push([
      /containers\/[0-9a-f]{64}/,
      (response, call) => {
        const id = /[0-9a-f]{64}/.exec(call)![0];
        held.push(() => answerWith(200, JSON.stringify(daemon.containers.get(id)))(response));
        assert.ok(held.length <= 4);
        if (held.length === 4) setImmediate(() => held.splice(0).forEach((answer) => answer()));
      },
    ]);
    for (let n = 0; n < 40; n++) {
      const id = n.toString(16).padStart(64, '0');
      daemon.containers.set(id, container(id, {}));
    }
    const watching = watch(makeSource());
    await watching.up;
    assert.equal(watching.seen.length, 40);
  });

  it('believes the runtime’s own answer where a label passes for an exit code', async () => {
    daemon.containers.set(anId, inspections.docker28Running);
    const watching = watch(makeSource());
    await watching.up;
    daemon.containers.set(anId, container(anId, { ...ended('2026-11-21T07:01:45.64Z'), ExitCode: 0 }));
    daemon.send(docker28.die);
    await watching.until(3);
    const [, exited, seen] = watching.seen;
    assert.ok(exited?.kind === 'container_exited' && seen?.kind === 'container_seen');
    assert.equal(exited.exitCode, undefined);
    assert.equal(seen.exitCode, 0);
  });

  it('says podman where Podman answers, and works though Podman sends no header before the first event', async () => {
    daemon.version = versions.podman4;
    daemon.silentUntilFirstEvent = true;
    daemon.containers.set(anId, inspections.podman4Exited);
    const watching = watch(makeSource());
    await watching.up;
    assert.equal((watching.seen[0] as { runtime?: string }).runtime, 'podman');
    daemon.send(docker20.oom);
    await watching.until(2);
    watching.stop();
    assert.equal(await watching.ended, undefined);
  });

  describe('when the stream breaks', () => {
    const breaks: [string, () => void | Promise<void>, RegExp][] = [
      [
        'the daemon ends it',
        () => daemon.endStreams(),
        /^the stream of events from "unix:.*" broke: the daemon ended it$/,
      ],
      ['the daemon dies', () => daemon.die(), /^the stream of events from "unix:.*" broke: (aborted|read ECONNRESET)$/],
    ];
    for (const [title, act, message] of breaks) {
      it(`rejects, because ${title}`, async () => {
        const watching = watch(makeSource());
        await watching.up;
        await act();
        assert.match(describeError(await watching.ended), message);
      });
    }

    it('rejects where that happens while it lists', async () => {
      daemon.misbehaviours.push([/containers\/json/, neverAnswer]);
      const listing = daemon.called(/containers\/json/);
      const watching = watch(makeSource());
      await listing;
      daemon.endStreams();
      assert.match(describeError(await watching.ended), /broke: the daemon ended it$/);
    });

    it('asks again from a second before the last event, and tells no event twice', async () => {
      const source = makeSource();
      const first = watch(source);
      await first.up;
      daemon.send(docker20.start, docker20.oom);
      await first.until(2);
      daemon.endStreams();
      await first.ended;
      daemon.replay = [docker20.start, docker20.oom, docker20.die];
      daemon.calls.length = 0;
      const second = watch(source);
      await second.up;
      assert.deepEqual(second.kinds(), ['container_exited', 'container_removed'], 'and it is not listed any more');
    });

    it('tells what it missed by the events, where the daemon remembers them, before it lists', async () => {
      const id = docker20.containerId;
      daemon.containers.set(id, container(id, startedByEvent));
      const source = makeSource();
      const first = watch(source);
      await first.up;
      daemon.endStreams();
      await first.ended;
      daemon.containers.set(id, container(id, { ...ended('2026-11-21T06:58:02.13Z'), ExitCode: 137 }));
      daemon.replay = [docker20.oom, docker20.die];
      const second = watch(source);
      await second.up;
      assert.deepEqual(second.kinds(), ['oom_hinted', 'container_exited', 'container_seen']);
    });

    it('does not ask for what was before its first subscription', async () => {
      const source = makeSource();
      for (const watching of [watch(source), watch(source)]) {
        await watching.up;
        watching.stop();
        await watching.ended;
      }
      assert.equal(daemon.calls.filter((call) => call.includes(`/events?since=${nowMs / 1000}&`)).length, 2);
    });

    it('tells what became of the containers meanwhile: removed, ended, renamed', async () => {
      const [gone, exited, renamed] = ['a', 'b', 'c'].map((digit) => digit.repeat(64)) as [string, string, string];
      for (const id of [gone, exited, renamed]) daemon.containers.set(id, container(id, {}));
      const source = makeSource();
      const first = watch(source);
      await first.up;
      daemon.endStreams();
      await first.ended;

      daemon.containers.delete(gone);
      daemon.containers.set(exited, container(exited, { ...ended('2026-11-21T07:01:59Z'), ExitCode: 137 }));
      daemon.containers.set(renamed, container(renamed, {}, { Name: '/other' }));
      const second = watch(source);
      await second.up;
      const told = second.seen.map((seen) => {
        assert.ok(seen.kind === 'container_removed' || seen.kind === 'container_seen');
        return seen.kind === 'container_removed'
          ? [seen.kind, seen.containerId]
          : [seen.kind, seen.containerId, seen.name, seen.running, seen.exitCode];
      });
      assert.deepEqual(told, [
        ['container_removed', gone],
        ['container_seen', exited, 'bb', false, 137],
        ['container_seen', renamed, 'other', true, undefined],
      ]);
    });

    it('does not bring up again a container that ended long ago', async () => {
      let clockMs = nowMs;
      const source = makeSource({ clock: () => clockMs, graceMs: 300_000 });
      daemon.containers.set(anId, container(anId, ended('2026-11-21T07:01:00Z')));
      const first = watch(source);
      await first.up;
      assert.equal(first.seen.length, 1);
      daemon.endStreams();
      await first.ended;
      clockMs += 3_600_000;
      const second = watch(source);
      await second.up;
      assert.deepEqual(second.seen, []);
    });

    it('stays with the daemon that it found first', async (t) => {
      const hostRoot = await mkdtemp(join(tmpdir(), 'exit137-root-'));
      t.after(() => rm(hostRoot, { recursive: true }));
      const docker = await DockerDaemon.start(join(hostRoot, 'run/docker.sock'));
      t.after(() => docker.stop());
      const podman = await DockerDaemon.start(join(hostRoot, 'run/podman/podman.sock'));
      t.after(() => podman.stop());
      const source = makeSource({ endpoint: undefined, hostRoot });
      const first = watch(source);
      await first.up;
      await docker.die();
      await first.ended;
      const second = watch(source);
      assert.equal(
        describeError(await second.ended),
        `cannot ask for the version of the daemon at "${docker.endpoint}": connect ENOENT ${docker.socketPath}`,
      );
      assert.deepEqual(podman.calls, []);
    });
  });

  describe('on bad days', () => {
    it('rejects with the reason where there is no daemon', async () => {
      const watching = watch(makeSource({ endpoint: 'unix:///no/such.sock' }));
      assert.equal(
        describeError(await watching.ended),
        'cannot ask for the version of the daemon at "unix:///no/such.sock": connect ENOENT /no/such.sock',
      );
    });

    for (const [what, call] of [
      ['ask for the version of the daemon', /version/],
      ['subscribe to events', /events/],
      ['list the containers', /containers\/json/],
    ] as const) {
      it(`rejects where the daemon never answers when it is to ${what}`, async () => {
        daemon.misbehaviours.push([call, neverAnswer]);
        const watching = watch(makeSource({ timeoutMs: 1000 }));
        assert.equal(
          describeError(await watching.ended),
          `cannot ${what} at "${daemon.endpoint}": no answer within 1000 ms`,
        );
      });
    }

    it('rejects where the connection breaks in the middle of an answer', async () => {
      daemon.misbehaviours.push([
        /containers\/json/,
        (response) => {
          response.writeHead(200, { 'Content-Length': '1000' });
          response.write('[', () => response.socket!.destroy());
        },
      ]);
      const watching = watch(makeSource());
      assert.match(describeError(await watching.ended), /^cannot list the containers at /);
    });

    it('rejects where it may not list, with what the daemon says', async () => {
      daemon.misbehaviours.push([/containers\/json/, answerWith(403, '{"message":"forbidden by the proxy"}')]);
      const watching = watch(makeSource());
      assert.match(describeError(await watching.ended), /^cannot list the containers at .*403.*forbidden by the proxy/);
    });

    it('rejects where the list is not one, with what it is', async () => {
      daemon.misbehaviours.push([/containers\/json/, answerWith(200, '<html>no</html>')]);
      const watching = watch(makeSource());
      assert.equal(describeError(await watching.ended), 'cannot read the list of containers "<html>no</html>"');
    });

    it('tells a container that cannot be inspected, and goes on with the others', async () => {
      daemon.containers.set(anId, inspections.docker28Running);
      daemon.containers.set(anotherId, container(anotherId, {}));
      daemon.misbehaviours.push([new RegExp(`containers/${anId}`), answerWith(500, '{"message":"bro\\nken"}')]);
      const watching = watch(makeSource());
      await watching.up;
      assert.deepEqual(
        watching.seen.map((seen) => 'containerId' in seen && seen.containerId),
        [anotherId],
      );
      assert.equal(bad.length, 1);
      assert.match(bad[0]!, /^container cannot be inspected: cannot inspect container "9bbc.*bro\\u000aken$/);
    });

    it('tells lines that are no events, and goes on with the next', async () => {
      const watching = watch(makeSource());
      await watching.up;
      daemon.send('not json', '{"Action":"die","Actor":{"ID":"x"}}', 'y'.repeat(2 ** 20 + 1), docker20.oom);
      await watching.until(1);
      assert.deepEqual(watching.kinds(), ['oom_hinted']);
      assert.deepEqual(bad, [
        'event is not a JSON object: not json',
        'event has no container id of 64 hex digits: x',
        `event is longer than 1048576 bytes: ${'y'.repeat(200)}…`,
      ]);
    });
  });

  describe('when it is told to stop', () => {
    it('does not begin where that was before', async () => {
      const stopped = AbortSignal.abort();
      await makeSource().observe(() => assert.fail(), assert.fail, stopped);
      assert.deepEqual(daemon.calls, []);
    });

    for (const [when, call] of [
      ['asks for the version', /version/],
      ['subscribes', /events/],
      ['lists', /containers\/json/],
      ['inspects', /containers\/[0-9a-f]{64}/],
    ] as const) {
      it(`resolves while it ${when}, and leaves no connection open`, async () => {
        daemon.containers.set(anId, inspections.docker28Running);
        daemon.misbehaviours.push([call, neverAnswer]);
        const called = daemon.called(call);
        const watching = watch(makeSource());
        await called;
        watching.stop();
        assert.equal(await watching.ended, undefined);
        await untilClosed(daemon);
        assert.deepEqual(bad, []);
      });
    }

    it('resolves while it follows events, and leaves no connection open', async () => {
      const watching = watch(makeSource());
      await watching.up;
      assert.equal(daemon.openConnections, 1);
      watching.stop();
      assert.equal(await watching.ended, undefined);
      await untilClosed(daemon);
    });
  });
});

/** The daemon learns of it by its own event loop, some ticks later. */
async function untilClosed(daemon: DockerDaemon): Promise<void> {
  await eventually('no connection is open', () => daemon.openConnections === 0 || undefined);
}
