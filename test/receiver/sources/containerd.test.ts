import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import {
  ContainerNoticeSchema,
  ContainerUpdateSchema,
  TaskExitSchema,
  TaskNoticeSchema,
  TaskStartSchema,
} from '../../../receiver/grpc/generated/containerd/events_pb.ts';
import { Status } from '../../../receiver/grpc/generated/containerd/task_pb.ts';
import type { Observation } from '../../../receiver/observation.ts';
import { keepObserving } from '../../../receiver/source.ts';
import { ContainerdSource, type ContainerdSourceOptions } from '../../../receiver/sources/containerd.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FakeContainerd, timestampOf } from './fake-containerd.ts';

const [web, db, other] = ['a', 'b', 'c'].map((digit) => digit.repeat(64)) as [string, string, string];
const uid = '5a1f3c62-0b5e-4a51-9e0f-6f1f5b1d2c3e';
const criMetadata = 'io.cri-containerd.container.metadata';

/** Higher than any pid: of no process of this machine. */
const pid = 2 ** 30;

function labelsOf(name: string): Record<string, string> {
  return { 'io.kubernetes.pod.uid': uid, 'io.kubernetes.pod.name': 'web-0', 'io.kubernetes.container.name': name };
}

describe('the containerd source', () => {
  let folder: string;
  let socket: string;
  let fake: FakeContainerd;
  let stop: AbortController;
  let observing: Promise<void>;
  let seen: Observation[];
  let bad: string[];
  let failures: string[];
  let ups: number;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'exit137-containerd-'));
    socket = join(folder, 'containerd.sock');
    fake = new FakeContainerd();
    [seen, bad, failures, ups, observing] = [[], [], [], 0, Promise.resolve()];
    stop = new AbortController();
    await fake.listen(socket);
  });

  afterEach(async () => {
    stop.abort();
    await observing;
    fake.stop();
    await rm(folder, { recursive: true });
  });

  function makeSource(options: Partial<ContainerdSourceOptions> = {}): ContainerdSource {
    return new ContainerdSource({
      endpoint: socket,
      hostRoot: '/',
      timeoutMs: 5_000,
      namespaces: ['k8s.io'],
      retoldWithinMs: 50,
      onBadInput: (what) => bad.push(what),
      ...options,
    });
  }

  async function observe(source = makeSource()): Promise<void> {
    const watcher = { up: () => void ups++, down: (error: unknown) => failures.push((error as Error).message) };
    observing = keepObserving(source, (observation) => seen.push(observation), watcher, stop.signal);
    await until('the source works', () => ups === 1);
  }

  async function until(what: string, isSo: () => boolean): Promise<void> {
    await eventually(what, () => isSo() || undefined);
  }

  /** An event that comes after all others. */
  async function untilTaken(): Promise<void> {
    const before = seen.length;
    fake.publish('/tasks/oom', TaskNoticeSchema, { containerId: other });
    await until('the events are taken', () => seen.slice(before).some(({ kind }) => kind === 'oom_hinted'));
  }

  function told(containerId: string): Observation[] {
    return seen.filter((one) => 'containerId' in one && one.containerId === containerId);
  }

  function kindsOf(containerId: string): string[] {
    return told(containerId).map(({ kind }) => kind);
  }

  function ended(id: string, exitStatus: number, atMs = Date.now(), of = id, ofPid = pid): void {
    const exitedAt = timestampOf(atMs);
    fake.publish('/tasks/exit', TaskExitSchema, { containerId: of, id, pid: ofPid, exitStatus, exitedAt }, atMs);
  }

  function runs(id: string, name = 'app'): void {
    fake.containers.get('k8s.io')!.push({ id, labels: labelsOf(name), image: 'shop/web:3' });
    fake.tasks.get('k8s.io')!.push({ id, pid, status: Status.RUNNING });
  }

  async function restartDaemon(): Promise<void> {
    fake.stop();
    await fake.listen(socket);
    await until('the source works again', () => ups === 2);
  }

  it('subscribes to what concerns it before it lists what is there', async () => {
    await observe(makeSource({ namespaces: ['k8s.io', 'apps'] }));
    // The first version is that of the probe.
    const topics = String.raw`topic~="^/(tasks/(start|exit|oom|paused|resumed)|containers/(create|update|delete))$"`;
    assert.deepEqual(fake.calls, [
      'version',
      `subscribe namespace=="k8s.io",${topics} namespace=="apps",${topics}`,
      'version',
      'tasks k8s.io',
      'containers k8s.io',
      'tasks apps',
      'containers apps',
    ]);
  });

  it('goes on with names and events while shims hold up the listing of tasks, and lists again', async () => {
    runs(web);
    runs(db, 'db');
    fake.taskListsHang = 1;
    const { promise, resolve: answer } = Promise.withResolvers<void>();
    fake.taskListsWait = promise;
    await observe(makeSource({ timeoutMs: 1_000, listsAgainAfterMs: 50 }));
    assert.deepEqual(kindsOf(web), ['container_seen']);
    assert.partialDeepStrictEqual(told(web)[0], { running: false, pod: { uid, containerName: 'app' } });
    ended(db, 137);
    await until('an end is told meanwhile', () => kindsOf(db).includes('container_exited'));
    assert.ok(bad.includes('tasks cannot be listed in time: a shim hangs, most likely'));
    assert.deepEqual([ups, failures], [1, []]);
    answer();
    await until('web runs', () => told(web).some((one) => one.kind === 'container_seen' && one.pid === pid));
    assert.equal(fake.calls.filter((call) => call.startsWith('subscribe')).length, 1);
  });

  it('tells what runs, what is paused and what has just ended, and nothing of what never ran or ended long ago', async () => {
    const nowMs = Date.now();
    const ids = ['0', '1', '2', '3', '4', '5'].map((digit) => digit.repeat(64));
    const states = [
      { status: Status.RUNNING },
      { status: Status.PAUSED },
      { status: Status.STOPPED, exitStatus: 3, exitedAt: timestampOf(nowMs - 1000) },
      { status: Status.STOPPED, exitStatus: 3, exitedAt: timestampOf(nowMs - 3_600_000) },
      { status: Status.CREATED },
      undefined,
    ];
    for (const [n, state] of states.entries()) {
      fake.containers.get('k8s.io')!.push({ id: ids[n]!, createdAt: timestampOf(nowMs - 5000) });
      if (state !== undefined) fake.tasks.get('k8s.io')!.push({ id: ids[n]!, pid, ...state });
    }
    await observe();
    assert.deepEqual(
      seen.map((one) => one.kind === 'container_seen' && [one.running, one.paused, one.pid, one.exitCode]),
      [
        [true, false, pid, undefined],
        [true, true, pid, undefined],
        [false, false, undefined, 3],
      ],
    );
    for (const one of seen) {
      assert.ok(one.kind === 'container_seen');
      // No process of that pid is there to tell.
      assert.equal(one.startedAtMs, nowMs - 5000);
      assert.equal(one.finishedAtMs, one.running ? undefined : nowMs - 1000);
    }
  });

  it('knows who it is that starts, before that is gone', async () => {
    await observe();
    const metadata = {
      Version: 'v1',
      Metadata: {
        Config: {
          metadata: { name: 'app', attempt: 2 },
          image: { image: 'sha256:4f1e', user_specified_image: 'web:latest' },
          annotations: { 'io.kubernetes.container.restartCount': '2' },
        },
      },
    };
    const extensions = { [criMetadata]: { value: Buffer.from(JSON.stringify(metadata)) } };
    fake.containers.get('k8s.io')!.push({ id: web, labels: labelsOf('app'), image: 'shop/web:3', extensions });
    fake.publish('/containers/create', ContainerNoticeSchema, { id: web });
    await until('it was asked for', () => fake.calls.includes(`container ${web}`));
    await untilTaken();
    assert.deepEqual(kindsOf(web), []);
    fake.containers.set('k8s.io', []);
    fake.publish('/tasks/start', TaskStartSchema, { containerId: web, pid });
    ended(web, 0);
    fake.publish('/containers/delete', ContainerNoticeSchema, { id: web });
    await until('it is gone', () => kindsOf(web).includes('container_removed'));
    const [started, running, exited] = told(web);
    assert.ok(started?.kind === 'container_started' && running?.kind === 'container_seen');
    const pod = { uid, namespace: undefined, name: 'web-0', containerName: 'app', restartCount: 2 };
    assert.deepEqual([started.pod, started.image, started.name], [pod, 'web:latest', 'app']);
    assert.deepEqual([running.running, running.pid, running.startedAtMs], [true, pid, started.atMs]);
    assert.ok(exited?.kind === 'container_exited');
    assert.equal(exited.exitCode, 0);
    assert.deepEqual(kindsOf(web), ['container_started', 'container_seen', 'container_exited', 'container_removed']);
  });

  it('tells nothing of a container that was just made before it knows who it is, though all comes at once', async () => {
    await observe();
    fake.containers.get('k8s.io')!.push({ id: web, labels: labelsOf('app'), image: 'shop/web:3' });
    fake.publish('/containers/create', ContainerNoticeSchema, { id: web });
    fake.publish('/tasks/start', TaskStartSchema, { containerId: web, pid });
    ended(web, 137);
    await until('its end is told', () => kindsOf(web).includes('container_exited'));
    assert.deepEqual(kindsOf(web), ['container_started', 'container_seen', 'container_exited']);
    for (const one of told(web).slice(0, 2)) assert.partialDeepStrictEqual(one, { pod: { containerName: 'app' } });
  });

  it('takes no exit of an exec for that of the container', async () => {
    runs(web);
    await observe();
    ended('probe-1', 1, Date.now(), web, pid + 1);
    ended('probe-2', 137, Date.now(), web, pid + 2);
    await untilTaken();
    assert.deepEqual(kindsOf(web), ['container_seen']);
  });

  it('tells each start and each end once, however often a shim tells them', async () => {
    runs(web);
    await observe();
    const atMs = Date.now();
    fake.publish('/tasks/start', TaskStartSchema, { containerId: web, pid }, atMs);
    for (let n = 0; n < 3; n++) ended(web, 137, atMs + 5);
    fake.publish('/tasks/start', TaskStartSchema, { containerId: web, pid }, atMs);
    // Another life, in the same container.
    fake.publish('/tasks/start', TaskStartSchema, { containerId: web, pid: pid + 1 }, atMs + 10);
    ended(web, 137, atMs + 5);
    ended(web, 0, atMs + 20, web, pid + 1);
    await untilTaken();
    const lives = kindsOf(web).filter((kind) => kind !== 'container_seen');
    assert.deepEqual(lives, ['container_exited', 'container_started', 'container_exited']);
  });

  it('leaves out namespaces that it was not asked for, whatever comes', async () => {
    await observe();
    fake.publish('/tasks/start', TaskStartSchema, { containerId: web, pid }, Date.now(), 'moby');
    await untilTaken();
    assert.deepEqual(kindsOf(web), []);
  });

  it('asks again who a container is only where an update changed what users wrote', async () => {
    runs(web);
    await observe();
    const [container] = fake.containers.get('k8s.io')!;
    const same = { id: web, image: 'shop/web:3', labels: labelsOf('app') };
    fake.publish('/containers/update', ContainerUpdateSchema, same);
    await untilTaken();
    assert.ok(!fake.calls.includes(`container ${web}`));
    container!.labels = { ...labelsOf('app'), team: 'a' };
    fake.publish('/containers/update', ContainerUpdateSchema, { ...same, labels: container!.labels });
    await until('it is told', () => kindsOf(web).length === 2);
    const [first, last] = told(web);
    assert.ok(first?.kind === 'container_seen' && last?.kind === 'container_seen');
    assert.deepEqual([last.labels?.['team'], last.running, last.startedAtMs], ['a', true, first.startedAtMs]);
  });

  it('tells what is paused and what goes on', async () => {
    runs(web);
    await observe();
    fake.publish('/tasks/paused', TaskNoticeSchema, { containerId: web });
    fake.publish('/tasks/resumed', TaskNoticeSchema, { containerId: web });
    await untilTaken();
    const paused = told(web).flatMap((one) => (one.kind === 'container_paused' ? [one.paused] : []));
    assert.deepEqual(paused, [true, false]);
  });

  it('tells with its code, after a gap, the end that the task or the CRI plugin still has, and which containers are gone', async () => {
    for (const id of [web, db, other]) runs(id);
    await observe(makeSource({ retoldWithinMs: 60_000 }));
    const endedAtMs = Date.now() + 1;
    const [containers, tasks] = [fake.containers.get('k8s.io')!, fake.tasks.get('k8s.io')!];
    Object.assign(tasks[0]!, { status: Status.STOPPED, exitStatus: 7, exitedAt: timestampOf(endedAtMs) });
    tasks.splice(1);
    containers.splice(2);
    fake.ends.set(db, { atMs: endedAtMs, exitCode: 9 });
    await restartDaemon();
    await until('the end is told', () => kindsOf(db).length === 2);
    const ends = [web, db].map((id) => told(id).at(-1));
    for (const [n, exitCode] of [7, 9].entries()) {
      const one = ends[n];
      assert.ok(one?.kind === 'container_seen');
      assert.deepEqual([one.running, one.exitCode, Math.round(one.finishedAtMs!)], [false, exitCode, endedAtMs]);
    }
    assert.deepEqual(kindsOf(other), ['container_seen', 'container_removed']);
  });

  it('tells an end without its code where nobody knows it, also not the CRI plugin', async () => {
    for (const id of [web, db]) runs(id);
    await observe();
    fake.tasks.set('k8s.io', []);
    fake.ends.set(db, { atMs: Date.now() + 1, exitCode: 255, reason: 'Unknown' });
    await restartDaemon();
    for (const id of [web, db]) {
      await until('the end is told', () => kindsOf(id).length === 2);
      const one = told(id).at(-1);
      assert.ok(one?.kind === 'container_seen');
      assert.deepEqual([one.running, one.exitCode], [false, undefined]);
    }
    await restartDaemonAgain();
    assert.deepEqual(kindsOf(web), ['container_seen', 'container_seen']);
  });

  async function restartDaemonAgain(): Promise<void> {
    fake.stop();
    await fake.listen(socket);
    await until('the source works once more', () => ups === 3);
  }

  it('waits no longer for ends that were missed where the CRI plugin hangs, however many they are', async () => {
    const ids = Array.from({ length: 20 }, (_, n) => n.toString(16).padStart(64, '0'));
    for (const id of ids) runs(id);
    await observe(makeSource({ timeoutMs: 2_000, retoldWithinMs: 300 }));
    fake.tasks.set('k8s.io', []);
    fake.criHangs = true;
    await restartDaemon();
    await until('all ends are told', () => ids.every((id) => kindsOf(id).length === 2));
  });

  it('waits for the shim to tell an end that was missed', async () => {
    runs(web);
    await observe(makeSource({ retoldWithinMs: 60_000 }));
    fake.tasks.set('k8s.io', []);
    await restartDaemon();
    ended(web, 137);
    await until('the end is told', () => kindsOf(web).includes('container_exited'));
    assert.deepEqual(kindsOf(web), ['container_seen', 'container_exited']);
  });

  it('does not tell a container as running that ended while it was listed', async () => {
    runs(web);
    await observe();
    fake.meanwhile.set('tasks k8s.io', () => ended(web, 137));
    await restartDaemon();
    await until('the end is told', () => kindsOf(web).includes('container_exited'));
    await untilTaken();
    const running = told(web).map((one) => one.kind === 'container_seen' && one.running);
    assert.deepEqual(running.lastIndexOf(true) < kindsOf(web).indexOf('container_exited'), true);
  });

  it('tells who it was that ended while it was listed for the first time', async () => {
    runs(web);
    fake.meanwhile.set('tasks k8s.io', () => ended(web, 137));
    await observe();
    await until('both are told', () => told(web).length >= 2);
    const [exited, known] = told(web);
    assert.deepEqual([exited?.kind, known?.kind], ['container_exited', 'container_seen']);
    assert.ok(known?.kind === 'container_seen' && !known.running && known.pod?.containerName === 'app');
  });

  it('goes on with the lives that an earlier run knew', async () => {
    runs(web);
    runs(db);
    const source = makeSource();
    const startedAtMs = Date.now() - 10_000;
    source.resume([
      { id: web, pid, startedAtMs },
      { id: db, pid: pid + 1, startedAtMs, endedAtMs: startedAtMs + 10 },
      { id: other, pid, startedAtMs },
    ]);
    await observe(source);
    const [one, another] = [web, db].map((id) => told(id)[0]);
    assert.ok(one?.kind === 'container_seen' && another?.kind === 'container_seen');
    assert.equal(one.startedAtMs, startedAtMs);
    assert.ok(another.startedAtMs! >= startedAtMs + 10);
    assert.deepEqual(kindsOf(other), ['container_removed']);
  });

  it('cuts what users wrote, and tells what it cannot use', async () => {
    const labels = { ...labelsOf('app'), long: 'x'.repeat(65_536), 'io.kubernetes.pod.name': 'web\u0000\n'.repeat(99) };
    const extensions = { [criMetadata]: { value: Buffer.from('{') } };
    fake.containers.get('k8s.io')!.push({ id: web, labels, extensions }, { id: 'by-hand', labels });
    for (const id of [web, 'by-hand']) fake.tasks.get('k8s.io')!.push({ id, pid, status: Status.RUNNING });
    await observe();
    fake.publish('/tasks/start', TaskStartSchema, { containerId: '../../etc', pid });
    fake.publishBytes('/tasks/exit', Buffer.from([0xff, 0xff, 0xff]));
    fake.publishBytes('/tasks/exit', Buffer.alloc(0));
    await untilTaken();
    assert.deepEqual(
      seen.map(({ kind }) => kind),
      ['container_seen', 'oom_hinted'],
    );
    const [one] = told(web);
    assert.ok(one?.kind === 'container_seen');
    assert.equal(one.labels?.['long']?.length, 1024);
    assert.match(one.pod!.name!, /^(?:web)+$/);
    assert.deepEqual(
      new Set(bad),
      new Set([
        'metadata of a container is not JSON',
        'label value is longer than 1024 characters',
        'label io.kubernetes.pod.name is no name of Kubernetes',
        'listed container has no id of 64 hex digits',
        'event has no container id of 64 hex digits',
        'event cannot be decoded',
      ]),
    );
  });

  it('remembers no container that is gone', async () => {
    const source = makeSource();
    await observe(source);
    for (let n = 0; n < 3_000; n++) {
      const id = n.toString(16).padStart(64, '0');
      fake.publish('/tasks/start', TaskStartSchema, { containerId: id, pid });
      ended(id, 0);
      fake.publish('/containers/delete', ContainerNoticeSchema, { id });
    }
    await untilTaken();
    assert.equal(seen.filter(({ kind }) => kind === 'container_removed').length, 3_000);
    assert.equal(source.remembered, 0);
  });

  it('says why it cannot work, and works once it can', async () => {
    fake.endStreams();
    const missing = join(folder, 'none.sock');
    await assert.rejects(
      makeSource({ endpoint: missing }).observe(
        () => {},
        () => {},
        stop.signal,
      ),
      /cannot connect to ".*none.sock": connect ENOENT/,
    );
    await observe();
    fake.endStreams();
    await until('the source works again', () => ups === 2);
    assert.deepEqual(failures, [`containerd ended the stream of events from "${socket}"`]);
  });
});
