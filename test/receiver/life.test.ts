import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ContainerTable } from '../../receiver/container-table.ts';
import type { Transition } from '../../receiver/life.ts';
import type { Observation } from '../../receiver/observation.ts';
import { NodeClock } from './node-clock.ts';
import { idOf, observationsOf } from './observations.ts';

const id = idOf(1);
const { started, exited, removed, seen } = observationsOf(id);

/** What the table tells of these observations: `ended 137` or `restarted`. */
function tell(...observations: Observation[]): string[] {
  const table = new ContainerTable(10);
  return observations.flatMap((observation) => table.apply(observation)).map(inWords);
}

function inWords(turn: Transition): string {
  return turn.kind === 'life_restarted' ? 'restarted' : `ended ${turn.life.exitCode ?? 'unknown'}`;
}

describe('the lives of a container', () => {
  const cases: [string, Observation[], string[]][] = [
    ['a first start is no restart', [started(1000)], []],
    ['a container found running is no restart', [seen(9000, { startedAtMs: 1000 })], []],
    ['start, end, start', [started(1000), exited(2000, 1), started(2100)], ['ended 1', 'restarted']],
    ['the same event twice', [started(1000), exited(2000, 1), exited(2000, 1)], ['ended 1']],
    ['an end nobody saw begin', [exited(2000, 3)], ['ended 3']],
    ['a replayed start from before the end', [started(1000), exited(2000, 1), started(1000)], ['ended 1']],
    [
      'an inspection that tells the end before its event',
      [
        started(1000),
        seen(2010, { running: false, startedAtMs: 990, finishedAtMs: 2000, exitCode: 7 }),
        exited(2020, 7),
      ],
      ['ended 7'],
    ],
    [
      'an inspection answered before the end, delivered after it',
      [started(1000), exited(2000, 7), seen(1990, { startedAtMs: 990 })],
      ['ended 7'],
    ],
    [
      'an inspection of the life that a start event told of',
      [started(1000), exited(1050, 1), started(1160), seen(1170, { startedAtMs: 1155, finishedAtMs: 1049 })],
      ['ended 1', 'restarted'],
    ],
    [
      'an inspection that tells a fast restart before its event',
      [started(1000), exited(1050, 1), seen(1170, { startedAtMs: 1155 }), started(1160), exited(1300, 2)],
      ['ended 1', 'restarted', 'ended 2'],
    ],
    [
      'an inspection of an earlier life delivered late',
      [started(1000), exited(1050, 1), started(1160), seen(1170, { startedAtMs: 995, pid: 1 })],
      ['ended 1', 'restarted'],
    ],
    [
      'an end of an earlier life that comes late, when an inspection told of the present one',
      [seen(1000, { startedAtMs: 900 }), seen(9000, { startedAtMs: 8000, finishedAtMs: 7900 }), exited(7900, 5)],
      ['ended unknown', 'restarted'],
    ],
    [
      'a begin of an earlier life that comes late, when an inspection told of the present one',
      [seen(9000, { startedAtMs: 8000 }), started(7000)],
      [],
    ],
    ['a removal of what ran', [started(1000), removed(2000)], ['ended unknown']],
    ['a removal of what had ended', [started(1000), exited(1500, 0), removed(2000)], ['ended 0']],
    [
      'an exit code that comes after the end',
      [started(1000), exited(1500), seen(1600, { running: false, startedAtMs: 995, finishedAtMs: 1499, exitCode: 6 })],
      ['ended 6'],
    ],
    [
      'an end that was missed while nobody listened',
      [
        seen(1000, { startedAtMs: 900 }),
        seen(9000, { running: false, startedAtMs: 900, finishedAtMs: 5000, exitCode: 2 }),
      ],
      ['ended 2'],
    ],
    [
      'an end and a restart that were missed',
      [seen(1000, { startedAtMs: 900 }), seen(9000, { startedAtMs: 8000, finishedAtMs: 7900 })],
      ['ended unknown', 'restarted'],
    ],
    [
      'three restarts by policy that were missed',
      [
        seen(1000, { startedAtMs: 900, restartCount: 1 }),
        seen(9000, { startedAtMs: 8000, finishedAtMs: 7900, restartCount: 4 }),
      ],
      ['ended unknown', 'restarted', 'ended unknown', 'restarted', 'ended unknown', 'restarted'],
    ],
    [
      'restarts by policy that events told, and one that was missed',
      [
        seen(1000, { startedAtMs: 900, restartCount: 1 }),
        exited(2000, 1),
        started(2100),
        exited(3000, 1),
        started(3100),
        seen(9000, { startedAtMs: 8000, finishedAtMs: 7900, restartCount: 4 }),
      ],
      ['ended 1', 'restarted', 'ended 1', 'restarted', 'ended unknown', 'restarted'],
    ],
    [
      'an inspection that was answered before the events that came first',
      [
        seen(1000, { startedAtMs: 900, restartCount: 1 }),
        exited(2000, 1),
        started(2100),
        seen(1990, { startedAtMs: 900, restartCount: 1 }),
        seen(9000, { startedAtMs: 8000, finishedAtMs: 7900, restartCount: 3 }),
      ],
      ['ended 1', 'restarted', 'ended unknown', 'restarted'],
    ],
    [
      'an inspection of an ended life answered before the next begin, which came first',
      [
        seen(1000, { startedAtMs: 900, restartCount: 1 }),
        exited(2000, 1),
        started(2100),
        seen(2050, { running: false, startedAtMs: 900, finishedAtMs: 1999, exitCode: 1, restartCount: 1 }),
        seen(2200, { startedAtMs: 2095, finishedAtMs: 1999, restartCount: 2 }),
        seen(9000, { startedAtMs: 8000, finishedAtMs: 7900, restartCount: 4 }),
      ],
      ['ended 1', 'restarted', 'ended unknown', 'restarted', 'ended unknown', 'restarted'],
    ],
    [
      'a start by hand, with which Docker counts from 0 again, and three restarts by policy that were missed',
      [
        seen(1000, { startedAtMs: 900, restartCount: 5 }),
        exited(2000, 0),
        started(2100),
        seen(2110, { startedAtMs: 2095, finishedAtMs: 1999, restartCount: 0 }),
        seen(9000, { startedAtMs: 8000, finishedAtMs: 7900, restartCount: 3 }),
      ],
      [
        'ended 0',
        'restarted',
        'ended unknown',
        'restarted',
        'ended unknown',
        'restarted',
        'ended unknown',
        'restarted',
      ],
    ],
    [
      'a restart and the next end that were missed',
      [
        seen(1000, { startedAtMs: 900 }),
        seen(9000, { running: false, startedAtMs: 8000, finishedAtMs: 8500, exitCode: 4 }),
      ],
      ['ended unknown', 'restarted', 'ended 4'],
    ],
    [
      'a stopped container that was new to us is started again',
      [started(9000), seen(9010, { startedAtMs: 8990, finishedAtMs: 5000 })],
      ['restarted'],
    ],
    ['a container that never ran', [seen(1000, { running: false }), started(2000), exited(3000, 0)], ['ended 0']],
  ];
  for (const [title, observations, expected] of cases) {
    it(title, () => assert.deepEqual(tell(...observations), expected));
  }

  it('tells one hundred missed restarts of a runtime that counts more, and goes on from its count', () => {
    const counts = (...observations: Observation[]) =>
      tell(...observations).filter((word) => word === 'restarted').length;
    const known = seen(1000, { startedAtMs: 900, restartCount: 0 });
    const much = seen(9000, { startedAtMs: 8000, restartCount: Number.MAX_SAFE_INTEGER - 1 });
    assert.equal(counts(known, seen(9000, { startedAtMs: 8000, restartCount: 100 })), 100);
    assert.equal(counts(known, seen(9000, { startedAtMs: 8000, restartCount: 101 })), 100);
    assert.equal(counts(known, much), 100);
    assert.equal(counts(known, much, seen(9999, { startedAtMs: 9500, restartCount: Number.MAX_SAFE_INTEGER })), 101);
  });

  it('counts each restart once, whichever of them events tell and however late inspections are', () => {
    const restarts = fc.record({ told: fc.boolean(), inspected: fc.boolean(), lateBy: fc.integer({ min: 0, max: 3 }) });
    fc.assert(
      fc.property(fc.array(restarts, { minLength: 1, maxLength: 12 }), (turns) => {
        const observations: Observation[] = [seen(10, { startedAtMs: 5, restartCount: 0 })];
        const late: { atTurn: number; observation: Observation }[] = [];
        for (const [index, { told, inspected, lateBy }] of [
          ...turns,
          { told: false, inspected: true, lateBy: 0 },
        ].entries()) {
          const atMs = (index + 1) * 100_000;
          if (told) observations.push(exited(atMs, 1), started(atMs + 110));
          const restartCount = index + 1;
          const observation = seen(atMs + 120, { startedAtMs: atMs + 100, finishedAtMs: atMs - 1, restartCount });
          // After a gap the daemon is asked before it tells more.
          const isGapOver = !told && turns[index + 1]?.told !== false;
          if (inspected || isGapOver) late.push({ atTurn: index + (told ? lateBy : 0), observation });
          for (const { atTurn, observation: due } of late.splice(0)) {
            if (atTurn <= index) observations.push(due);
            else late.push({ atTurn, observation: due });
          }
        }
        const restarted = tell(...observations).filter((word) => word === 'restarted').length;
        assert.equal(restarted, turns.length + 1);
      }),
    );
  });

  it('takes the pid of the life it belongs to', () => {
    const table = new ContainerTable(10);
    for (const observation of [
      started(1000),
      seen(1010, { startedAtMs: 995, pid: 41 }),
      exited(1050, 1),
      started(1160),
      seen(1020, { startedAtMs: 995, pid: 41 }),
      seen(1170, { startedAtMs: 1155, pid: 42 }),
    ]) {
      table.apply(observation);
    }
    assert.equal(table.get(id)?.life?.pid, 42);
  });

  it('ends and begins in turn, whatever is observed', () => {
    const moment = fc.integer({ min: 0, max: 60_000 });
    const any = fc.oneof(
      moment.map(started),
      fc.tuple(moment, fc.integer({ min: 0, max: 255 })).map(([atMs, code]) => exited(atMs, code)),
      fc
        .record({ running: fc.boolean(), startedAtMs: moment, finishedAtMs: moment, exitCode: fc.nat(255) })
        .map((facts) => seen(facts.startedAtMs + 10, facts)),
    );
    fc.assert(
      fc.property(fc.array(any, { maxLength: 30 }), (observations) => {
        const told = tell(...observations).map((turn) => turn.split(' ')[0]);
        for (const [index, turn] of told.entries()) assert.ok(turn === 'restarted' || told[index - 1] !== 'ended');
      }),
    );
  });
});

describe('the lives of a container when the clock jumps', () => {
  const hourMs = 3_600_000;
  const noonMs = Date.UTC(2026, 10, 21, 12);
  const minutes = (count: number): number => count * 60_000;

  /** Observations are made from the time on the clock; `jump` sets it. */
  function onNode() {
    const clock = new NodeClock(noonMs);
    const table = new ContainerTable(10, clock.read);
    const told: Transition[] = [];
    return {
      clock,
      table,
      told,
      words: () => told.map(inWords),
      take: (observation: Observation) => told.push(...table.apply(observation)),
    };
  }

  it('tells a live exit and restart though the life began in what is now the future', () => {
    for (const first of [started(noonMs), seen(noonMs, { startedAtMs: noonMs - 10, pid: 1 })]) {
      const { clock, take, words } = onNode();
      take(first);
      clock.pass(minutes(5));
      clock.jump(-hourMs);
      clock.pass(1000);
      take(exited(clock.wallMs - 1, 137));
      clock.pass(100);
      take(started(clock.wallMs - 1));
      clock.pass(100);
      take(exited(clock.wallMs - 1, 1));
      assert.deepEqual(words(), ['ended 137', 'restarted', 'ended 1']);
    }
  });

  it('tells a live restart though the end before it lies in what is now the future', () => {
    const { clock, take, words } = onNode();
    take(started(noonMs));
    clock.pass(100);
    take(exited(clock.wallMs, 2));
    clock.jump(-2000);
    clock.pass(100);
    take(started(clock.wallMs));
    clock.pass(100);
    take(exited(clock.wallMs, 3));
    assert.deepEqual(words(), ['ended 2', 'restarted', 'ended 3']);
  });

  it('knows how long a life took that began before the clock was set back', () => {
    const { clock, take, told } = onNode();
    take(started(noonMs));
    clock.pass(minutes(5));
    clock.jump(-hourMs);
    clock.pass(minutes(5));
    take(exited(clock.wallMs, 0));
    assert.equal(told[0]!.atMs - told[0]!.life.startedAtMs!, minutes(10));
  });

  it('takes the runtime’s record of a life for the same one, though the clock was set back since', () => {
    for (const first of [started(noonMs), seen(noonMs, { startedAtMs: noonMs - 10, pid: 1 })]) {
      const { clock, take, words, table } = onNode();
      take(first);
      clock.pass(minutes(5));
      clock.jump(-hourMs);
      take(seen(clock.wallMs, { startedAtMs: noonMs - 10, pid: 1 }));
      clock.pass(minutes(1));
      take(exited(clock.wallMs, 137));
      const record = { running: false, startedAtMs: noonMs - 10, finishedAtMs: clock.wallMs - 1, exitCode: 137 };
      take(seen(clock.wallMs, record));
      clock.pass(2 * hourMs);
      take(seen(clock.wallMs, record));
      assert.deepEqual(words(), ['ended 137']);
      assert.equal(table.get(id)?.life?.pid, 1);
    }
  });

  it('takes the record of an end from before the clock was set back for the end that it knows', () => {
    const { clock, take, words } = onNode();
    take(exited(noonMs, 4));
    clock.jump(-minutes(10));
    for (const agoMs of [minutes(1), minutes(30)]) {
      take(seen(clock.wallMs, { running: false, startedAtMs: noonMs - agoMs, finishedAtMs: noonMs - 1, exitCode: 4 }));
    }
    assert.deepEqual(words(), ['ended 4']);
  });

  it('tells the exit of a life that it found with its begin in the future', () => {
    const { clock, take, words, told } = onNode();
    take(seen(clock.wallMs, { startedAtMs: noonMs + hourMs, pid: 7 }));
    clock.pass(minutes(1));
    take(seen(clock.wallMs, { startedAtMs: noonMs + hourMs, pid: 7 }));
    clock.pass(minutes(1));
    take(exited(clock.wallMs, 5));
    take(
      seen(clock.wallMs, { running: false, startedAtMs: noonMs + hourMs, finishedAtMs: clock.wallMs - 1, exitCode: 5 }),
    );
    clock.pass(minutes(1));
    take(started(clock.wallMs));
    assert.deepEqual(words(), ['ended 5', 'restarted']);
    assert.equal(told[0]!.atMs, noonMs + minutes(2));
  });

  it('tells of nothing that it happened later than now', () => {
    const { clock, take, told } = onNode();
    take(started(noonMs));
    clock.pass(minutes(1));
    const diedAtMs = clock.wallMs;
    clock.jump(-hourMs);
    take(exited(diedAtMs, 1));
    assert.equal(told[0]!.atMs, clock.wallMs);
  });

  it('counts nothing twice that was on the way while the clock was set back', () => {
    const { clock, take, words } = onNode();
    take(started(noonMs));
    clock.pass(minutes(1));
    const diedAtMs = clock.wallMs;
    take(seen(diedAtMs, { running: false, startedAtMs: noonMs - 10, finishedAtMs: diedAtMs - 1, exitCode: 6 }));
    clock.jump(-hourMs);
    clock.pass(250);
    take(exited(diedAtMs, 6));
    assert.deepEqual(words(), ['ended 6']);
  });

  it('has no kept time in the future after the clock was set back, nor a begin of its counters', () => {
    const { clock, take, table } = onNode();
    const { appeared } = observationsOf(id);
    take(appeared(noonMs));
    take(started(noonMs + 1));
    clock.pass(minutes(1));
    clock.jump(-hourMs);
    table.expire(0);
    const { life, memcgSinceMs, workload } = table.get(id)!;
    for (const atMs of [life?.startedAtMs, memcgSinceMs, workload.firstSeenAtMs]) {
      assert.ok(Math.abs(atMs! - (noonMs - hourMs)) <= 1);
    }
  });

  it('leaves the counters’ begin alone where that is past by either clock', () => {
    const { clock, take, table } = onNode();
    take(started(noonMs));
    clock.pass(2 * hourMs);
    for (const byMs of [-hourMs, 12 * hourMs]) {
      clock.jump(byMs);
      table.expire(0);
      assert.equal(table.get(id)!.workload.firstSeenAtMs, noonMs);
    }
  });

  const jumps = fc.oneof(
    fc.constant(0),
    fc.integer({ min: -10 * hourMs, max: 10 * hourMs }),
    fc.integer({ min: -3000, max: 3000 }),
  );
  const run = fc.record({
    runsMs: fc.integer({ min: 300, max: 2 * hourMs }),
    downMs: fc.integer({ min: 300, max: 2 * hourMs }),
    lagMs: fc.integer({ min: 0, max: 250 }),
    inspected: fc.boolean(),
    whileRunning: jumps,
    exitInFlight: jumps,
    whileDown: jumps,
    startInFlight: jumps,
  });

  it('tells each live end and restart once, wherever and however often the clock jumps', () => {
    fc.assert(
      fc.property(fc.array(run, { minLength: 1, maxLength: 8 }), (runs) => {
        const { clock, table, take, words } = onNode();
        const expected: string[] = [];
        let finishedAtMs: number | undefined;
        for (const [index, life] of runs.entries()) {
          const startedAtMs = clock.wallMs;
          clock.pass(5);
          const startToldAtMs = clock.wallMs;
          clock.jump(life.startInFlight);
          clock.pass(life.lagMs);
          take(started(startToldAtMs));
          if (index > 0) expected.push('restarted');
          if (life.inspected) take(seen(clock.wallMs, { startedAtMs, finishedAtMs, pid: index }));
          clock.pass(life.runsMs / 2);
          clock.jump(life.whileRunning);
          table.expire(0);
          if (life.inspected) take(seen(clock.wallMs, { startedAtMs, finishedAtMs, pid: index }));
          clock.pass(life.runsMs / 2);
          finishedAtMs = clock.wallMs;
          clock.pass(1);
          const endToldAtMs = clock.wallMs;
          clock.jump(life.exitInFlight);
          clock.pass(life.lagMs);
          take(exited(endToldAtMs, index));
          expected.push(`ended ${index}`);
          const record = { running: false, startedAtMs, finishedAtMs, exitCode: index };
          if (life.inspected) take(seen(clock.wallMs, record));
          clock.pass(life.downMs / 2);
          clock.jump(life.whileDown);
          table.expire(0);
          clock.pass(life.downMs / 2);
        }
        assert.deepEqual(words(), expected);
      }),
      { numRuns: 300 },
    );
  });
});
