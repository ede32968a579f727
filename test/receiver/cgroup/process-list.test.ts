import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { dirname, join } from 'node:path';
import { readProcesses } from '../../../receiver/cgroup/process-list.ts';
import { FakeHost } from '../../helpers/fake-cgroups.ts';

function makeGroup(t: TestContext, pids: readonly number[]): string {
  const host = new FakeHost(t, 2);
  host.writeGroup('docker', 'cgroup.procs', pids.map((pid) => `${pid}\n`).join(''));
  return join(host.root, 'sys/fs/cgroup/docker');
}

describe('readProcesses', () => {
  it('reads all, if they are no more than asked for', (t) => {
    const dir = makeGroup(t, [1, 4194304, 7]);
    assert.deepEqual(readProcesses(dir, 3), { pids: [1, 4194304, 7], isCut: false });
    assert.deepEqual(readProcesses(dir, 100), { pids: [1, 4194304, 7], isCut: false });
  });

  it('says that there are more, whatever their length', (t) => {
    for (const first of [1, 4194000]) {
      const dir = makeGroup(
        t,
        Array.from({ length: 300 }, (_, index) => first + index),
      );
      const { pids, isCut } = readProcesses(dir, 20);
      assert.deepEqual(
        pids,
        Array.from({ length: 20 }, (_, index) => first + index),
      );
      assert.ok(isCut);
    }
  });

  it('leaves out processes that have no pid here', (t) => {
    assert.deepEqual(readProcesses(makeGroup(t, [0, 5, 0]), 10).pids, [5]);
  });

  it('finds none in a group that is gone', (t) => {
    assert.deepEqual(readProcesses(join(dirname(makeGroup(t, [])), 'gone'), 10), { pids: [], isCut: false });
  });
});
