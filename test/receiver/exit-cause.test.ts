import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openCase, type Case } from '../../receiver/case.ts';
import { ContainerTable } from '../../receiver/container-table.ts';
import { causeOfScope, explainEnd } from '../../receiver/exit-cause.ts';
import { idOf, observationsOf } from './observations.ts';

const endedAtMs = 20_000;

/** A life that has ended, and what else is known of it. */
function endedCase(exitCode: number | undefined, facts: Partial<Case> = {}, runtime?: 'podman'): Case {
  const table = new ContainerTable(10);
  const { seen } = observationsOf(idOf(1));
  table.apply(seen(1000, { startedAtMs: 1000, runtime }));
  const life = { startedAtMs: 1000, endedAtMs, exitCode, beganUnderOurEyes: true };
  return {
    ...openCase(table.get(idOf(1))!, life),
    ended: { atMs: endedAtMs, observedAtMs: endedAtMs + 1, life },
    ...facts,
  };
}

/** `reason cause evidence,…`, or what it waits for. */
function explain(open: Case, due: boolean): string {
  const end = explainEnd(open, due);
  return typeof end === 'string' ? end : `${end.reason} ${end.cause} ${end.evidence.join()}`.trim();
}

const signalled = (signal?: number, atMs = endedAtMs - 10) => ({ signals: [{ signal, atMs }] });
const initKilled = { evidence: ['kernel_log' as const], scope: 'pod' as const };
const maybeInitKilled = (atMs: number) => ({ maybeInitKilled: { ...initKilled, atMs } });

describe('explainEnd', () => {
  const ends: [string, Case, string][] = [
    ['exit 0', endedCase(0), 'completed completed exit_status'],
    ['exit 3', endedCase(3), 'error app_error exit_status'],
    ['exit 128', endedCase(128), 'error app_error exit_status'],
    ['SIGHUP', endedCase(129), 'error app_signal exit_status'],
    ['the last signal of all', endedCase(192), 'error app_signal exit_status'],
    ['exit 193', endedCase(193), 'error app_error exit_status'],
    ['an end without an exit code', endedCase(undefined), 'error unknown'],
    ['SIGKILL by nobody', endedCase(137), 'unexplained'],
    ['an OOM kill', endedCase(137, { initKilled }), 'oom_killed oom_pod kernel_log,exit_status'],
    ['an OOM kill without an exit code', endedCase(undefined, { initKilled }), 'oom_killed oom_pod kernel_log'],
    ['an exit code that no OOM kill leaves', endedCase(1, { initKilled }), 'error app_error exit_status'],
    [
      'a kill 1 s before whose victim nobody knows',
      endedCase(137, maybeInitKilled(endedAtMs - 1000)),
      'oom_killed oom_pod kernel_log,exit_status',
    ],
    ['the same a little longer before', endedCase(137, maybeInitKilled(endedAtMs - 1001)), 'unexplained'],
    ['a stop', endedCase(137, { stopped: true }), 'killed stopped runtime_event,exit_status'],
    ['a stop, heeded', endedCase(0, { stopped: true }), 'completed stopped runtime_event,exit_status'],
    ['a stop, answered by an error', endedCase(2, { stopped: true }), 'error stopped runtime_event,exit_status'],
    ['a stop without an exit code', endedCase(undefined, { stopped: true }), 'killed stopped runtime_event'],
    ['SIGKILL that was asked for', endedCase(137, signalled(9)), 'killed killed_externally runtime_event,exit_status'],
    [
      'SIGTERM 10 s before',
      endedCase(143, signalled(15, endedAtMs - 10_000)),
      'killed stopped runtime_event,exit_status',
    ],
    ['SIGTERM longer before', endedCase(143, signalled(15, endedAtMs - 10_001)), 'error app_signal exit_status'],
    ['SIGUSR2, of which it died', endedCase(140, signalled(12)), 'killed stopped runtime_event,exit_status'],
    ['SIGUSR2, of which it did not', endedCase(1, signalled(12)), 'error app_error exit_status'],
  ];
  for (const [title, open, expected] of ends) {
    it(`tells of ${title}`, () => assert.equal(explain(open, true), expected));
  }

  it('waits for an exit code, for what may explain SIGKILL, and for the stop that a signal may be part of', () => {
    const waiting = [endedCase(undefined), endedCase(137), endedCase(137, signalled(9)), endedCase(0, signalled(1))];
    assert.deepEqual(
      waiting.map((open) => explain(open, false)),
      waiting.map(() => 'wait'),
    );
    assert.equal(explain(endedCase(1), false), 'error app_error exit_status');
  });

  it('waits for a stop of Podman, which tells of it by its event alone', () => {
    assert.equal(explain(endedCase(1, {}, 'podman'), false), 'wait');
    assert.equal(explain(endedCase(1, {}, 'podman'), true), 'error app_error exit_status');
  });

  it('tells by whose limit an OOM kill was, the container’s own where nobody told', () => {
    assert.deepEqual(causeOfScope, {
      container: 'oom_container',
      nested: 'oom_container',
      unknown: 'oom_container',
      pod: 'oom_pod',
      node_allocatable: 'oom_node_allocatable',
      node: 'oom_node',
      cpuset: 'oom_node',
    });
  });
});
