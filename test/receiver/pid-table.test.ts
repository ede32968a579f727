import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PidTable } from '../../receiver/pid-table.ts';

describe('PidTable', () => {
  it('knows the container that a process was seen in last', () => {
    const table = new PidTable();
    table.learn('a', [1, 2], 1000);
    table.learn('b', [2], 2000);
    assert.deepEqual(
      [1, 2, 3].map((pid) => table.containerOf(pid, 2000)),
      ['a', 'b', undefined],
    );
  });

  it('does not believe what it saw more than a minute before: the pid may be another process', () => {
    const table = new PidTable();
    table.learn('a', [1], 1000);
    assert.equal(table.containerOf(1, 61_000), 'a');
    assert.equal(table.containerOf(1, 61_001), undefined);
  });

  it('forgets those seen longest ago when there are too many', () => {
    const table = new PidTable();
    table.learn('a', [1, 2], 1000);
    table.learn(
      'b',
      Array.from({ length: 19_999 }, (_, index) => index + 10),
      1001,
    );
    assert.deepEqual([table.containerOf(1, 1001), table.containerOf(2, 1001)], [undefined, 'a']);
  });
});
