import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openCase, type Case, type CountedKills } from '../../receiver/case.ts';
import { ContainerTable } from '../../receiver/container-table.ts';
import type { OomKill } from '../../receiver/incident.ts';
import type { VictimLogged } from '../../receiver/observation.ts';
import { countProcesses, scopeOfNamed, tellKills } from '../../receiver/oom-kills.ts';
import { idOf, observationsOf, victimOf } from './observations.ts';

const id = idOf(1);
const now = { wallMs: 6000, monotonicMs: 6000 };
const life = { startedAtMs: 1000, pid: 70, beganUnderOurEyes: true };

/** A life of which the main process is known, and what else is known of it. */
function caseOf(facts: Partial<Case>, limitBytes?: number): Case {
  const table = new ContainerTable(10);
  table.apply(observationsOf(id).started(1000));
  return { ...openCase(Object.assign(table.get(id)!, { limitBytes }), life), ...facts };
}

const counted = (atMs: number, facts: Partial<CountedKills> = {}): CountedKills => ({
  atMs,
  processes: 1,
  ownLimitHit: false,
  ...facts,
});

/** Below a limit of so many bytes: the container's own where nothing else is said. */
function named(atMs: number, pid: number, limitBytes?: number, oomMemcg = `/docker/${id}`): VictimLogged {
  const { invocation } = victimOf(id, atMs, pid).victim;
  return victimOf(id, atMs, pid, { invocation: { ...invocation!, oomMemcg, limitBytes } });
}

const tellDue = (open: Case): OomKill[] => tellKills(open, now, true, true);

describe('countProcesses', () => {
  it('leaves out the second count of the first victim of a group kill', () => {
    const { processes, group } = countProcesses({ atMs: 1, oomKills: 5, oomGroupKills: 1 });
    assert.deepEqual([processes, group], [4, true]);
  });

  it('does not know of groups where the kernel does not count them', () => {
    assert.equal(countProcesses({ atMs: 1, oomKills: 1 }).group, undefined);
    assert.equal(countProcesses({ atMs: 1, oomKills: 1, oomGroupKills: 0 }).group, false);
  });

  it('takes the own limit for hit where that was counted', () => {
    const hit = [undefined, 0, 1].map((ooms) => countProcesses({ atMs: 1, oomKills: 1, ooms }).ownLimitHit);
    assert.deepEqual(hit, [false, false, true]);
  });
});

describe('tellKills', () => {
  it('takes the kill that was named first for the one that was counted first', () => {
    const open = caseOf({
      counted: [counted(5001, { limitBytes: 1 }), counted(5101, { limitBytes: 2 })],
      named: [named(5100, 72), named(5000, 71)],
    });
    assert.deepEqual(
      tellDue(open).map((kill) => [kill.named?.victim.pid, kill.atMs, kill.limitBytes]),
      [
        [71, 5000, 1],
        [72, 5100, 2],
      ],
    );
  });

  it('tells the limit that was read with the counter, else that which the log names, else the last that was known', () => {
    const limitOf = (facts: Partial<Case>) => tellDue(caseOf(facts, 50)).map(({ limitBytes }) => limitBytes);
    const byLog = [named(5000, 71, 100)];
    assert.deepEqual(limitOf({ counted: [counted(5001, { limitBytes: 200 })], named: byLog }), [200]);
    assert.deepEqual(limitOf({ counted: [counted(5001)], named: byLog }), [100]);
    assert.deepEqual(limitOf({ named: [named(5000, 71, 100, '/')] }), [50], "the log names another's limit");
    assert.deepEqual(limitOf({ counted: [counted(5001)] }), [50]);
  });

  it('says that the main process lives on where a child was killed and no end of it was seen', () => {
    const ended = { atMs: 5010, observedAtMs: 5011, life: { ...life, exitCode: 1 } };
    const aliveWith = (facts: Partial<Case>) =>
      tellDue(caseOf({ counted: [counted(5001)], ...facts })).map((kill) => [kill.victim, kill.mainProcessAlive]);
    assert.deepEqual(aliveWith({ named: [named(5000, 71)] }), [['child', true]]);
    assert.deepEqual(aliveWith({ mainProcess: { alive: true, atMs: 5002 } }), [['child', true]]);
    assert.deepEqual(aliveWith({ named: [named(5000, 71)], ended }), [['child', false]]);
    assert.deepEqual(aliveWith({ named: [named(5000, 71)], mainProcess: { alive: false, atMs: 5002 } }), [
      ['child', false],
    ]);
    assert.deepEqual(aliveWith({ named: [named(5000, 70)] }), [['init', false]]);
  });

  it('names the witnesses, and no others', () => {
    const evidenceOf = (facts: Partial<Case>) => tellDue(caseOf(facts)).map(({ evidence }) => evidence.join());
    const alive = { alive: true, atMs: 5002 };
    assert.deepEqual(evidenceOf({ counted: [counted(5001)], mainProcess: alive }), ['memory_events']);
    assert.deepEqual(evidenceOf({ named: [named(5000, 71)] }), ['kernel_log']);
    assert.deepEqual(evidenceOf({ named: [named(5000, 71)], mainProcess: { ...alive, alive: false } }), [
      'kernel_log,exit_status',
    ]);
    // The hint is about the time of the count, the log's clock is not.
    assert.deepEqual(evidenceOf({ counted: [counted(5001)], named: [named(2500, 71)], hintedAtMs: 6500 }), [
      'kernel_log,memory_events,runtime_event',
    ]);
  });

  it('takes a look at the main process for one after the kills where it was at that moment, not before', () => {
    const victimAt = (atMs: number) =>
      tellKills(
        caseOf({ counted: [counted(5000), counted(5020)], mainProcess: { alive: false, atMs } }),
        now,
        false,
        false,
      );
    assert.deepEqual(victimAt(5019), []);
    assert.deepEqual(
      victimAt(5020).map(({ victim }) => victim),
      ['init', 'child'],
    );
  });

  it('waits for the second witness of each kill', () => {
    const group = { memcg: `/docker/${id}`, atMs: 900, fresh: true, gone: false };
    const alive = { alive: true, atMs: 5030 };
    const tellEarly = (facts: Partial<Case>, logRead: boolean) =>
      tellKills(caseOf({ group, mainProcess: { ...alive, alive: false }, ...facts }), now, false, logRead).length;
    assert.equal(tellEarly({ counted: [counted(5000)] }, true), 0);
    assert.equal(tellEarly({ counted: [counted(5000)] }, false), 1);
    assert.equal(tellEarly({ named: [named(5000, 71)] }, true), 0);
    assert.equal(tellEarly({ named: [named(5000, 71)], group: { ...group, gone: true } }, true), 1);
    // One of two has both.
    const two = { counted: [counted(5000)], named: [named(4999, 71), named(5001, 72)] };
    assert.equal(tellEarly(two, true), 0);
    assert.equal(tellEarly({ ...two, mainProcess: alive }, true), 0);
  });

  it('waits for the group that a counter shows and the log has not announced', () => {
    const group = { counted: [counted(5000, { group: true })], mainProcess: { alive: true, atMs: 5010 } };
    const tellEarly = (logged: VictimLogged) =>
      tellKills(caseOf({ ...group, named: [logged] }), now, false, true).length;
    const { invocation } = named(5000, 71).victim;
    assert.equal(tellEarly(named(5000, 71)), 0);
    assert.equal(tellEarly(victimOf(id, 5000, 71, { invocation: undefined })), 0);
    const announced = { ...invocation!, oomGroup: `/docker/${id}` };
    assert.equal(tellEarly(victimOf(id, 5000, 71, { invocation: announced })), 1);
  });

  it('takes nobody for a main process that had ended by itself before', () => {
    const over = { ...life, pid: undefined, endedAtMs: 4000 };
    const memcg = `/docker/${id}`;
    const victimIn = (exitCode: number | undefined, group?: { atMs: number; fresh: boolean }) =>
      tellDue(
        caseOf({
          life: { ...over, exitCode },
          counted: [counted(5000)],
          group: group && { ...group, memcg, gone: false },
        }),
      ).map(({ victim }) => victim);
    assert.deepEqual(victimIn(1), ['child']);
    assert.deepEqual(victimIn(undefined), ['unknown']);
    assert.deepEqual(victimIn(137), ['unknown']);
    const known = { ...over, pid: 70, exitCode: 137 };
    assert.equal(tellDue(caseOf({ life: known, counted: [counted(5000)] }))[0]?.victim, 'unknown');
    assert.deepEqual(victimIn(1, { atMs: 900, fresh: true }), ['child']);
    assert.deepEqual(victimIn(1, { atMs: 4500, fresh: false }), ['child']);
    for (const atMs of [4000, 4500]) {
      assert.deepEqual(victimIn(1, { atMs, fresh: true }), ['unknown'], 'the group is that of the next life');
    }
  });

  it('takes all for children once the main process is known to be dead', () => {
    const initKilled = { evidence: ['kernel_log' as const], scope: 'container' as const };
    const kills = tellDue(caseOf({ initKilled, counted: [counted(5000), counted(5001)], named: [named(5000, 70)] }));
    assert.deepEqual(
      kills.map(({ victim }) => victim),
      ['child', 'child'],
    );
  });

  it('takes those that nobody named for children where the main process is named', () => {
    const kills = tellDue(caseOf({ counted: [counted(5000), counted(5001)], named: [named(5000, 70)] }));
    assert.deepEqual(
      kills.map(({ victim }) => victim),
      ['init', 'child'],
    );
  });

  it('tells a kill that the main process outlived by a look at that very moment', () => {
    const facts = { counted: [counted(5000), counted(5020)], mainProcess: { alive: true, atMs: 5020 } };
    assert.equal(tellKills(caseOf(facts), now, false, false).length, 2);
  });

  it('blames no child for the end of the main process', () => {
    const open = caseOf({ counted: [counted(5000)], named: [named(5000, 71)] });
    tellDue(open);
    assert.equal(open.maybeInitKilled, undefined);
    const unknown = caseOf({ life: undefined, counted: [counted(5000)] });
    tellDue(unknown);
    assert.equal(unknown.maybeInitKilled?.atMs, 5000);
  });

  it('believes the counter about whose limit it was where the log does not tell', () => {
    const held = victimOf(id, 5000, 71, { invocation: undefined });
    const scopeOf = (ownLimitHit: boolean) =>
      tellDue(caseOf({ counted: [counted(5000, { ownLimitHit })], named: [held] })).map(({ scope }) => scope);
    assert.deepEqual([scopeOf(true), scopeOf(false)], [['container'], ['unknown']]);
  });

  it('takes one of those that nobody named for the main process where that was killed', () => {
    const ended = { atMs: 5010, observedAtMs: 5011, life: { ...life, exitCode: 137 } };
    const kills = tellDue(caseOf({ ended, counted: [counted(5000, { processes: 3 })], named: [named(5000, 71)] }));
    assert.deepEqual(
      kills.map(({ victim }) => victim),
      ['child', 'init', 'child'],
    );
  });
});

describe('scopeOfNamed', () => {
  const uid = '5a1f3c62-0b5e-4a51-9e0f-6f1f5b1d2c3e';
  const kubepods = '/kubepods/burstable';
  const memcg = `${kubepods}/pod${uid}/${id}`;
  const at = { monotonicUs: 5 };
  const scopeAt = (oomMemcg: string, limitBytes?: number, ownLimitBytes?: number) =>
    scopeOfNamed(
      victimOf(id, 5000, 71, { memcg, invocation: { at, oomMemcg, taskMemcg: memcg, limitBytes } }),
      ownLimitBytes,
    );

  it('takes the limit of a pod for its container’s where the two are known to be the same', () => {
    assert.equal(scopeAt(`${kubepods}/pod${uid}`, 100, 100), 'container');
    assert.equal(scopeAt(`${kubepods}/pod${uid}`, 100, 50), 'pod');
    assert.equal(scopeAt(`${kubepods}/pod${uid}`), 'pod');
  });

  it('goes by the group of the victim, else by that of the process which the report is of', () => {
    const other = `${kubepods}/pod${uid}/${idOf(2)}`;
    const scopeFor = (victimMemcg?: string) => {
      const invocation = { at, oomMemcg: memcg, taskMemcg: victimMemcg === undefined ? memcg : other };
      return scopeOfNamed(victimOf(id, 5000, 71, { memcg: victimMemcg, invocation }));
    };
    assert.deepEqual([scopeFor(), scopeFor(memcg)], ['container', 'container']);
  });

  it('takes no other limit for the container’s', () => {
    assert.equal(scopeAt(kubepods, 100, 100), 'node_allocatable');
    assert.equal(scopeAt('/', 100, 100), 'node');
    assert.equal(scopeAt(`${memcg}/inner`, 100, 100), 'nested');
  });
});
