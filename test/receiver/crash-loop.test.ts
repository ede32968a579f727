import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CrashLoop } from '../../receiver/incident.ts';
import { graceMs, noonMs, startNode, type Node } from './node.ts';
import { idOf, observationsOf } from './observations.ts';
import { instanceOf } from './pods.ts';

const minuteMs = 60_000;

/** The kubelet's back-off before each restart. */
const backOffsMs = [0, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000];

const loopsOf = (node: Node): CrashLoop[] => node.told.filter((incident) => incident.kind === 'crash_loop');
const statesOf = (node: Node): string[] => loopsOf(node).map(({ state }) => state);

/** Time goes by as the service looks. */
function wait(node: Node, ms: number): void {
  for (let left = ms; left > 0; left -= 10_000) {
    node.clock.pass(Math.min(left, 10_000));
    node.settleNow();
    node.expire();
  }
}

/** Crashes after `livesMs`, again and again; the last instance lives. */
function loop(
  node: Node,
  { restarts, livesMs = 100, from = 0 }: { restarts: number; livesMs?: number; from?: number },
) {
  for (let attempt = from; attempt <= from + restarts; attempt++) {
    const { started, exited } = instanceOf(1 + attempt, { restartCount: attempt });
    node.take(started(node.clock.wallMs));
    if (attempt === from + restarts) return;
    wait(node, livesMs);
    node.take(exited(node.clock.wallMs, 1));
    wait(node, backOffsMs[Math.min(attempt, backOffsMs.length - 1)]!);
  }
}

describe('a crash loop', () => {
  it('is told once, at the third restart, however long it goes on', () => {
    const node = startNode();
    loop(node, { restarts: 2 });
    assert.deepEqual(statesOf(node), []);
    node.take(instanceOf(3).exited(node.clock.wallMs + 100, 1));
    wait(node, 20_000);
    loop(node, { restarts: 6, from: 3 });
    assert.deepEqual(statesOf(node), ['begun']);
    const [begun] = loopsOf(node);
    assert.equal(begun!.container.id, idOf(4));
    assert.equal(begun!.restarts, 3);
    assert.ok(begun!.atMs - begun!.sinceMs < minuteMs);
  });

  it('ends when the container has run for ten minutes, and can begin again', () => {
    const node = startNode();
    loop(node, { restarts: 5 });
    const startedAtMs = node.clock.wallMs;
    wait(node, 9 * minuteMs);
    assert.deepEqual(statesOf(node), ['begun']);
    wait(node, minuteMs + 10_000);
    assert.deepEqual(statesOf(node), ['begun', 'ended']);
    const ended = loopsOf(node)[1]!;
    assert.equal(ended.atMs, startedAtMs + 10 * minuteMs);
    assert.equal(ended.restarts, 5);
    wait(node, 60 * minuteMs);
    node.take(instanceOf(6).exited(node.clock.wallMs, 1));
    loop(node, { restarts: 3, from: 6 });
    assert.deepEqual(statesOf(node), ['begun', 'ended', 'begun']);
  });

  it('ends with its pod', () => {
    const node = startNode();
    loop(node, { restarts: 3 });
    const { exited, removed } = instanceOf(4);
    node.take(exited(node.clock.wallMs, 143), removed(node.clock.wallMs));
    const goneAtMs = node.clock.wallMs;
    wait(node, 20_000);
    assert.deepEqual(statesOf(node), ['begun', 'gone']);
    assert.equal(loopsOf(node)[1]!.atMs, goneAtMs);
  });

  it('ends, where nobody tells that it was removed, when the container is forgotten', () => {
    const node = startNode();
    loop(node, { restarts: 3 });
    node.take(instanceOf(4).exited(node.clock.wallMs, 0));
    wait(node, graceMs + minuteMs);
    assert.deepEqual(statesOf(node), ['begun'], 'the back-off goes on');
    wait(node, 2 * minuteMs);
    assert.deepEqual(statesOf(node), ['begun', 'gone']);
    assert.equal(node.correlator.dueAtMs, undefined, 'nothing is left to look at');
  });

  it('is none where restarts are far apart', () => {
    const node = startNode();
    for (let attempt = 0; attempt < 8; attempt++) {
      const { started, exited } = instanceOf(1 + attempt, { restartCount: attempt });
      node.take(started(node.clock.wallMs));
      wait(node, 8 * minuteMs);
      node.take(exited(node.clock.wallMs, 1));
    }
    assert.deepEqual(statesOf(node), []);
  });

  it('is one where the kubelet waits five minutes each time', () => {
    const node = startNode();
    loop(node, { restarts: 3, from: 8, livesMs: minuteMs });
    assert.deepEqual(statesOf(node), ['begun']);
  });

  it('is seen in restarts that nobody saw one by one', () => {
    const node = startNode();
    const [first, later] = [instanceOf(1, { restartCount: 0 }), instanceOf(2, { restartCount: 4 })];
    node.take(first.started(noonMs), first.exited(noonMs + 100, 1));
    wait(node, 3 * minuteMs);
    node.take(later.started(node.clock.wallMs));
    assert.deepEqual(statesOf(node), ['begun']);
    assert.equal(loopsOf(node)[0]!.restarts, 4);
  });

  it('is that of a container outside Kubernetes as well, but not where somebody restarts it', () => {
    for (const asked of [false, true]) {
      const node = startNode();
      const { started, exited, signalled, stopped } = observationsOf(idOf(1));
      node.take(started(node.clock.wallMs));
      for (let restart = 0; restart < 4; restart++) {
        node.clock.pass(1000);
        if (asked) node.take(signalled(node.clock.wallMs - 10, 15));
        node.take(exited(node.clock.wallMs, asked ? 143 : 1));
        if (asked) node.take(stopped(node.clock.wallMs + 1));
        node.clock.pass(100);
        node.take(started(node.clock.wallMs));
      }
      assert.deepEqual(statesOf(node), asked ? [] : ['begun']);
    }
  });
});
