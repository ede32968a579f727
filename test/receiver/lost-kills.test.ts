import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ContainerTable } from '../../receiver/container-table.ts';
import { Correlator } from '../../receiver/correlator.ts';
import type { Incident } from '../../receiver/incident.ts';
import type { LostOomKillsCounted, Observation } from '../../receiver/observation.ts';
import { idOf, observationsOf, victimOf } from './observations.ts';

const settleMs = 600;
const kubepods = '/kubepods/burstable';
const uidOf = (n: number) => `5a1f3c62-0b5e-4a51-9e0f-00000000000${n}`;
const podOf = (n: number) => `${kubepods}/pod${uidOf(n)}`;
const placeOf = (container: number, pod = Math.floor(container / 10)) => `${podOf(pod)}/${idOf(container)}`;
const [a, b] = [observationsOf(idOf(11)), observationsOf(idOf(12))];
const kernelTotal = (atMs: number, total: number): Observation => ({ kind: 'node_oom_kills_counted', atMs, total });

function lost(atMs: number, gone: number[], facts: Partial<LostOomKillsCounted> = {}): Observation {
  const goneContainerIds = gone.map(idOf);
  return { kind: 'lost_oom_kills_counted', atMs, memcg: podOf(1), oomKills: 1, goneContainerIds, ...facts };
}

/** As the log names them: on a node in a container the paths begin further out. */
function named(container: number, atMs: number, pid: number, memcg = `/docker/${idOf(99)}${placeOf(container)}`) {
  const invocation = { at: { monotonicUs: atMs * 1000 }, constraint: 'CONSTRAINT_MEMCG', oomMemcg: memcg };
  return victimOf(idOf(container), atMs, pid, { memcg, invocation });
}

const appeared = (of: typeof a, container: number, memcg = placeOf(container)): Observation => ({
  ...of.appeared(900, true, memcg),
  countsBelow: true,
});
const gone = (of: typeof a, container: number, atMs: number) => of.gone(atMs, placeOf(container));
const running = [appeared(a, 11), appeared(b, 12), kernelTotal(1000, 40)];

/** A correlator of its own, and a clock by hand. */
function makeReceiver({ isRuntimeUp = false, isKernelLogUp = true, isBeginning = false } = {}) {
  const correlator = new Correlator(new ContainerTable(100), settleMs, {
    isRuntimeUp: () => isRuntimeUp,
    isKernelLogUp: () => isKernelLogUp,
    isBeginning: () => isBeginning,
  });
  const at = (ms: number) => ({ wallMs: ms, monotonicMs: ms });
  const told: Incident[] = [];
  const settle = (ms: number) => told.push(...correlator.settle(at(ms)));
  return {
    correlator,
    told,
    take: (...observations: Observation[]) => {
      for (const observation of observations) told.push(...correlator.take(observation, at(observation.atMs)));
    },
    takeAt: (ms: number, ...observations: Observation[]) => {
      for (const observation of observations) told.push(...correlator.take(observation, at(ms)));
    },
    settle,
    /** What is told by the end, and how many kills nobody could be given. */
    end: () => {
      for (let ms = 20_000; ms <= 60_000; ms += 5_000) settle(ms);
      return [...told.map(summarize).toSorted(), correlator.ledger.unattributed];
    },
  };
}

function summarize(incident: Incident): string {
  switch (incident.kind) {
    case 'oom_kill': {
      const pid = incident.named?.victim.pid ?? '-';
      return `${Number.parseInt(incident.container.id, 16)} ${incident.victim} ${pid} ${incident.evidence.join()}`;
    }
    case 'pod_oom_kill':
      return `pod ${incident.pod?.uid.slice(-1) ?? '-'} ${incident.scope}`;
    default:
      return incident.kind;
  }
}

describe('kills that only the counter of a pod shows', () => {
  it('are those of its only container that went, at once where no log can name them', () => {
    const receiver = makeReceiver({ isKernelLogUp: false });
    receiver.take(...running, kernelTotal(5000, 42), gone(a, 11, 5001), lost(5002, [11], { oomKills: 2 }));
    receiver.settle(5002 + settleMs);
    assert.deepEqual(receiver.end(), ['11 unknown - memory_events', '11 unknown - memory_events', 0]);
  });

  it('are told once where the log names them, whichever comes first, before the settle time or after it', () => {
    const kill = [kernelTotal(5000, 41), gone(a, 11, 5001)];
    for (const afterMs of [0, 100, settleMs + 1, 3 * settleMs]) {
      const counted = makeReceiver();
      counted.take(...running, ...kill, lost(5002, [11]));
      counted.settle(5002 + afterMs);
      counted.takeAt(5003 + afterMs, named(11, 5000, 71));
      const [record, ...others] = counted.end();
      assert.match(String(record), /^11 unknown (71 kernel_log,memory_events|- memory_events)$/, `${afterMs} ms`);
      assert.deepEqual(others, [0]);

      const first = makeReceiver();
      first.take(...running, ...kill, named(11, 5000, 71));
      first.settle(5002 + afterMs);
      first.takeAt(5003 + afterMs, lost(5003 + afterMs, [11]));
      assert.match(String(first.end()), /^11 unknown 71 kernel_log(,memory_events)?,0$/, `${afterMs} ms`);
    }
  });

  it('are not those of the container that went beside the one that the log names', () => {
    // Another container lived for too short a time to be seen.
    for (const afterMs of [0, 100, settleMs + 1, 3 * settleMs]) {
      const receiver = makeReceiver();
      receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), lost(5002, [11]));
      receiver.settle(5002 + afterMs);
      receiver.takeAt(5003 + afterMs, named(13, 5000, 71));
      assert.equal(receiver.end().length, 2, `${afterMs} ms: ${receiver.told.map(summarize).join()}`);
    }
  });

  it('are told as those of a runtime’s unexplained exit 137 where several containers went', () => {
    const receiver = makeReceiver({ isRuntimeUp: true, isKernelLogUp: false });
    receiver.take(...running, a.started(1000), b.started(1000));
    receiver.take(kernelTotal(5000, 41), gone(a, 11, 5001), gone(b, 12, 5001), lost(5002, [11, 12]));
    receiver.take(a.exited(5010, 0), b.exited(5011, 137));
    assert.deepEqual(receiver.end(), ['12 init - memory_events,exit_status', 'exit', 'exit', 0]);
  });

  it('are told once where a runtime’s exit 137 was already explained by the machine’s count', () => {
    const receiver = makeReceiver({ isRuntimeUp: true, isKernelLogUp: false });
    receiver.take(...running, a.started(1000), kernelTotal(5000, 41), gone(a, 11, 5001), a.exited(5002, 137));
    receiver.settle(5700);
    assert.equal(receiver.told.length, 2);
    receiver.take(lost(5701, [11]));
    assert.deepEqual(receiver.end(), ['11 init - vmstat,exit_status', 'exit', 0]);
  });

  it('are the pod’s where nobody can say in which of two containers they happened', () => {
    const receiver = makeReceiver({ isKernelLogUp: false });
    receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), gone(b, 12, 5001));
    receiver.take(lost(5002, [11, 12], { ooms: 1 }));
    assert.deepEqual(receiver.end(), ['pod 1 pod', 0]);
  });

  it('are the pod’s, not its sandbox’s', () => {
    const receiver = makeReceiver({ isKernelLogUp: false });
    receiver.take(...running, b.seen(1001, { sandbox: true, startedAtMs: 1000 }));
    receiver.take(kernelTotal(5000, 41), gone(a, 11, 5001), gone(b, 12, 5001), lost(5002, [11, 12]));
    assert.deepEqual(receiver.end(), ['11 unknown - memory_events', 0]);
  });

  it('are told by the log’s name late no second time', () => {
    const receiver = makeReceiver();
    receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), gone(b, 12, 5001), lost(5002, [11, 12]));
    receiver.settle(5700);
    assert.deepEqual(receiver.told.map(summarize), ['pod 1 unknown']);
    receiver.takeAt(5800, named(11, 5000, 71));
    assert.deepEqual(receiver.end(), ['pod 1 unknown', 0]);
  });

  it('explain the end of the container that the log names late', () => {
    const receiver = makeReceiver({ isRuntimeUp: true });
    receiver.take(...running, a.started(1000), b.started(1000));
    receiver.take(kernelTotal(5000, 41), gone(a, 11, 5001), gone(b, 12, 5001), lost(5002, [11, 12]));
    receiver.settle(5700);
    receiver.takeAt(5800, named(11, 5000, 71));
    receiver.takeAt(5900, a.exited(5010, 137), b.exited(5010, 0));
    receiver.end();
    const exits = receiver.told.flatMap((one) => (one.kind === 'exit' ? [one.cause] : []));
    assert.deepEqual(exits.toSorted(), ['completed', 'oom_container']);
  });

  it('explain the end by the victim that was, or can have been, the main process', () => {
    const causeOf = (mainPid: number | undefined, endedAtMs: number, ...victims: [pid: number, atMs: number][]) => {
      const receiver = makeReceiver({ isRuntimeUp: true });
      receiver.take(...running, a.started(1000), b.started(1000), a.processes(1001, mainPid));
      const oomKills = victims.length;
      receiver.take(kernelTotal(5000, 40 + oomKills), gone(a, 11, 6600), gone(b, 12, 6600));
      receiver.take(lost(6601, [11, 12], { oomKills }));
      receiver.settle(7300);
      for (const [pid, atMs] of victims) receiver.takeAt(7400, named(11, atMs, pid));
      receiver.takeAt(7500, a.exited(endedAtMs, 137));
      receiver.end();
      assert.equal(receiver.told.filter(({ kind }) => kind === 'pod_oom_kill').length, oomKills);
      return receiver.told.find((one) => one.kind === 'exit')?.cause;
    };
    assert.equal(causeOf(undefined, 6510, [71, 5000], [70, 6500]), 'oom_container');
    assert.equal(causeOf(70, 7490, [70, 6400]), 'oom_container');
    assert.equal(causeOf(70, 6510, [71, 6400]), 'killed_externally');
  });

  it('do not swallow a kill that happens afterwards', () => {
    const receiver = makeReceiver();
    receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), gone(b, 12, 5001), lost(5002, [11, 12]));
    receiver.settle(5700);
    receiver.take(kernelTotal(6000, 42), named(13, 6000, 71));
    assert.deepEqual(receiver.end(), ['13 unknown 71 kernel_log', 'pod 1 unknown', 0]);
  });

  it('are told of four processes for a counter that shows five, as the victims of one group kill', () => {
    const receiver = makeReceiver({ isKernelLogUp: false });
    const group = { oomKills: 5, oomGroupKills: 1 };
    receiver.take(...running, kernelTotal(5000, 45), gone(a, 11, 5001), lost(5002, [11], group));
    assert.deepEqual(receiver.end(), [...Array.from({ length: 4 }, () => '11 unknown - memory_events'), 0]);
    assert.equal(new Set(receiver.told.map((one) => 'incidentId' in one && one.incidentId)).size, 1);
  });

  it('are told once, and accounted for, where the log names a group’s victims', () => {
    for (const [namedFirst, settlesBetween] of [
      [true, true],
      [true, false],
      [false, false],
    ]) {
      const receiver = makeReceiver();
      const memcg = placeOf(11);
      const invocation = { at: { monotonicUs: 5 }, oomMemcg: memcg, oomGroup: memcg, constraint: 'CONSTRAINT_MEMCG' };
      const victims = [71, 72, 73].map((pid) =>
        victimOf(idOf(11), 5000, pid, { memcg, invocation, countedTwice: pid === 71 || undefined }),
      );
      const counted = [lost(5002, [11], { oomKills: 4, oomGroupKills: 1 })];
      receiver.take(...running, kernelTotal(5000, 44), gone(a, 11, 5001));
      receiver.takeAt(5002, ...(namedFirst ? victims : counted));
      if (settlesBetween) receiver.settle(5700);
      receiver.takeAt(5701, ...(namedFirst ? counted : victims));
      receiver.settle(6400);
      assert.ok(receiver.correlator.ledger.isBalanced);
      assert.equal(receiver.end().length, 4);
      assert.equal(receiver.correlator.ledger.unattributed, 0);
    }
  });

  it('are the node’s where only the counter of all pods is left, or the pod’s of all that went', () => {
    for (const [ids, expected] of [
      [[11, 21], 'pod - unknown'],
      [[11, 12], 'pod 1 unknown'],
    ] as const) {
      const receiver = makeReceiver({ isKernelLogUp: false });
      const other = observationsOf(idOf(21));
      receiver.take(...running, appeared(other, 21), kernelTotal(5000, 41));
      receiver.take(gone(a, 11, 5001), gone(b, 12, 5001), other.gone(5001, placeOf(21)));
      receiver.take(lost(5002, [...ids], { memcg: '/kubepods' }));
      assert.deepEqual(receiver.end(), [expected, 0]);
    }
  });

  it('are not told where the machine’s count has none that is not told', () => {
    const receiver = makeReceiver();
    // A process in the pod's group itself, of no container.
    const given: string[] = [];
    receiver.correlator.lost.onGive(({ id }) => given.push(id));
    receiver.take(...running, gone(a, 11, 4000), kernelTotal(5000, 41), named(11, 5000, 90, podOf(1)));
    receiver.take(lost(5002, []), lost(5003, [11]));
    assert.deepEqual(receiver.end(), ['node_oom_kill', 0]);
    assert.deepEqual([given, receiver.correlator.lost.state.told], [[], []]);
  });

  it('are given at once only where one container went and no log can name another, now or later', () => {
    for (const [witnesses, went, isAtOnce] of [
      [{ isKernelLogUp: false }, [11], true],
      [{ isKernelLogUp: false }, [11, 12], false],
      [{ isKernelLogUp: false, isBeginning: true }, [11], false],
      [{}, [11], false],
    ] as const) {
      const receiver = makeReceiver(witnesses);
      receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), gone(b, 12, 5001), lost(5002, [...went]));
      assert.equal(receiver.correlator.lost.dueAtMs, isAtOnce ? undefined : 5002 + settleMs);
    }
  });

  it('wait for a source that is about to begin, but for 7 s at most', () => {
    const receiver = makeReceiver({ isBeginning: true });
    receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), gone(b, 12, 5001), lost(5002, [11, 12]));
    for (const [nowMs, dueAtMs] of [
      [5602, 6202],
      [6000, 6202],
      [11_900, 12_002],
    ] as const) {
      receiver.settle(nowMs);
      assert.deepEqual([receiver.told.length, receiver.correlator.lost.dueAtMs], [0, dueAtMs]);
    }
    receiver.settle(12_002);
    assert.deepEqual(receiver.told.map(summarize), ['pod 1 unknown']);
    const stopped = makeReceiver({ isBeginning: true });
    stopped.take(...running, kernelTotal(5000, 41), lost(5002, [11, 12]));
    stopped.settle(Infinity);
    assert.equal(stopped.told.length, 1, 'at a stop there is nothing to wait for');
  });

  it('are no more than a thousand that wait, and that are remembered', () => {
    const receiver = makeReceiver();
    const { lost: lostKills } = receiver.correlator;
    receiver.take(...running, kernelTotal(4000, 3000), gone(a, 11, 4001), gone(b, 12, 4001), kernelTotal(5000, 6000));
    receiver.take(lost(5001, [11, 12]));
    const [rise] = lostKills.state.rises;
    const rises = Array.from({ length: 999 }, () => ({ ...rise! }));
    lostKills.resume({ rises, told: [] }, { wallMs: 5001, monotonicMs: 5001 });
    receiver.take(lost(5001, [11, 12]));
    assert.deepEqual([receiver.told.length, lostKills.state.rises.length], [0, 1000]);
    receiver.take(lost(5001, [11, 12]), lost(5001, [11, 12]));
    assert.deepEqual([receiver.told.length, lostKills.state.rises.length], [2, 1000]);
    receiver.settle(5001 + settleMs);
    assert.deepEqual([receiver.told.length, lostKills.state.told.length], [1002, 1000]);
  });

  it('are told by as many late lines of the log as there were, and no more, within 10 s', () => {
    for (const [atMs, told] of [
      [15_601, ['12 unknown 72 kernel_log', 'pod 1 unknown', 0]],
      [15_602, ['11 unknown 71 kernel_log', '12 unknown 72 kernel_log', 'pod 1 unknown', 0]],
    ] as const) {
      const receiver = makeReceiver();
      receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), gone(b, 12, 5001), lost(5002, [11, 12]));
      receiver.settle(5002 + settleMs);
      receiver.takeAt(atMs, named(11, 5000, 71), named(12, 5000, 72));
      assert.deepEqual(receiver.end(), told);
    }
  });

  it('are told with the namespace and the name of their pod where a container of it is known by them', () => {
    const receiver = makeReceiver();
    const ofPod = (n: number) => ({ uid: uidOf(n), namespace: `space-${n}`, name: `pod-${n}`, containerName: 'web' });
    const c = observationsOf(idOf(21));
    receiver.take(c.seen(800, { startedAtMs: 800, pod: ofPod(2) }), appeared(c, 21), ...running);
    receiver.take(a.seen(1000, { startedAtMs: 900, pod: ofPod(1) }), b.seen(1000, { startedAtMs: 900, pod: ofPod(1) }));
    receiver.take(kernelTotal(5000, 41), gone(a, 11, 5001), gone(b, 12, 5001), lost(5002, [11, 12]));
    receiver.settle(9500);
    assert.deepEqual(
      receiver.told.flatMap((incident) => (incident.kind === 'pod_oom_kill' ? incident.pod : [])),
      [{ uid: uidOf(1), namespace: 'space-1', name: 'pod-1' }],
    );
  });

  it('are none of a container that is still there, or whose own counter showed a kill', () => {
    const c = observationsOf(idOf(13));
    const wentAndTold = [...running, appeared(c, 13), kernelTotal(5000, 42), gone(a, 11, 5001), gone(b, 12, 5001)];
    const there = makeReceiver();
    there.take(...wentAndTold, lost(5002, [11, 12]));
    there.settle(5002 + settleMs);
    there.takeAt(6000, named(13, 5000, 71), c.counted(6000, 1, { memcg: placeOf(13) }));
    assert.deepEqual(there.end(), ['13 unknown 71 kernel_log,memory_events', 'pod 1 unknown', 0]);

    const counted = makeReceiver();
    counted.take(...wentAndTold, c.counted(5001, 1, { memcg: placeOf(13) }), gone(c, 13, 5001), lost(5002, [11, 12]));
    counted.settle(6000);
    const told = ['13 unknown - memory_events', 'pod 1 unknown'];
    assert.deepEqual(counted.told.map(summarize).toSorted(), told);
    counted.takeAt(6001, named(13, 5000, 73), named(11, 5000, 71));
    assert.deepEqual(counted.end(), [...told, 0]);
  });

  it('have those who must know told of each container that one is given to', () => {
    const receiver = makeReceiver();
    const given: string[] = [];
    receiver.correlator.lost.onGive(({ id }) => given.push(id));
    receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), lost(5002, [11]));
    receiver.settle(5002 + settleMs);
    assert.deepEqual(given, [idOf(11)]);
  });

  it('are none of what the log names in another pod, or more than 50 ms later', () => {
    for (const [late, told] of [
      [named(13, 5052, 71), ['pod 1 unknown', 0]],
      [named(13, 5053, 71), ['13 unknown 71 kernel_log', 'pod 1 unknown', 0]],
      [named(21, 5000, 71), ['21 unknown 71 kernel_log', 'pod 1 unknown', 0]],
    ] as const) {
      const receiver = makeReceiver();
      receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), gone(b, 12, 5001), lost(5002, [11, 12]));
      receiver.settle(5700);
      receiver.takeAt(5800, late);
      assert.deepEqual(receiver.end(), told);
    }
  });

  it('are told by a late line of the log whatever tells its group', () => {
    const heldBack = victimOf('', 5000, 71, { memcg: undefined, invocation: undefined });
    for (const line of [heldBack, { ...heldBack, memcgSeen: placeOf(13) }]) {
      for (const pids of [[], [71]]) {
        const receiver = makeReceiver();
        receiver.take(...running, { ...a.processes(1000), pids });
        receiver.take(kernelTotal(5000, 41), gone(a, 11, 5001), gone(b, 12, 5001), lost(5002, [11, 12]));
        receiver.settle(5700);
        receiver.takeAt(5800, line);
        assert.deepEqual(receiver.end(), ['pod 1 unknown', 0]);
      }
    }
  });

  it('are those of one late line where they were given to the container that went, whosever the line is', () => {
    for (const [late, told] of [
      [[named(13, 5000, 71), named(13, 5000, 72)], '13 unknown 72 kernel_log'],
      [[named(11, 5000, 71), named(13, 5000, 72)], '13 unknown 72 kernel_log'],
      [[named(13, 5000, 71), named(11, 5000, 72)], '11 unknown 72 kernel_log'],
    ] as const) {
      const receiver = makeReceiver();
      receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), lost(5002, [11]));
      receiver.settle(5700);
      receiver.settle(6400);
      assert.deepEqual(receiver.told.map(summarize), ['11 unknown - memory_events']);
      receiver.takeAt(6500, ...late);
      assert.deepEqual(receiver.end(), ['11 unknown - memory_events', told, 0]);
    }
  });

  it('are those of as many late lines where the container that they were given to is forgotten', () => {
    const receiver = makeReceiver();
    const told = [{ memcg: podOf(1), containerId: idOf(77), processes: 1, atMs: 5002 }];
    receiver.correlator.lost.resume({ rises: [], told }, { wallMs: 5700, monotonicMs: 5700 });
    receiver.takeAt(5800, named(13, 5000, 71), named(13, 5000, 72));
    assert.deepEqual(receiver.end(), ['13 unknown 72 kernel_log', 0]);
  });

  it('are given to the container that the log names, as long as they are not told of another', () => {
    const receiver = makeReceiver();
    const given: string[] = [];
    receiver.correlator.lost.onGive(({ id }) => given.push(id));
    receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), lost(5002, [11]));
    receiver.settle(5700);
    receiver.takeAt(5800, named(13, 5000, 71));
    assert.deepEqual(given, [11, 11, 13].map(idOf));
    receiver.settle(6500);
    assert.ok(receiver.correlator.ledger.isBalanced);
    assert.deepEqual(receiver.end(), ['13 unknown 71 kernel_log,memory_events', 0]);
  });

  it('stay given where the log names another pod’s victim, one whose own counter is there, or one that is told', () => {
    const c = observationsOf(idOf(13));
    const ofPresent = [appeared(c, 13)];
    const ofTold = [b.counted(1100, 1, { memcg: placeOf(12) }), gone(b, 12, 1101)];
    for (const [before, late, told] of [
      [[], [named(21, 5000, 71)], '21 unknown 71 kernel_log'],
      [
        ofPresent,
        [named(13, 5000, 71), c.counted(5801, 1, { memcg: placeOf(13) })],
        '13 unknown 71 kernel_log,memory_events',
      ],
      [ofTold, [named(12, 1099, 71)], '12 unknown - memory_events'],
      [ofTold, [named(12, 1200, 71)], '12 unknown - memory_events'],
    ] as const) {
      const receiver = makeReceiver();
      receiver.take(...running, ...before);
      receiver.settle(2000);
      receiver.take(kernelTotal(5000, 42), gone(a, 11, 5001), lost(5002, [11]));
      receiver.settle(5700);
      receiver.takeAt(5801, ...late);
      assert.deepEqual(receiver.end(), ['11 unknown - memory_events', told, 0]);
    }
  });

  it('are not given to a container that is there, though the log names a victim in it', () => {
    const receiver = makeReceiver();
    const c = observationsOf(idOf(13));
    receiver.take(...running, appeared(c, 13), kernelTotal(5000, 42), gone(a, 11, 5001), lost(5002, [11]));
    receiver.takeAt(5003, named(13, 5000, 71));
    receiver.settle(5602);
    receiver.takeAt(5603, c.counted(5603, 1, { memcg: placeOf(13) }));
    assert.deepEqual(receiver.end(), ['11 unknown - memory_events', '13 unknown 71 kernel_log,memory_events', 0]);
    const again = makeReceiver({ isKernelLogUp: false });
    again.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), appeared(a, 11), lost(5002, [11]));
    assert.deepEqual(again.end(), ['pod 1 unknown', 0]);
  });

  it('wait no more once the log has named them', () => {
    const receiver = makeReceiver();
    receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), lost(5002, [11]), named(11, 5000, 71));
    assert.equal(receiver.correlator.lost.dueAtMs, undefined);
  });

  it('leave the log’s line to a kill that the container’s own counter showed', () => {
    const receiver = makeReceiver();
    receiver.take(...running, kernelTotal(5000, 42), gone(a, 11, 5001), lost(5002, []));
    receiver.take(b.counted(5500, 1, { memcg: placeOf(12) }), gone(b, 12, 5501));
    receiver.settle(5602);
    receiver.takeAt(5650, named(12, 5000, 72));
    assert.deepEqual(receiver.end(), ['12 unknown 72 kernel_log,memory_events', 'pod 1 unknown', 0]);
  });

  it('are no more of a container’s than the log has named there, where another counter shows the rest', () => {
    const receiver = makeReceiver();
    receiver.take(appeared(a, 11), gone(a, 11, 5001), named(11, 5001, 71), named(11, 5001, 72));
    receiver.take(lost(5002, [11]), lost(5003, [11]));
    const told = [71, 72].map((pid) => `11 unknown ${pid} kernel_log,memory_events`);
    assert.deepEqual(receiver.end(), [...told, 0]);
  });

  it('are none of a container in another pod that the log has named', () => {
    const receiver = makeReceiver();
    receiver.take(...running, kernelTotal(5000, 42), gone(a, 11, 5001), named(21, 5001, 71), lost(5002, [11]));
    assert.deepEqual(receiver.end(), ['11 unknown - memory_events', '21 unknown 71 kernel_log', 0]);
  });

  it('are the last container’s that went, not one’s whose kill the log named long before', () => {
    const receiver = makeReceiver();
    receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), named(11, 5001, 71));
    receiver.settle(5602);
    receiver.take(kernelTotal(20_000, 42), gone(b, 12, 20_000), lost(20_001, [12]));
    assert.deepEqual(receiver.end(), ['11 unknown 71 kernel_log', '12 unknown - memory_events', 0]);
  });

  it('are other kills than those that the log named more than 10 s before', () => {
    for (const [atMs, kills] of [
      [15_602, 1],
      [15_603, 2],
    ] as const) {
      const receiver = makeReceiver();
      receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), named(11, 5001, 71));
      receiver.settle(5602);
      receiver.take(kernelTotal(atMs, 42), lost(atMs, [11]));
      receiver.end();
      assert.equal(receiver.told.length, kills);
    }
  });

  it('are none that the machine’s count has explained an exit by, though it has another', () => {
    const receiver = makeReceiver({ isRuntimeUp: true });
    receiver.take(...running, a.started(1000), kernelTotal(5000, 42), gone(a, 11, 5001), a.exited(5002, 137));
    // The counter was read after its group had gone, and only then raised.
    receiver.take(lost(5005, []));
    receiver.settle(5604);
    receiver.settle(5605);
    assert.deepEqual(receiver.told.map(summarize), ['11 init - vmstat,exit_status', 'exit']);
    assert.equal(receiver.correlator.ledger.openKills, 1);
  });

  it('are told where the machine counts none, and no more than it has counted where it does', () => {
    const uncounted = makeReceiver({ isKernelLogUp: false });
    uncounted.take(appeared(a, 11), gone(a, 11, 5001), lost(5002, [11]));
    assert.deepEqual(uncounted.end(), ['11 unknown - memory_events', 0]);
    const counted = makeReceiver({ isKernelLogUp: false });
    counted.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), gone(b, 12, 5001));
    counted.take(lost(5002, [11, 12], { oomKills: 5, oomGroupKills: 1 }));
    counted.settle(5700);
    assert.ok(counted.correlator.ledger.isBalanced);
    assert.deepEqual(counted.end(), ['pod 1 unknown', 0]);
  });

  it('are remembered as told once where they are given to a container', () => {
    const receiver = makeReceiver();
    receiver.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), lost(5002, [11]));
    receiver.settle(5700);
    const told = [{ memcg: podOf(1), containerId: idOf(11), processes: 1, atMs: 5002 }];
    assert.deepEqual(receiver.correlator.lost.state.told, told);
  });

  it('are gone on with after a restart, and with what was told of them', () => {
    const first = makeReceiver();
    first.take(...running, kernelTotal(5000, 41), gone(a, 11, 5001), gone(b, 12, 5001), lost(5002, [11, 12]));
    const second = makeReceiver();
    second.take(kernelTotal(6000, 40));
    second.correlator.lost.resume(structuredClone(first.correlator.lost.state), { wallMs: 6000, monotonicMs: 6000 });
    second.take(kernelTotal(6001, 41));
    second.settle(6700);
    assert.deepEqual(second.told.map(summarize), ['pod 1 unknown']);
    const third = makeReceiver();
    third.correlator.lost.resume(structuredClone(second.correlator.lost.state), { wallMs: 7000, monotonicMs: 7000 });
    third.takeAt(7001, named(11, 5000, 71));
    assert.deepEqual(third.end(), [0]);
  });
});

describe('a container in a container, on v2', () => {
  const outerPlace = `/docker/${idOf(5)}`;
  const innerPlace = `${outerPlace}/docker/${idOf(6)}`;
  const [outer, inner] = [observationsOf(idOf(5)), observationsOf(idOf(6))];
  const both = [appeared(outer, 5, outerPlace), appeared(inner, 6, innerPlace), kernelTotal(1000, 40)];
  const innerGone = inner.gone(5001, innerPlace);
  const innerNamed = named(6, 5000, 71, innerPlace);
  const outerCounted = outer.counted(5002, 1, { memcg: outerPlace });

  it('whose group went before its counter was read is told once, by the log’s name, in any order', () => {
    for (const order of [
      [innerGone, innerNamed, outerCounted],
      [innerGone, outerCounted, innerNamed],
      [outerCounted, innerGone, innerNamed],
      [innerNamed, innerGone, outerCounted],
    ]) {
      const receiver = makeReceiver();
      receiver.take(...both, kernelTotal(5000, 41));
      receiver.takeAt(5002, ...order);
      assert.deepEqual(receiver.end(), ['6 unknown 71 kernel_log,memory_events', 0]);
    }
  });

  it('is told once where the log names it late, as a kill of the outer one', () => {
    const receiver = makeReceiver();
    receiver.take(...both, kernelTotal(5000, 41), innerGone, outerCounted);
    receiver.settle(5002 + settleMs);
    receiver.takeAt(7000, innerNamed);
    assert.deepEqual(receiver.end(), ['5 unknown - memory_events', 0]);
  });

  it('has a second late line, and one of a later time, told of it', () => {
    for (const [late, told] of [
      [[innerNamed, named(6, 5000, 72, innerPlace)], '6 unknown 72 kernel_log'],
      [[named(6, 5053, 73, innerPlace)], '6 unknown 73 kernel_log'],
    ] as const) {
      const receiver = makeReceiver();
      receiver.take(...both, kernelTotal(5000, 42), innerGone, outerCounted);
      receiver.settle(5002 + settleMs);
      receiver.takeAt(7000, ...late);
      assert.deepEqual(receiver.end(), ['5 unknown - memory_events', told, 0]);
    }
  });

  it('is not given what the counter of a pod around the outer one shows besides', () => {
    const place = placeOf(15);
    const [around, within] = [observationsOf(idOf(15)), observationsOf(idOf(16))];
    const innermost = `${place}/docker/${idOf(16)}`;
    const receiver = makeReceiver();
    receiver.take(...running, appeared(around, 15, place), appeared(within, 16, innermost), kernelTotal(5000, 42));
    receiver.take(within.gone(5001, innermost), gone(a, 11, 5001), named(16, 5001, 71, innermost), lost(5002, [11]));
    receiver.take(around.counted(5003, 1, { memcg: place }));
    assert.deepEqual(receiver.end(), ['11 unknown - memory_events', '16 unknown 71 kernel_log,memory_events', 0]);
  });

  it('has its group kill accounted for once, and that of the outer one that is counted in two readings', () => {
    const invocation = { at: { monotonicUs: 5 }, oomMemcg: innerPlace, oomGroup: innerPlace };
    const victims = [71, 72].map((pid) =>
      victimOf(idOf(6), 5000, pid, { memcg: innerPlace, invocation, countedTwice: pid === 71 || undefined }),
    );
    const within = makeReceiver();
    within.take(...both, kernelTotal(5000, 43), innerGone);
    within.takeAt(5001, ...victims);
    within.settle(5700);
    within.takeAt(5800, outer.counted(5800, 3, { memcg: outerPlace, oomGroupKills: 1 }));
    assert.ok(within.correlator.ledger.isBalanced);
    const own = makeReceiver();
    own.take(...both, kernelTotal(5000, 42), outer.counted(5001, 1, { memcg: outerPlace, oomGroupKills: 0 }));
    own.take(outer.counted(5002, 1, { memcg: outerPlace, oomGroupKills: 1 }));
    assert.ok(own.correlator.ledger.isBalanced);
  });

  it('and whose kill was told when its group went, is not told by the outer counter', () => {
    const receiver = makeReceiver();
    receiver.take(...both, kernelTotal(5000, 41), innerGone);
    receiver.takeAt(5001, innerNamed);
    receiver.settle(5700);
    receiver.takeAt(5800, outerCounted);
    assert.deepEqual(receiver.end(), ['6 unknown 71 kernel_log', 0]);
  });

  it('leaves the outer one its own kills', () => {
    const receiver = makeReceiver();
    const outerNamed = named(5, 5000, 81, outerPlace);
    receiver.take(...both, kernelTotal(5000, 42), innerGone, outer.counted(5002, 2, { memcg: outerPlace }));
    receiver.takeAt(5003, innerNamed, outerNamed);
    assert.deepEqual(receiver.end(), [
      '5 unknown 81 kernel_log,memory_events',
      '6 unknown 71 kernel_log,memory_events',
      0,
    ]);
  });

  it('leaves the outer one its own group kill', () => {
    const receiver = makeReceiver();
    const group = outer.counted(5002, 5, { memcg: outerPlace, oomGroupKills: 1 });
    receiver.take(...both, kernelTotal(5000, 45), innerGone);
    receiver.takeAt(5001, innerNamed);
    receiver.takeAt(5002, group);
    assert.deepEqual(receiver.end(), [
      ...Array.from({ length: 3 }, () => '5 unknown - memory_events'),
      '6 unknown 71 kernel_log,memory_events',
      0,
    ]);
  });

  it('is no matter of the outer counter on v1, which is local', () => {
    const receiver = makeReceiver();
    receiver.take(...both.map((one) => ({ ...one, countsBelow: false }) as Observation), kernelTotal(5000, 42));
    receiver.takeAt(5002, innerGone, innerNamed, outerCounted);
    assert.deepEqual(receiver.end(), ['5 unknown - memory_events', '6 unknown 71 kernel_log', 0]);
    const late = makeReceiver();
    late.take(...both.map((one) => ({ ...one, countsBelow: false }) as Observation), kernelTotal(5000, 42));
    late.takeAt(5002, outerCounted);
    late.settle(5700);
    late.takeAt(5800, innerGone, innerNamed);
    assert.deepEqual(late.end(), ['5 unknown - memory_events', '6 unknown 71 kernel_log', 0]);
  });
});
