import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { TaskTable } from '../../../receiver/kernel/task-table.ts';

const header = '[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name';
const row = (pid: number, rss: number, name = 'hog') =>
  `[${String(pid).padStart(7)}]     0 ${pid}     5373     ${rss}    77824        0             0 ${name}`;

function tableOf(...rows: string[]): TaskTable {
  const table = TaskTable.fromHeader(header, 4096)!;
  for (const text of rows) assert.equal(table.addRow(text), true, text);
  return table;
}

suite('the table of tasks', () => {
  test('begins with a header and nothing else', () => {
    assert.ok(TaskTable.fromHeader('[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name', 4096));
    for (const text of [`x${header}`, row(1, 1), '[pid] uid', `[ pid ] ${'x'.repeat(300)}`]) {
      assert.equal(TaskTable.fromHeader(text, 4096), undefined, text);
    }
  });

  test('gives the ten largest, the largest first, and of equal ones the first', () => {
    const sizes = [5, 9, 1, 12, 7, 3, 11, 2, 8, 10, 4, 6];
    const table = tableOf(...sizes.map((rss, index) => row(index + 1, rss)), row(100, 12));
    const rss = table.largest().map(({ rssBytes }) => rssBytes / 4096);
    assert.deepEqual(rss, [12, 12, 11, 10, 9, 8, 7, 6, 5, 4]);
    assert.deepEqual(
      table
        .largest()
        .slice(0, 2)
        .map(({ pid }) => pid),
      [4, 100],
    );
    assert.equal(table.pids.size, 13);
  });

  test('knows who is in it, unless it is empty or too long to tell', () => {
    const table = tableOf(row(1, 1));
    assert.deepEqual([table.lists(1), table.lists(2)], [true, false]);
    assert.equal(tableOf().lists(1), undefined);
    const full = tableOf(...Array.from({ length: 8192 }, (_, index) => row(index + 1, 1)));
    assert.equal(full.lists(9000), false);
    assert.equal(full.addRow(row(8193, 1)), true);
    assert.deepEqual([full.lists(8192), full.lists(8193), full.pids.size], [true, undefined, 8192]);
  });

  test('takes names as they are, and rows that were cut', () => {
    const table = tableOf(row(1, 5, 'a  b'), row(2, 4, ''), row(3, 3).slice(0, 36));
    assert.deepEqual(table.largest(), [
      { pid: 1, comm: 'a  b', rssBytes: 5 * 4096 },
      { pid: 2, comm: '', rssBytes: 4 * 4096 },
      { pid: 3, comm: undefined, rssBytes: 3 * 4096 },
    ]);
  });

  test('takes no row that has no figures', () => {
    const table = tableOf();
    for (const text of [
      'hog',
      'x[    1]     0     1  5373  5122',
      '[    1]',
      '[    1]     0     1     5373',
      '[  x ] 1 1 1 1',
    ]) {
      assert.equal(table.addRow(text), false, text);
    }
    assert.deepEqual([table.pids.size, table.largest()], [0, []]);
  });

  test('has no sizes where it has no column for them', () => {
    const table = TaskTable.fromHeader('[ pid ]   uid  tgid name', 4096)!;
    assert.equal(table.addRow('[    1]     0     1 hog'), false);
  });

  test('is in pages of the machine that wrote it, which a line with a size in bytes tells', () => {
    const table = tableOf(row(1, 5));
    const rssBytes = (told: { pid: number; totalVmBytes?: number }) => table.largest(told)[0]!.rssBytes;
    assert.equal(rssBytes({ pid: 1, totalVmBytes: 5373 * 65_536 }), 5 * 65_536);
    assert.equal(rssBytes({ pid: 1, totalVmBytes: 5373 * 16_384 }), 5 * 16_384);
    for (const told of [{ pid: 1, totalVmBytes: 5374 * 65_536 }, { pid: 2, totalVmBytes: 5373 * 65_536 }, { pid: 1 }]) {
      assert.equal(rssBytes(told), 5 * 4096);
    }
  });
});
