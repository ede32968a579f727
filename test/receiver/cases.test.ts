import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Cases } from '../../receiver/cases.ts';
import { ContainerTable } from '../../receiver/container-table.ts';
import type { Incident } from '../../receiver/incident.ts';
import { Ledger } from '../../receiver/ledger.ts';
import type { Observation } from '../../receiver/observation.ts';
import { idOf, observationsOf, strayOf } from './observations.ts';

const settleMs = 600;
const id = idOf(1);
const { appeared, counted, exited, gone, hinted, processes, signalled, started } = observationsOf(id);
type Seen = Extract<Observation, { containerId: string }>;

/** The cases of all containers, fed as the correlator feeds them. */
function openCases() {
  const table = new ContainerTable(10);
  const witnesses = { isRuntimeUp: () => true, isKernelLogUp: () => false, isBeginning: () => false };
  const cases = new Cases(settleMs, new Ledger(), witnesses);
  const take = (...observations: Seen[]): Incident[] =>
    observations.flatMap((observation) => {
      const now = { wallMs: observation.atMs, monotonicMs: observation.atMs };
      const transitions = table.apply(observation);
      const turned = transitions.flatMap((one) => (one.kind === 'workload_restarted' ? [] : cases.turn(one, now)));
      return [...turned, ...cases.observe(observation, table.get(observation.containerId)!, now)];
    });
  return { cases, take, of: (n = 1) => cases.of(table.get(idOf(n))!), container: () => table.get(id)! };
}

describe('Cases', () => {
  it('keeps the last eight signals of a life', () => {
    const { take, of } = openCases();
    take(started(1000), ...Array.from({ length: 20 }, (_, n) => signalled(2000 + n, n)));
    assert.deepEqual(
      of()[0]!.signals.map(({ signal }) => signal),
      [12, 13, 14, 15, 16, 17, 18, 19],
    );
  });

  it('keeps nothing of lives that are told, but for the last', () => {
    const { take, of } = openCases();
    for (let n = 1; n <= 20; n++) {
      take(appeared(n * 10_000), started(n * 10_000 + 1), exited(n * 10_000 + 20, 1), gone(n * 10_000 + 30));
    }
    assert.equal(of().length, 2);
  });

  it('has what a life left open wait on though another has begun', () => {
    const { cases, take, of } = openCases();
    take(appeared(900), started(1000), exited(5000, 137));
    for (let n = 1; n <= 3; n++) take(gone(5000 + n * 10), appeared(5001 + n * 10), started(5002 + n * 10));
    const waiting = of().filter(({ ended, endTold }) => ended !== undefined && !endTold);
    assert.equal(waiting.length, 1);
    const told = cases.settle({ wallMs: 5600, monotonicMs: 5600 });
    assert.deepEqual(
      told.map(({ kind }) => kind),
      ['exit'],
    );
  });

  it('is due when the first of them is', () => {
    const { cases, take } = openCases();
    const other = observationsOf(idOf(2));
    take(started(1000), other.started(1000), exited(5000, 137), other.exited(5100, 137));
    assert.equal(cases.dueAtMs, 5600);
    cases.settle({ wallMs: 5600, monotonicMs: 5600 });
    assert.equal(cases.dueAtMs, 5700);
  });

  it('knows in which containers the victim of a kill is open', () => {
    const { cases, take, container } = openCases();
    take(appeared(900), started(1000), processes(1001, 70));
    assert.deepEqual([cases.hasOpenKills(container()), cases.mainPidOf(container())], [false, 70]);
    take(counted(5000));
    assert.equal(cases.hasOpenKills(container()), true);
    take(gone(5001), appeared(5100));
    assert.equal(cases.hasOpenKills(container()), true, 'in the life before');
  });

  it('keeps no hint from before the first start for the life that it begins', () => {
    const { take, of } = openCases();
    take(observationsOf(id).seen(900, { running: false }), hinted(950));
    assert.deepEqual(of(), []);
  });

  it('goes on with the strays of an earlier run', () => {
    const { cases } = openCases();
    cases.resumeStrays([strayOf(5000, 71)], { wallMs: 0, monotonicMs: 0 });
    assert.deepEqual(
      cases.strays.map(({ victim }) => victim.pid),
      [71],
    );
    assert.deepEqual(
      cases.settle({ wallMs: settleMs, monotonicMs: settleMs }).map(({ kind }) => kind),
      ['node_oom_kill'],
    );
  });

  it('goes on with what was open in an earlier run, and with no wait for what was not', () => {
    const before = openCases();
    before.take(appeared(900), started(1000), exited(5000, 137));
    const { cases } = openCases();
    const now = { wallMs: 0, monotonicMs: 50 };
    cases.resume(before.container(), before.of(), now);
    assert.equal(cases.dueAtMs, 50 + settleMs);
    const told = openCases();
    told.take(appeared(900), started(1000), exited(5000, 1));
    const after = openCases();
    after.cases.resume(told.container(), told.of(), now);
    assert.equal(after.cases.dueAtMs, undefined);
    assert.equal(told.of()[0]?.uncountedUntilMs, 10_050);
  });
});
