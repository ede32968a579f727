import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CountedKills } from '../../receiver/case.ts';
import { joinGroupKills, joinGroups } from '../../receiver/group-kills.ts';
import { idOf, victimOf } from './observations.ts';

/** `group`, as far as the kernel tells, and how many died. */
const rise = (atMs: number, group: boolean | undefined, processes = 1, ownLimitHit = false): CountedKills => ({
  atMs,
  processes,
  group,
  ownLimitHit,
});

const joined = (...rises: CountedKills[]) => joinGroupKills(rises).map(({ group, processes }) => [group, processes]);

describe('joinGroupKills', () => {
  it('gives a group what was counted within 250 ms after it', () => {
    assert.deepEqual(joined(rise(0, true, 2), rise(250, false, 3)), [[true, 5]]);
    assert.deepEqual(joined(rise(0, true, 2), rise(251, false, 3)), [
      [true, 2],
      [false, 3],
    ]);
  });

  it('gives a group one of those that were counted right before', () => {
    assert.deepEqual(joined(rise(0, false, 3), rise(250, true, 2)), [
      [false, 2],
      [true, 3],
    ]);
    assert.deepEqual(joined(rise(0, false), rise(250, true, 2)), [[true, 3]]);
    assert.deepEqual(joined(rise(0, false), rise(251, true, 2)), [
      [false, 1],
      [true, 2],
    ]);
    assert.deepEqual(joined(rise(0, false, 0), rise(1, true, 2)), [[true, 2]]);
  });

  it('leaves apart what is no group, what are two groups, and what nobody knows of', () => {
    for (const [first, second] of [
      [false, false],
      [true, true],
      [undefined, true],
      [true, undefined],
      [undefined, false],
      [false, undefined],
    ]) {
      assert.equal(joined(rise(0, first), rise(1, second)).length, 2, `${first} ${second}`);
    }
  });

  it('leaves out the second count of a first victim', () => {
    assert.deepEqual(joined(rise(0, true, 0)), []);
  });

  it('knows that the own limit was hit where either reading says so', () => {
    for (const [first, second] of [
      [false, false],
      [false, true],
      [true, false],
    ] as const) {
      const [one] = joinGroupKills([rise(0, true, 1, first), rise(1, false, 1, second)]);
      assert.equal(one?.ownLimitHit, first || second);
    }
  });
});

describe('joinGroups', () => {
  const id = idOf(1);
  const { invocation } = victimOf(id, 5000, 71).victim;
  const group = { ...invocation!, oomGroup: '/docker/a' };

  it('gives the victim that was told before the announcement to the group', () => {
    const told = victimOf(id, 5000, 71, { invocation });
    const inner = victimOf(id, 5000, 73, { invocation, memcg: '/docker/a/inner' });
    const nowhere = victimOf(id, 5000, 74, { invocation, memcg: undefined });
    const other = victimOf(id, 7000, 75);
    const all = joinGroups([told, inner, nowhere, other, victimOf(id, 5000, 72, { invocation: group })]);
    assert.deepEqual(
      all.map(({ victim }) => [victim.pid, victim.invocation?.oomGroup, victim.memcg]),
      [
        [71, '/docker/a', `/docker/${id}`],
        [73, '/docker/a', '/docker/a/inner'],
        [74, '/docker/a', '/docker/a'],
        [75, undefined, `/docker/${id}`],
        [72, '/docker/a', `/docker/${id}`],
      ],
    );
  });
});
