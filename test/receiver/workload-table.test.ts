import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { ContainerRestart, Incident } from '../../receiver/incident.ts';
import { idOf, observationsOf } from './observations.ts';
import { graceMs, noonMs, startNode, type Node } from './node.ts';
import { instanceOf, uidOf } from './pods.ts';
import { garbageCollector } from '../helpers/garbage-collector.ts';

const minuteMs = 60_000;

/** Lives for a second, is killed by the kernel, and ends. */
function crash({ take, clock }: Node, n: number, attempt?: number): Incident[] {
  const instance = instanceOf(n, { restartCount: attempt });
  const begun = take(instance.appeared(clock.wallMs), instance.started(clock.wallMs));
  clock.pass(1000);
  const killed = take(instance.counted(clock.wallMs), instance.exited(clock.wallMs, 137), instance.gone(clock.wallMs));
  return [...begun, ...killed];
}

describe('the workload of a pod', () => {
  it('goes on with its counters in each instance: a crash loop is one series', () => {
    const run = startNode();
    for (const attempt of [0, 1, 2, 3]) {
      crash(run, 1 + attempt, attempt);
      run.settle();
      run.clock.pass(10_000 * 2 ** attempt);
    }
    const workload = run.workloadOf(4);
    assert.equal(run.workloadOf(1), workload);
    assert.equal(run.table.workloadsOfPods, 1);
    const { restarts, exits, oomKills, lastExitCode } = workload;
    assert.deepEqual(
      { restarts, oom: exits.oom_killed, oomKills, lastExitCode },
      { restarts: 3, oom: 4, oomKills: 4, lastExitCode: 137 },
    );
  });

  it('tells a restart once, with how the instance before it ended', () => {
    const run = startNode();
    crash(run, 1, 0);
    run.settle();
    run.clock.pass(9_000);
    const second = instanceOf(2, { restartCount: 1 });
    const at = run.clock.wallMs;
    const incidents = run.take(
      second.appeared(at - 5),
      second.started(at),
      second.started(at),
      second.seen(at + 10, { startedAtMs: at, restartCount: 0 }),
    );
    const restarts = incidents.filter((incident): incident is ContainerRestart => incident.kind === 'restart');
    assert.equal(restarts.length, 1);
    assert.equal(restarts[0]!.container.id, idOf(2));
    assert.equal(restarts[0]!.previous?.exitCode, 137);
    assert.equal(restarts[0]!.atMs, at);
    assert.equal(run.workloadOf(2).restarts, 1);
  });

  it("counts attempts that were missed by the kubelet's own count", () => {
    const run = startNode();
    crash(run, 1, 2);
    run.clock.pass(graceMs);
    const later = instanceOf(9, { restartCount: 7 });
    run.take(later.seen(run.clock.wallMs, { startedAtMs: run.clock.wallMs - 50 }));
    assert.equal(run.workloadOf(9).restarts, 5);
    assert.equal(run.kinds().filter((kind) => kind === 'restart').length, 1);
  });

  it('does not count what was before its time: the instances that a runtime lists at the start', () => {
    for (const order of [
      [1, 2],
      [2, 1],
    ]) {
      const run = startNode();
      const dead = instanceOf(1, { restartCount: 6 }).seen(noonMs, {
        running: false,
        startedAtMs: noonMs - 60_000,
        finishedAtMs: noonMs - 50_000,
        exitCode: 1,
      });
      const running = instanceOf(2, { restartCount: 7 }).seen(noonMs, { startedAtMs: noonMs - 20_000 });
      run.take(...order.map((n) => (n === 1 ? dead : running)));
      run.settle();
      assert.deepEqual(run.kinds(), []);
      assert.equal(run.workloadOf(2).restarts, 0);
      assert.equal(run.workloadOf(2).lastExitCode, 1);
      assert.equal(run.table.tellsWorkload(run.table.get(idOf(2))!), true);
      assert.equal(run.table.tellsWorkload(run.table.get(idOf(1))!), false);
    }
  });

  it('counts the restarts and ends of instances that came and went between two looks, in any order', () => {
    const lives = [0, 1, 2].map((attempt) => {
      const startedAtMs = noonMs + 1000 + attempt * 1000;
      const ended = { running: false, finishedAtMs: startedAtMs + 100, exitCode: 3 };
      const { seen } = instanceOf(1 + attempt, { restartCount: attempt });
      return seen(noonMs + 5000, { startedAtMs, ...(attempt === 2 ? {} : ended) });
    });
    fc.assert(
      fc.property(fc.shuffledSubarray(lives, { minLength: 3 }), (order) => {
        const run = startNode();
        run.clock.pass(5000);
        run.take(...order, ...order);
        run.settle();
        const { restarts, exits, lastExitCode } = run.workloadOf(1);
        assert.deepEqual({ restarts, errors: exits.error, lastExitCode }, { restarts: 2, errors: 2, lastExitCode: 3 });
      }),
    );
  });

  it('ends an instance that nobody told the end of when the next one begins, with a code that may come late', () => {
    for (const late of [undefined, 9]) {
      const run = startNode();
      const [first, second] = [instanceOf(1, { restartCount: 0 }), instanceOf(2, { restartCount: 1 })];
      run.take(first.started(noonMs));
      run.clock.pass(minuteMs);
      run.take(second.started(run.clock.wallMs));
      if (late !== undefined) run.take(first.exited(run.clock.wallMs - 10_000, late));
      run.settle();
      const exits = run.told.filter((incident) => incident.kind === 'exit');
      assert.deepEqual(
        exits.map(({ container, exitCode }) => [container.id, exitCode]),
        [[idOf(1), late]],
      );
      assert.equal(run.workloadOf(2).restarts, 1);
    }
  });

  it('is another one for another container, another pod and a pod that was made again', () => {
    const run = startNode();
    const places = [
      { containerName: 'app' },
      { containerName: 'proxy' },
      { containerName: 'setup' },
      { containerName: 'debugger-x7' },
      { containerName: 'app', uid: uidOf(2) },
      { containerName: 'app', uid: uidOf(3), name: 'web-1' },
      { containerName: 'app', uid: '0123456789abcdef0123456789abcdef', name: 'web-0-node-1' },
    ];
    for (const [index, place] of places.entries()) {
      run.take(instanceOf(1 + index, { ...place, restartCount: 0 }).started(noonMs + index));
    }
    assert.equal(run.table.workloadsOfPods, places.length);
    assert.deepEqual(run.kinds(), []);
  });

  it('has no restart for init containers that complete one after the other', () => {
    const run = startNode();
    for (const [index, containerName] of ['migrate', 'warm-up', 'app'].entries()) {
      const { started, exited } = instanceOf(1 + index, { containerName, restartCount: 0 });
      run.take(started(run.clock.wallMs));
      run.clock.pass(1000);
      if (containerName !== 'app') run.take(exited(run.clock.wallMs, 0));
    }
    run.settle();
    assert.deepEqual(run.kinds(), ['exit', 'exit']);
    assert.equal(run.workloadOf(3).restarts, 0);
  });

  it('takes over what was counted before a runtime told whose it is', () => {
    const run = startNode();
    crash(run, 1, 0);
    run.settle();
    const second = instanceOf(2, { restartCount: 1 });
    run.take(second.appeared(run.clock.wallMs), second.counted(run.clock.wallMs));
    run.settle();
    assert.equal(run.table.get(idOf(2))!.pod?.uid, uidOf(1), 'by the path alone');
    assert.equal(run.table.get(idOf(2))!.qosClass, 'burstable');
    assert.equal(run.workloadOf(2).oomKills, 1);
    run.take(second.started(run.clock.wallMs));
    assert.equal(run.workloadOf(2), run.workloadOf(1));
    assert.equal(run.workloadOf(2).oomKills, 2);
  });

  it('outlasts the longest back-off, and no longer when the runtime has removed it', () => {
    const run = startNode();
    crash(run, 1, 0);
    run.clock.pass(graceMs + minuteMs);
    run.expire();
    assert.equal(run.table.size, 1, 'the next instance can still come');
    run.take(instanceOf(2, { restartCount: 1 }).started(run.clock.wallMs));
    assert.equal(run.workloadOf(2).restarts, 1);
    run.take(instanceOf(2).exited(run.clock.wallMs, 0), instanceOf(2).removed(run.clock.wallMs));
    run.clock.pass(graceMs + 1);
    run.expire();
    assert.deepEqual([run.table.size, run.table.workloadsOfPods], [0, 0]);
  });

  it('is forgotten with its last instance, so that 10,000 pods leave nothing behind', () => {
    const run = startNode();
    const gc = garbageCollector();
    const seePods = (count: number): void => {
      for (let n = 1; n <= count; n++) {
        const { appeared, started, exited, gone, removed } = instanceOf(n, { uid: uidOf(n), restartCount: 0 });
        const at = run.clock.wallMs;
        run.take(appeared(at), started(at), exited(at, 0), gone(at), removed(at));
        if (n % 50 !== 0) continue;
        run.clock.pass(graceMs + 1);
        run.settle();
        run.told.length = 0;
        run.expire();
      }
    };
    seePods(5_000);
    gc();
    const before = process.memoryUsage().heapUsed;
    seePods(10_000);
    gc();
    const grownBytes = process.memoryUsage().heapUsed - before;
    assert.deepEqual([run.table.size, run.table.workloadsOfPods], [0, 0]);
    assert.ok(grownBytes < 2_000_000, `grew by ${grownBytes} bytes`);
  });

  it('keeps the first word where two sources tell of one container, each in its own', () => {
    const run = startNode();
    const { seen } = instanceOf(1);
    run.take(seen(noonMs, { image: `sha256:${'a'.repeat(64)}`, startedAtMs: noonMs }));
    run.take(seen(noonMs, { image: 'docker.io/library/web:1', startedAtMs: noonMs }));
    const { factsVersion } = run.table.get(idOf(1))!;
    run.take(seen(noonMs, { image: 'web:1', startedAtMs: noonMs }));
    run.take(seen(noonMs, { image: 'docker.io/library/web:1', startedAtMs: noonMs }));
    assert.equal(run.table.get(idOf(1))!.image, 'docker.io/library/web:1');
    assert.equal(run.table.get(idOf(1))!.factsVersion, factsVersion);
  });

  it('believes the path of the cgroup rather than a label', () => {
    const run = startNode();
    const { appeared } = instanceOf(1);
    run.take(appeared(noonMs), instanceOf(1, { uid: uidOf(7) }).started(noonMs));
    assert.deepEqual(run.table.get(idOf(1))!.pod, { uid: uidOf(1) });
  });
});

describe('the sandbox of a pod', () => {
  it('leaves no workload behind, also where it was taken for a container first', () => {
    const run = startNode();
    const { started, exited, gone, containerId } = instanceOf(1);
    run.take(started(noonMs), { ...observationsOf(containerId).started(noonMs), sandbox: true });
    run.take(exited(noonMs + 1, 0), gone(noonMs + 1));
    run.clock.pass(graceMs + 10 * minuteMs);
    run.expire();
    assert.deepEqual([run.table.size, run.table.workloadsOfPods], [0, 0]);
  });

  it('tells the kills in it, and neither that it ends nor that it is another one', () => {
    const run = startNode();
    const [first, second] = [instanceOf(1), instanceOf(2)];
    run.take(first.appeared(noonMs), first.sandbox(noonMs));
    run.clock.pass(1000);
    run.take(first.counted(run.clock.wallMs), observationsOf(idOf(1)).exited(run.clock.wallMs, 137));
    run.settle();
    run.take(second.sandbox(run.clock.wallMs));
    run.settle();
    assert.deepEqual(run.kinds(), ['oom_kill']);
    assert.equal(run.table.workloadsOfPods, 0);
  });
});
