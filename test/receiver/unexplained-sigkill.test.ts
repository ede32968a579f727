import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openCase, type Case } from '../../receiver/case.ts';
import { ContainerTable } from '../../receiver/container-table.ts';
import { Ledger } from '../../receiver/ledger.ts';
import { explainSigkill } from '../../receiver/unexplained-sigkill.ts';
import { idOf, observationsOf } from './observations.ts';

const endedAtMs = 100_000;
const now = { wallMs: endedAtMs + 600, monotonicMs: 600 };

/** A main process that SIGKILL ended, and what else is known of it. */
function killedCase(facts: Partial<Case> = {}): Case {
  const table = new ContainerTable(10);
  table.apply(observationsOf(idOf(1)).started(1000));
  const life = { startedAtMs: 1000, endedAtMs, exitCode: 137, beganUnderOurEyes: true };
  const ended = { atMs: endedAtMs, observedAtMs: endedAtMs, life };
  return { ...openCase(table.get(idOf(1))!, life), ended, ...facts };
}

/** The machine has counted one kill that nobody explains, when its total was read at this time. */
function ledgerOf(countedAtMs?: number): Ledger {
  const ledger = new Ledger();
  ledger.count(40, { wallMs: 0, monotonicMs: 0 });
  if (countedAtMs !== undefined) ledger.count(41, { wallMs: countedAtMs, monotonicMs: 1 });
  return ledger;
}

/** `oom_kill evidence,…` and `cause evidence,…` */
function explain(open: Case, ledger: Ledger): string[] {
  return explainSigkill(open, ledger, now).map((incident) => {
    assert.ok(incident.kind === 'oom_kill' || incident.kind === 'exit');
    return `${incident.kind === 'exit' ? incident.cause : incident.kind} ${incident.evidence.join()}`;
  });
}

const group = { memcg: '/docker/1', atMs: 900, fresh: true, gone: false };
const hint = { hintedAtMs: endedAtMs - 2000 };
const uncounted = new Ledger();
const byVmstat = ['oom_kill vmstat,exit_status', 'oom_container vmstat,exit_status'];
const byVmstatAndHint = ['oom_kill vmstat,runtime_event,exit_status', 'oom_container vmstat,runtime_event,exit_status'];
const byOthers = ['killed_externally exit_status,vmstat'];

describe('explainSigkill', () => {
  const situations: [string, Case, Ledger, string[]][] = [
    [
      'believes a counter that is there, whatever the machine has counted',
      killedCase({ group, ...hint }),
      ledgerOf(endedAtMs),
      ['killed_externally exit_status,memory_events'],
    ],
    [
      'asks the machine where the counter went',
      killedCase({ group: { ...group, gone: true } }),
      ledgerOf(endedAtMs),
      byVmstat,
    ],
    ['takes what was counted 1 s before', killedCase(), ledgerOf(endedAtMs - 1000), byVmstat],
    ['takes what was counted 1 s after', killedCase(), ledgerOf(endedAtMs + 1000), byVmstat],
    ['takes nothing that was counted longer before', killedCase(), ledgerOf(endedAtMs - 1001), byOthers],
    ['takes nothing that was counted longer after', killedCase(), ledgerOf(endedAtMs + 1001), byOthers],
    [
      'takes it from any time where the runtime says so, too',
      killedCase(hint),
      ledgerOf(endedAtMs - 9000),
      byVmstatAndHint,
    ],
    ['does not believe the runtime against the machine', killedCase(hint), ledgerOf(), byOthers],
    [
      'believes the runtime where nothing was counted',
      killedCase(hint),
      uncounted,
      ['oom_kill runtime_event,exit_status', 'oom_container runtime_event,exit_status'],
    ],
    ['does not know where there is no witness at all', killedCase(), uncounted, ['unknown exit_status']],
  ];
  for (const [title, open, ledger, expected] of situations) {
    it(title, () => assert.deepEqual(explain(open, ledger), expected));
  }

  it('takes the line of a userspace OOM killer from 30 s before the end to 2 s after it', () => {
    for (const [wroteAtMs, cause] of [
      [endedAtMs - 30_001, 'killed_externally exit_status,vmstat'],
      [endedAtMs - 30_000, 'killed_by_userspace_oom kernel_log,exit_status'],
      [endedAtMs + 2000, 'killed_by_userspace_oom kernel_log,exit_status'],
      [endedAtMs + 2001, 'killed_externally exit_status,vmstat'],
    ] as const) {
      const userspaceKill = { killer: 'earlyoom' as const, atMs: wroteAtMs };
      assert.deepEqual(explain(killedCase({ userspaceKill }), ledgerOf()), [cause]);
    }
  });

  it('tells the kill of the moment when it happened, by the hint where there is one', () => {
    for (const [open, atMs] of [
      [killedCase(), endedAtMs],
      [killedCase(hint), hint.hintedAtMs],
    ] as const) {
      const [kill] = explainSigkill(open, ledgerOf(endedAtMs), now);
      assert.ok(kill?.kind === 'oom_kill');
      const { incidentId, atMs: toldAtMs, observedAtMs, victim, scope } = kill;
      assert.deepEqual([toldAtMs, observedAtMs, victim, scope], [atMs, now.wallMs, 'init', 'unknown']);
      assert.equal(incidentId, `000000000000-${(atMs * 1000).toString(36)}-0`);
    }
  });

  it('leaves one line of the log, and one count of a group around it, to come', () => {
    const open = killedCase();
    explainSigkill(open, ledgerOf(endedAtMs), now);
    assert.deepEqual([open.toldUnnamed, open.toldUncounted, open.unnamedBeforeMs], [1, 1, endedAtMs]);
  });
});
