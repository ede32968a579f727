import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openCase, type Case } from '../../receiver/case.ts';
import { ContainerTable } from '../../receiver/container-table.ts';
import { Strays } from '../../receiver/strays.ts';
import { idOf, observationsOf, strayOf } from './observations.ts';

const settleMs = 600;
const at = (monotonicMs: number) => ({ wallMs: 1_700_000_000_000 + monotonicMs, monotonicMs });

/** A case of kills that were counted when these times were read, none of them named. */
function countedCase(...atMs: number[]): Case {
  const table = new ContainerTable(10);
  table.apply(observationsOf(idOf(1)).started(1000));
  const counted = atMs.map((readAtMs) => ({ atMs: readAtMs, processes: 1, ownLimitHit: false }));
  return { ...openCase(table.get(idOf(1))!), counted };
}

const pidsOf = (victims: ReturnType<typeof strayOf>[]): number[] => victims.map(({ victim }) => victim.pid);

describe('Strays', () => {
  it('gives each back when it has waited for the settle time', () => {
    const strays = new Strays(settleMs);
    assert.equal(strays.dueAtMs, undefined);
    strays.add(strayOf(5000, 71), at(0));
    strays.add(strayOf(5000, 72), at(100));
    assert.equal(strays.dueAtMs, 600);
    assert.deepEqual(strays.takeDue(at(599)), []);
    assert.deepEqual(pidsOf(strays.takeDue(at(600))), [71]);
    assert.deepEqual([pidsOf(strays.all), strays.dueAtMs], [[72], 700]);
  });

  it('can be put off, but for 4 s at most', () => {
    const strays = new Strays(settleMs);
    strays.add(strayOf(5000, 71), at(0));
    strays.putOff(at(500));
    assert.equal(strays.dueAtMs, 1100);
    strays.putOff(at(3900));
    assert.equal(strays.dueAtMs, 4000);
  });

  it('wait no longer than 4 s where the settle time is longer', () => {
    const strays = new Strays(10_000);
    strays.add(strayOf(5000, 71), at(0));
    strays.putOff(at(1));
    assert.equal(strays.dueAtMs, 4000);
  });

  it('gives those to a case that were named before its last kill was counted', () => {
    const strays = new Strays(settleMs);
    for (const [atMs, pid] of [
      [5051, 73],
      [5050, 72],
      [3000, 71],
    ] as const) {
      strays.add(strayOf(atMs, pid), at(0));
    }
    assert.deepEqual(pidsOf(strays.takeFor(countedCase(4000, 5000))), [72, 71]);
    assert.deepEqual(pidsOf(strays.all), [73]);
  });

  it('gives none to a case with fewer kills', () => {
    const strays = new Strays(settleMs);
    for (const pid of [71, 72]) strays.add(strayOf(5000, pid), at(0));
    assert.deepEqual(strays.takeFor(countedCase(5000)), []);
    assert.deepEqual(pidsOf(strays.all), [71, 72]);
  });

  it('drops the oldest for a kill that was told of one of them', () => {
    const strays = new Strays(settleMs);
    for (const pid of [71, 72]) strays.add(strayOf(5000, pid), at(0));
    strays.dropOldest();
    assert.deepEqual(pidsOf(strays.all), [72]);
  });

  it('has no place for more than 1000', () => {
    const strays = new Strays(settleMs);
    const added = Array.from({ length: 1001 }, (_, pid) => strays.add(strayOf(5000, pid), at(0)));
    assert.deepEqual([added.indexOf(false), strays.all.length], [1000, 1000]);
  });
});
