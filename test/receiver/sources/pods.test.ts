import assert from 'node:assert/strict';
import { suite, test, type TestContext } from 'node:test';
import type { PodDirectory, PodInstance, PodReport } from '../../../pipelines/component.ts';
import type { Observation } from '../../../receiver/observation.ts';
import { PodsSource } from '../../../receiver/sources/pods.ts';
import { eventually } from '../../helpers/eventually.ts';
import { graceMs, noonMs, startNode, type Node } from '../node.ts';
import { idOf, observationsOf, victimOf } from '../observations.ts';
import { uidOf } from '../pods.ts';

/** An instance of `app`, as containerd runs it. */
function instance(n: number, facts: Partial<PodInstance> = {}): PodInstance {
  return {
    containerId: `containerd://${idOf(n)}`,
    name: 'app',
    image: 'docker.io/library/web:1.2',
    restartCount: 0,
    running: true,
    startedAtMs: noonMs,
    finishedAtMs: undefined,
    exitCode: undefined,
    ...facts,
  };
}

const ended = (n: number, exitCode: number, atMs: number, restartCount = 0) =>
  instance(n, { running: false, exitCode, startedAtMs: atMs - 1_000, finishedAtMs: atMs, restartCount });

/** Knows one pod, `web-0`. */
class OnePod implements PodDirectory {
  report: PodReport = { uid: uidOf(1), namespace: 'shop', name: 'web-0', instances: [], isWaiting: true };
  #seen: ((pod: PodReport) => void) | undefined;

  /** How often it was asked for a pod, which is for each group that may be the sandbox. */
  asked = 0;

  get(uid: string): PodReport | undefined {
    this.asked++;
    return uid === this.report.uid ? this.report : undefined;
  }

  async follow(seen: (pod: PodReport) => void): Promise<void> {
    this.#seen = seen;
    seen(this.report);
  }

  tell(instances: readonly PodInstance[], isWaiting = false): void {
    this.report = { ...this.report, instances, isWaiting };
    this.#seen?.(this.report);
  }
}

interface Running {
  node: Node;
  pod: OnePod;
  bad: string[];
  /** The group of a container of the pod is there. */
  makeGroup: (n: number) => void;
}

async function start(context: TestContext): Promise<Running> {
  const node = startNode();
  const pod = new OnePod();
  const bad: string[] = [];
  const stop = new AbortController();
  const emit = (observation: Observation): void => void node.take(observation);
  const source = new PodsSource({
    pods: pod,
    table: node.table,
    graceMs,
    clock: () => node.clock.wallMs,
    onBadInput: (what) => bad.push(what),
  });
  const up = Promise.withResolvers<void>();
  const observed = source.observe(emit, up.resolve, stop.signal);
  context.after(async () => {
    stop.abort();
    await observed;
  });
  await up.promise;
  const makeGroup = (n: number): void =>
    emit(observationsOf(idOf(n)).appeared(node.clock.wallMs, true, `/kubepods/burstable/pod${uidOf(1)}/${idOf(n)}`));
  return { node, pod, bad, makeGroup };
}

suite('without a runtime, the statuses of pods', () => {
  test('name a container, and make one workload of its instances', async (context) => {
    const { node, pod, makeGroup } = await start(context);
    node.clock.pass(2_000);
    makeGroup(1);
    pod.tell([instance(1, { startedAtMs: noonMs + 1_000 })]);
    const { pod: facts, image, runtime, life } = node.table.get(idOf(1))!;
    const names = { uid: uidOf(1), namespace: 'shop', name: 'web-0', containerName: 'app' };
    assert.deepEqual(facts, { ...names, restartCount: 0 });
    assert.deepEqual([image, runtime, life?.startedAtMs], ['docker.io/library/web:1.2', 'containerd', noonMs + 1_000]);
    node.clock.pass(10_000);
    pod.tell([ended(1, 1, noonMs + 10_000), instance(2, { restartCount: 1, startedAtMs: noonMs + 11_000 })]);
    assert.equal(node.workloadOf(2), node.workloadOf(1));
    node.settle();
    const { restarts, exits } = node.workloadOf(2);
    assert.deepEqual([restarts, exits.error, exits.oom_killed], [1, 1, 0]);
    assert.deepEqual(node.kinds(), ['exit', 'restart']);
  });

  test('tell of a crash loop', async (context) => {
    const { node, pod } = await start(context);
    for (let n = 1; n <= 5; n++) {
      node.clock.pass(10_000);
      const nowMs = node.clock.wallMs;
      const before = n === 1 ? [] : [ended(n - 1, 1, nowMs - 5_000, n - 2)];
      pod.tell([...before, instance(n, { restartCount: n - 1, startedAtMs: nowMs - 1_000 })]);
      node.settleNow();
    }
    assert.equal(node.workloadOf(5).restarts, 4);
    assert.ok(node.kinds().includes('crash_loop'), node.kinds().join());
  });

  test('explain the exit of a container that was killed', async (context) => {
    const { node, pod, makeGroup } = await start(context);
    node.clock.pass(2_000);
    makeGroup(1);
    pod.tell([instance(1, { startedAtMs: noonMs + 1_000 })]);
    node.take({
      kind: 'oom_kills_counted',
      containerId: idOf(1),
      atMs: node.clock.wallMs,
      memcg: `/kubepods/burstable/pod${uidOf(1)}/${idOf(1)}`,
      oomKills: 1,
    });
    pod.tell([ended(1, 137, noonMs + 2_000)]);
    node.settle();
    const exit = node.told.find((incident) => incident.kind === 'exit');
    assert.equal(exit?.reason, 'oom_killed');
    assert.equal(node.workloadOf(1).oomKills, 1);
  });

  test('tell the second of an end, in which the log may name the victim whom no counter shows', async (context) => {
    for (const namedFirst of [true, false]) {
      const { node, pod, makeGroup } = await start(context);
      const memcg = `/kubepods/burstable/pod${uidOf(1)}/${idOf(1)}`;
      node.take(totalOf(node, 40));
      makeGroup(1);
      pod.tell([instance(1)]);
      node.clock.pass(5_700);
      node.take(totalOf(node, 41), observationsOf(idOf(1)).gone(node.clock.wallMs + 50, memcg));
      const named = victimOf(idOf(1), node.clock.wallMs, 71, { memcg });
      if (namedFirst) node.take(named);
      node.clock.pass(500);
      pod.tell([ended(1, 137, noonMs + 5_000)]);
      if (!namedFirst) node.clock.pass(5_000);
      node.settleNow();
      if (!namedFirst) node.take(named);
      node.settle();
      assert.deepEqual(node.kinds(), ['oom_kill', 'exit'], `named first: ${namedFirst}`);
      assert.equal(node.correlator.ledger.openKills, 0);
    }
  });

  test('tell the second of an end, which a kill explains that is counted soon after it', async (context) => {
    for (const ownCounter of [true, false]) {
      const { node, pod, makeGroup } = await start(context);
      const memcg = `/kubepods/burstable/pod${uidOf(1)}/${idOf(1)}`;
      const { counted, gone } = observationsOf(idOf(1));
      node.take(totalOf(node, 40));
      makeGroup(1);
      pod.tell([instance(1)]);
      node.clock.pass(5_950);
      if (!ownCounter) node.take(gone(node.clock.wallMs, memcg));
      node.clock.pass(200);
      node.take(totalOf(node, 41));
      if (ownCounter) node.take(counted(node.clock.wallMs, 1, { memcg }), gone(node.clock.wallMs, memcg));
      node.clock.pass(6_000);
      node.settleNow();
      pod.tell([ended(1, 137, noonMs + 5_000)]);
      node.settle();
      assert.deepEqual(node.kinds(), ['oom_kill', 'exit'], `own counter: ${ownCounter}`);
      assert.equal(node.told.find((one) => one.kind === 'exit')?.cause, 'oom_container');
    }
  });

  test('are of no use where an id is none, or where all was over long ago', async (context) => {
    const { node, pod, bad } = await start(context);
    pod.tell([instance(1, { containerId: 'containerd://../..' }), ended(2, 1, noonMs - graceMs - 1)]);
    assert.deepEqual(bad, ['status of a container has no id of 64 hex digits']);
    assert.equal(node.table.size, 0);
  });
});

test('the source of pods does not work while nobody knows them', async () => {
  const source = new PodsSource({
    pods: { get: () => undefined, follow: () => new Promise(() => {}) },
    table: startNode().table,
    graceMs,
    knownWithinMs: 10,
    onBadInput: () => {},
  });
  const observed = source.observe(
    () => {},
    () => assert.fail('it works'),
    new AbortController().signal,
  );
  await assert.rejects(observed, /nobody tells of the node's pods/);
});

suite('the sandbox of a pod', () => {
  const isSandbox = ({ node }: Running, n: number) =>
    eventually(`${n} is the sandbox`, () => node.table.get(idOf(n))?.sandbox);

  test('is the group that none of the running containers has', async (context) => {
    const running = await start(context);
    const { node, pod, makeGroup } = running;
    makeGroup(1);
    makeGroup(2);
    pod.tell([instance(1)]);
    await isSandbox(running, 2);
    const { sandbox, pod: facts } = node.table.get(idOf(2))!;
    assert.deepEqual([sandbox, facts?.name, facts?.containerName], [true, 'web-0', undefined]);
    assert.notEqual(node.table.get(idOf(1))?.sandbox, true);
  });

  test('is told only after a while as long as a container waits to be started', async (context) => {
    const running = await start(context);
    const { node, pod, makeGroup } = running;
    makeGroup(1);
    makeGroup(2);
    pod.tell([instance(1)], true);
    node.clock.pass(29_000);
    // This one has its name before its time is over.
    makeGroup(3);
    node.clock.pass(2_000);
    await isSandbox(running, 2);
    assert.equal(node.table.get(idOf(3))?.sandbox, undefined);
    pod.tell([instance(1), instance(3, { name: 'other' })]);
    assert.equal(node.table.get(idOf(3))?.pod?.containerName, 'other');
  });

  test('is not the next instance of a container that the status has running still', async (context) => {
    const running = await start(context);
    const { node, pod, makeGroup } = running;
    makeGroup(1);
    makeGroup(2);
    pod.tell([instance(1)]);
    node.take(observationsOf(idOf(1)).gone(node.clock.wallMs, node.table.get(idOf(1))!.memcg));
    makeGroup(3);
    node.clock.pass(60_000);
    const { asked } = pod;
    await eventually('both groups were looked at', () => pod.asked >= asked + 2 || undefined);
    assert.deepEqual([node.table.get(idOf(2))?.sandbox, node.table.get(idOf(3))?.sandbox], [undefined, undefined]);
    pod.tell([ended(1, 1, node.clock.wallMs - 2_000), instance(3, { restartCount: 1 })]);
    await isSandbox(running, 2);
    assert.equal(node.table.get(idOf(3))?.sandbox, false);
  });

  test('is one of each pod: another group is a container that no status has yet', async (context) => {
    const running = await start(context);
    const { node, pod, makeGroup } = running;
    makeGroup(1);
    makeGroup(2);
    pod.tell([instance(1)]);
    await isSandbox(running, 2);
    // A loop goes on while the API server is away.
    node.take(observationsOf(idOf(1)).gone(node.clock.wallMs, node.table.get(idOf(1))!.memcg));
    pod.tell([ended(1, 1, node.clock.wallMs)], true);
    makeGroup(3);
    node.clock.pass(60_000);
    const { asked } = pod;
    makeOtherPodsGroup(running);
    await eventually('the groups were looked at', () => pod.asked > asked || undefined);
    assert.equal(node.table.get(idOf(3))?.sandbox, undefined);
  });

  test('was none where a status names it, however late', async (context) => {
    const running = await start(context);
    const { node, pod, makeGroup } = running;
    makeGroup(3);
    pod.tell([], true);
    node.clock.pass(31_000);
    await isSandbox(running, 3);
    pod.tell([instance(3)]);
    assert.deepEqual([node.table.get(idOf(3))?.sandbox, node.table.get(idOf(3))?.pod?.containerName], [false, 'app']);
    node.clock.pass(1_000);
    pod.tell([ended(3, 1, node.clock.wallMs)]);
    node.settle();
    assert.equal(node.workloadOf(3).exits.error, 1);
  });
});

/** Of a pod that nobody knows, which is asked for as long as that is so. */
function makeOtherPodsGroup({ node }: Running): void {
  const memcg = `/kubepods/burstable/pod${uidOf(9)}/${idOf(9)}`;
  node.take(observationsOf(idOf(9)).appeared(node.clock.wallMs, true, memcg));
}

/** The machine's own count of kills. */
function totalOf({ clock }: Node, total: number): Observation {
  return { kind: 'node_oom_kills_counted', atMs: clock.wallMs, total };
}
