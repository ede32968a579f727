import assert from 'node:assert/strict';
import { afterEach, beforeEach, suite, test } from 'node:test';
import fc from 'fast-check';
import type { Observation } from '../../../receiver/observation.ts';
import { pidOf } from '../../../receiver/sources/cri-container.ts';
import { CriSource, type CriSourceOptions } from '../../../receiver/sources/cri.ts';
import { NothingToObserveError } from '../../../receiver/source.ts';
import { eventually } from '../../helpers/eventually.ts';
import { endedContainer, runningContainer, sandbox, startCriRuntime, type CriRuntime } from './cri-runtime.ts';

const id = '5708cdd225af14ef72c0c2df8ae9b3db6235a6bfe48b1b5ce95dd3d86f06e989';
const sandboxId = '3203691bcdce7490ea1cd10ebdaea65cba862b5fe73d98cdb7c05571c7904258';

/** Who answers does so in this time also where the machine has no CPU for us for a while. */
const answersWithinMs = 1_000;

suite('the source cri', () => {
  let runtime: CriRuntime;
  let source: CriSource;
  let seen: Observation[];
  let bad: string[];
  let stop: AbortController;
  let observing: Promise<void>;

  beforeEach(async () => {
    runtime = await startCriRuntime();
    [seen, bad, stop, observing] = [[], [], new AbortController(), Promise.resolve()];
  });
  afterEach(async () => {
    stop.abort();
    await observing;
    await runtime.stop();
  });

  /** Resolves when the source works. */
  async function observe(options: Partial<CriSourceOptions> = {}): Promise<void> {
    source = new CriSource({
      endpoint: `unix://${runtime.socket}`,
      hostRoot: '/',
      timeoutMs: 2_000,
      pollIntervalMs: 60_000,
      onBadInput: (what) => bad.push(what),
      ...options,
    });
    await begin();
  }

  function begin(): Promise<void> {
    stop = new AbortController();
    return new Promise((up, failed) => {
      observing = source.observe((observation) => seen.push(observation), up, stop.signal);
      observing.catch(failed);
    });
  }

  /** Has it ask once more; resolves when so many observations have been made. */
  async function lookUntil(observations: number): Promise<void> {
    source.lookAt();
    await eventually(`${observations} observations are made`, () => seen.length >= observations || undefined);
  }

  const summary = () =>
    seen.map((observation) => {
      if (observation.kind !== 'container_seen') return observation.kind;
      const { running, exitCode, sandbox: isSandbox } = observation;
      return isSandbox === true ? 'sandbox' : running ? 'runs' : `ended ${exitCode}`;
    });

  test('tells a container with its place in Kubernetes, its pid and its begin, and its sandbox before it', async () => {
    runtime.sandboxes = [sandbox(sandboxId)];
    const startedAtMs = Date.now() - 1_000;
    runtime.containers.set(id, runningContainer(id, startedAtMs));
    await observe();
    assert.deepEqual(summary(), ['sandbox', 'runs']);
    const [ofSandbox, ofContainer] = seen;
    assert.ok(ofSandbox?.kind === 'container_seen' && ofContainer?.kind === 'container_seen');
    assert.equal(ofSandbox.pod?.containerName, undefined);
    assert.equal(ofSandbox.startedAtMs, undefined, 'nobody waits for its end');
    const { pod, pid, runtime: name, image } = ofContainer;
    const uid = 'd1827200-d472-493a-a719-236458d06296';
    const expected = { uid, namespace: 'shop', name: 'web-d1827200', containerName: 'app', restartCount: 2 };
    assert.deepEqual({ ...pod }, expected);
    assert.deepEqual([pid, name, image], [7078, 'cri-o', 'localhost/exit137-test:1']);
    assert.ok(Math.abs(ofContainer.startedAtMs! - startedAtMs) < 0.01);
  });

  test('asks for a status only where the state has changed, and tells an end once', async () => {
    const startedAtMs = Date.now() - 1_000;
    runtime.containers.set(id, runningContainer(id, startedAtMs));
    await observe();
    source.lookAt();
    await eventually('it asked again', () => runtime.calls['ListContainers'] === 2 || undefined);
    assert.equal(runtime.calls['ContainerStatus'], 1);
    runtime.containers.set(id, endedContainer(id, startedAtMs, Date.now(), 137));
    await lookUntil(2);
    const asked = runtime.calls['ListContainers']!;
    source.lookAt();
    await eventually('it asked again', () => runtime.calls['ListContainers']! > asked || undefined);
    assert.deepEqual(summary(), ['runs', 'ended 137']);
    const end = seen[1];
    assert.ok(end?.kind === 'container_seen');
    assert.equal(end.pid, undefined, 'the pid that CRI-O still tells can be that of another process');
  });

  test('tells the begin of a life, too, that went by between two polls', async () => {
    await observe();
    runtime.containers.set(id, endedContainer(id, Date.now() + 1, Date.now() + 5, 3));
    await lookUntil(2);
    assert.deepEqual(summary(), ['runs', 'ended 3']);
  });

  test('takes no exit code that the runtime does not know for one', async () => {
    const [now, others] = [Date.now(), ['1', '2', '3', '4'].map((digit) => id.replaceAll('5', digit))];
    const ends = [
      { exitCode: 255, reason: 'Unknown' },
      { exitCode: 255, reason: 'OOMKilled' },
      { exitCode: 255, reason: 'Error' },
      { exitCode: -1, reason: 'Error' },
    ];
    for (const [n, other] of others.entries()) {
      const ended = endedContainer(other, now - 70_000 + n, now - 1_000, 0);
      runtime.containers.set(other, { ...ended, status: { ...ended.status, ...ends[n] } });
    }
    await observe();
    assert.deepEqual(summary(), ['ended undefined', 'ended undefined', 'ended 255', 'ended undefined']);
  });

  test('tells containers in the order in which they were made', async () => {
    const [now, others] = [Date.now(), ['9', '1', '4', '7', '2', '8'].map((digit) => id.replaceAll('5', digit))];
    for (const [n, other] of others.entries()) runtime.containers.set(other, runningContainer(other, now - n * 100));
    await observe();
    const order = seen.map((observation) => observation.kind === 'container_seen' && observation.containerId);
    assert.deepEqual(order, others.toReversed());
  });

  test('tells of the time before it only what ended lately, and no begin of that', async () => {
    const [now, other] = [Date.now(), id.replaceAll('5', '6')];
    runtime.containers.set(id, endedContainer(id, now - 70_000, now - 61_000, 3));
    runtime.containers.set(other, endedContainer(other, now - 70_000, now - 1_000, 4));
    await observe({ graceMs: 60_000 });
    assert.deepEqual(summary(), ['ended 4']);
  });

  test('tells what has gone, also while nobody observed', async () => {
    runtime.containers.set(id, runningContainer(id, Date.now() - 1_000));
    await observe();
    stop.abort();
    await observing;
    runtime.containers.delete(id);
    await begin();
    assert.deepEqual(summary(), ['runs', 'container_removed']);
  });

  test('goes on where an earlier run stopped', async () => {
    const now = Date.now();
    const [gone, missed] = [id.replaceAll('5', '6'), id.replaceAll('5', '7')];
    runtime.containers.set(missed, endedContainer(missed, now - 600_000, now - 590_000, 5));
    source = new CriSource({
      endpoint: runtime.socket,
      hostRoot: '/',
      timeoutMs: 2_000,
      pollIntervalMs: 60_000,
      graceMs: 1,
    });
    // Those of a containerd beside it are not its to tell of.
    const others = id.replaceAll('5', '8');
    source.resume(now - 700_000, [
      { id: gone, runtime: 'cri-o' },
      { id: others, runtime: 'containerd' },
    ]);
    await begin();
    assert.deepEqual(summary(), ['container_removed', 'runs', 'ended 5']);
  });

  test('counts what it cannot use, and goes on', async () => {
    const startedAtMs = Date.now() - 1_000;
    const hostile = runningContainer(id, startedAtMs);
    hostile.info = { info: '{"pid":' };
    hostile.status.labels = { ...hostile.status.labels, note: 'x'.repeat(65_536), ['__proto__']: '\u0000' };
    runtime.containers.set(id, hostile);
    runtime.containers.set('../../etc', runningContainer('../../etc', startedAtMs));
    const liar = id.replaceAll('5', '6');
    runtime.containers.set(liar, runningContainer(id, startedAtMs));
    runtime.sandboxes = [{ ...sandbox(sandboxId), id: 'no id' }];
    await observe();
    assert.deepEqual(summary(), ['runs']);
    const [told] = seen;
    assert.ok(told?.kind === 'container_seen');
    assert.equal(told.pid, undefined);
    assert.equal(told.labels?.['note']?.length, 1_024);
    assert.deepEqual(bad.toSorted(), [
      'answer about a container has no status or not its id',
      'label value is longer than 1024 characters',
      'listed container has no id of 64 hex digits',
      'listed sandbox has no id of 64 hex digits',
      'verbose status of a container is no JSON',
    ]);
  });

  test('gives up on a runtime that does not answer in time', async () => {
    await observe({ timeoutMs: answersWithinMs });
    runtime.stalls = true;
    source.lookAt();
    await assert.rejects(observing, /DEADLINE_EXCEEDED/);
    observing = Promise.resolve();
  });

  test('tells what a runtime has answered that hangs over some containers, and does not wait for each', async () => {
    const [now, others] = [Date.now(), ['1', '2', '3', '4', '7', '8', '9'].map((digit) => id.replaceAll('5', digit))];
    for (const other of others) runtime.containers.set(other, runningContainer(other, now));
    for (let n = 0; n < 40; n++) {
      const hanging = n.toString(16).padStart(64, '0');
      runtime.containers.set(hanging, runningContainer(hanging, now));
      runtime.hanging.add(hanging);
    }
    await assert.rejects(observe({ timeoutMs: answersWithinMs }), /DEADLINE_EXCEEDED/);
    observing = Promise.resolve();
    assert.equal(seen.length, others.length);
  });

  test('goes on where an earlier run stopped when the source that it waited for turns out not to work', async () => {
    const now = Date.now();
    runtime.containers.set(id, endedContainer(id, now - 600_000, now - 590_000, 5));
    const decided: boolean[] = [];
    const options = { hostRoot: runtime.hostRoot, timeoutMs: 2_000, pollIntervalMs: 60_000, graceMs: 1 };
    source = new CriSource({ ...options, isServed: () => decided[0] });
    source.resume(now - 700_000, []);
    await begin();
    assert.deepEqual(summary(), []);
    decided.push(false);
    await eventually('it has asked', () => seen.length === 2 || undefined);
    assert.deepEqual(summary(), ['runs', 'ended 5']);
  });

  test('finds the runtime at a usual place, and is idle there as long as another source tells the same', async () => {
    let served = true;
    const isServed = (name: string | undefined, socket: string) =>
      served && name === 'cri-o' && socket === runtime.socket;
    await observe({ endpoint: undefined, hostRoot: runtime.hostRoot, isServed });
    assert.deepEqual(runtime.calls, { Version: 1 });
    served = false;
    await eventually('it asks', () => runtime.calls['ListContainers']);
  });

  test('leaves to a later run no time from before another source told the same', async () => {
    const served = [false];
    const isServed = () => served.at(-1)!;
    runtime.containers.set(id, runningContainer(id, Date.now()));
    await observe({ endpoint: undefined, hostRoot: runtime.hostRoot, isServed });
    assert.notEqual(source.polledAtMs, undefined);
    served.push(true);
    source.lookAt();
    await eventually('it is idle', () => source.polledAtMs === undefined || undefined);
    const ended = endedContainer(id, Date.now(), Date.now(), 3);
    served.push(false);
    runtime.containers.set(id, ended);
    await lookUntil(2);
    assert.deepEqual(summary(), ['runs', 'ended 3'], 'and not once more how it began');
  });

  test('asks an endpoint that was asked for, whoever else tells the same', async () => {
    await observe({ isServed: () => true });
    assert.equal(runtime.calls['ListContainers'], 1);
  });

  test('says that there is nothing where no runtime is at a usual place, or one that serves no CRI', async (t) => {
    await assert.rejects(observe({ endpoint: undefined, hostRoot: '/nowhere' }), NothingToObserveError);
    const ofDocker = await startCriRuntime('run/containerd/containerd.sock');
    t.after(() => ofDocker.stop());
    ofDocker.isDisabled = true;
    await assert.rejects(observe({ endpoint: undefined, hostRoot: ofDocker.hostRoot }), NothingToObserveError);
    await assert.rejects(observe({ endpoint: ofDocker.socket }), /UNIMPLEMENTED/);
    observing = Promise.resolve();
  });

  test('reads a pid from any JSON, and no other number', () => {
    assert.equal(
      pidOf('{"pid":7078}', () => assert.fail()),
      7078,
    );
    fc.assert(
      fc.property(fc.json(), (json) => {
        const pid = pidOf(json, () => assert.fail());
        assert.ok(pid === undefined || (Number.isInteger(pid) && pid > 0));
      }),
    );
    fc.assert(
      fc.property(fc.string(), (text) => {
        assert.doesNotThrow(() => pidOf(text, () => {}));
      }),
    );
  });
});
