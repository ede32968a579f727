import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ContainerTable } from '../../receiver/container-table.ts';
import type { Observation } from '../../receiver/observation.ts';
import { idOf, observationsOf } from './observations.ts';

const id = idOf(1);
const { started, exited, removed, seen } = observationsOf(id);

/** What the table tells of these observations: `ended 137` or `restarted`. */
function tell(...observations: Observation[]): string[] {
  const table = new ContainerTable(10);
  return observations
    .flatMap((observation) => table.apply(observation))
    .map((turn) => (turn.kind === 'life_restarted' ? 'restarted' : `ended ${turn.life.exitCode ?? 'unknown'}`));
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
