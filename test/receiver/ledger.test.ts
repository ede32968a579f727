import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Ledger } from '../../receiver/ledger.ts';

const at = (monotonicMs: number) => ({ wallMs: 1_700_000_000_000 + monotonicMs, monotonicMs });

describe('Ledger', () => {
  it('begins where the kernel is and owes nothing', () => {
    const ledger = new Ledger();
    assert.equal(ledger.total, undefined);
    ledger.count(17, at(0));
    ledger.settle(at(60_000));
    assert.deepEqual([ledger.total, ledger.unattributed, ledger.dueAtMs], [17, 0, undefined]);
  });

  it('is balanced when a counter explains the rise, whichever was read first', () => {
    for (const countedFirst of [true, false]) {
      const ledger = new Ledger();
      ledger.count(0, at(0));
      if (countedFirst) ledger.account(3, at(5));
      ledger.count(3, at(10));
      if (!countedFirst) ledger.account(3, at(15));
      ledger.settle(at(60_000));
      assert.equal(ledger.unattributed, 0);
    }
  });

  it('calls a rise unattributed only after it had its time to be explained', () => {
    const ledger = new Ledger();
    ledger.count(0, at(0));
    ledger.count(2, at(1_000));
    assert.equal(ledger.dueAtMs, 9_000);
    ledger.settle(at(8_999));
    assert.equal(ledger.unattributed, 0);
    ledger.settle(at(9_000));
    assert.deepEqual([ledger.unattributed, ledger.dueAtMs], [2, undefined]);
  });

  it('gives up on a kill that nobody explains though later ones are explained without a pause', () => {
    const ledger = new Ledger();
    ledger.count(0, at(0));
    ledger.count(1, at(100));
    for (let n = 2; n <= 20; n++) {
      ledger.count(n, at(n * 1_000));
      ledger.account(1, at(n * 1_000));
      ledger.settle(at(n * 1_000));
    }
    assert.equal(ledger.unattributed, 1);
  });

  it('gives one unexplained kill to whoever asks, and no more than there are', () => {
    const ledger = new Ledger();
    ledger.count(5, at(0));
    ledger.count(6, at(10));
    assert.deepEqual([ledger.takeOne(-Infinity, Infinity), ledger.takeOne(-Infinity, Infinity)], [true, false]);
  });

  it('gives nobody a kill that was counted at another time', () => {
    const ledger = new Ledger();
    ledger.count(5, at(0));
    ledger.count(6, at(3_000));
    const { wallMs } = at(3_000);
    assert.equal(ledger.takeOne(wallMs + 1, wallMs + 2_000), false);
    assert.equal(ledger.takeOne(wallMs - 2_000, wallMs - 1), false);
    assert.equal(ledger.takeOne(wallMs, wallMs), true);
  });

  it('takes back what was accounted for, whether the total showed it by then or not', () => {
    for (const ahead of [false, true]) {
      const ledger = new Ledger();
      ledger.count(5, at(0));
      if (!ahead) ledger.count(6, at(10));
      ledger.account(1, at(20));
      ledger.reopen(1, at(30));
      if (ahead) ledger.count(6, at(40));
      assert.equal(ledger.openKills, 1);
      ledger.account(1, at(50));
      assert.ok(ledger.isBalanced);
    }
  });

  it('does not give away a kill that was called unattributed long ago', () => {
    const ledger = new Ledger();
    ledger.count(0, at(0));
    ledger.count(1, at(10));
    ledger.settle(at(10_000));
    assert.equal(ledger.takeOne(-Infinity, Infinity), false);
  });

  it('does not take a kill that was in the first total for one that comes later', () => {
    const ledger = new Ledger();
    ledger.count(5, at(0));
    ledger.account(1, at(10));
    assert.deepEqual([ledger.isBalanced, ledger.dueAtMs], [false, 5_010]);
    ledger.settle(at(5_010));
    assert.deepEqual([ledger.isBalanced, ledger.dueAtMs], [true, undefined]);
    ledger.count(6, at(60_000));
    assert.equal(ledger.takeOne(-Infinity, Infinity), true);
  });

  it('takes nothing that was accounted for before the first total for a kill that comes later', () => {
    const ledger = new Ledger();
    ledger.account(2, at(0));
    ledger.reopen(1, at(1));
    assert.deepEqual([ledger.isBalanced, ledger.openKills, ledger.dueAtMs], [false, 0, undefined]);
    ledger.count(5, at(2));
    ledger.count(7, at(3));
    assert.equal(ledger.openKills, 2);
  });

  it('forgets what the total does not show in time, though more is accounted for meanwhile', () => {
    for (const [more, unshown] of [
      [0, 1],
      [1, 1],
    ] as const) {
      const ledger = new Ledger();
      ledger.count(0, at(0));
      ledger.account(1, at(0));
      ledger.account(more, at(more === 0 ? 4_000 : 5_000));
      ledger.count(1 + more, at(5_001));
      assert.equal(ledger.openKills, unshown, `${more} more`);
    }
  });

  it('takes back more than the total has yet to show', () => {
    const ledger = new Ledger();
    ledger.count(5, at(0));
    ledger.account(1, at(10));
    ledger.reopen(1, at(11));
    assert.equal(ledger.dueAtMs, undefined);
    ledger.account(1, at(12));
    ledger.reopen(3, at(13));
    assert.deepEqual([ledger.openKills, ledger.dueAtMs], [2, 8_013]);
  });

  it('goes on where an earlier run stopped, with as much time as at first', () => {
    const before = new Ledger();
    before.count(0, at(0));
    before.count(1, at(10));
    before.settle(at(10_000));
    before.count(3, at(11_000));
    const ledger = new Ledger();
    ledger.resume(before.state, at(50));
    assert.deepEqual(
      [ledger.total, ledger.unattributed, ledger.openKills, ledger.dueAtMs, ledger.isBalanced],
      [3, 1, 2, 8_050, false],
    );
    const { wallMs } = at(11_000);
    assert.ok(ledger.takeOne(wallMs, wallMs), 'with the time when it was counted');
    assert.deepEqual(ledger.state.open, [{ wallMs, kills: 1 }]);
    ledger.settle(at(8_050));
    assert.equal(ledger.unattributed, 2);
  });

  it('goes on with what the total has yet to show, also after a stop at which nothing more is waited for', () => {
    const before = new Ledger();
    before.count(0, at(0));
    before.account(1, at(10));
    before.account(1, { ...at(20), monotonicMs: Infinity });
    const ledger = new Ledger();
    ledger.resume(before.state, at(100));
    assert.equal(ledger.dueAtMs, 5_100);
    ledger.count(2, at(5_099));
    assert.ok(ledger.isBalanced);
  });

  it('accounts for every kill once, in any order of readings', () => {
    const anyStep = fc.oneof(fc.record({ rise: fc.nat(5) }), fc.record({ account: fc.nat(5) }));
    fc.assert(
      fc.property(fc.array(anyStep), (steps) => {
        const ledger = new Ledger();
        ledger.count(0, at(0));
        let total = 0;
        let accounted = 0;
        for (const step of steps) {
          if ('rise' in step) ledger.count((total += step.rise), at(1));
          else ledger.account(Math.min(step.account, total - accounted), at(1));
          if ('account' in step) accounted += Math.min(step.account, total - accounted);
        }
        ledger.settle(at(100_000));
        assert.equal(ledger.unattributed, total - accounted);
      }),
    );
  });
});
