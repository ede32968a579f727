import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { isInOwnPidNamespace, ProcessScan } from '../../../receiver/cgroup/process-scan.ts';
import { MemoryGroup } from '../../helpers/memory-group.ts';
import { requires } from '../../helpers/requires.ts';

const web = 'a'.repeat(64);
const db = 'b'.repeat(64);

function makeProc(t: TestContext, groups: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'exit137-proc-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const [pid, group] of Object.entries(groups)) {
    mkdirSync(join(root, 'proc', pid), { recursive: true });
    writeFileSync(join(root, 'proc', pid, 'cgroup'), group);
  }
  return root;
}

describe('ProcessScan', () => {
  it('finds the processes of each container, also those in groups nested in it', (t) => {
    const root = makeProc(t, {
      1: '0::/init.scope\n',
      40: `0::/../docker-${web}.scope\n`,
      41: `0::/../docker-${web}.scope/worker\n`,
      50: `4:memory:/kubepods/pod1/${db}\n0::/\n`,
      self: `0::/docker-${web}.scope\n`,
    });
    const scan = new ProcessScan(root);
    assert.deepEqual(scan.processesOf(web, 10), { pids: [40, 41], isCut: false });
    assert.deepEqual(scan.processesOf(web, 1), { pids: [40], isCut: true });
    assert.deepEqual(scan.processesOf(db, 10), { pids: [50], isCut: false });
    assert.deepEqual(scan.processesOf('c'.repeat(64), 10), { pids: [], isCut: false });
  });

  it('finds none where /proc cannot be read', () => {
    assert.deepEqual(new ProcessScan('/nowhere').processesOf(web, 10), { pids: [], isCut: false });
  });

  it('sees from a PID namespace of its own what cgroup.procs does not show there', requires('root'), async (t) => {
    const parent = MemoryGroup.make(`exit137-scan-${process.pid}`);
    const group = parent.make(web);
    const sleeper = spawn('sleep', ['600']);
    t.after(async () => {
      sleeper.kill('SIGKILL');
      await once(sleeper, 'exit');
      await parent.remove();
    });
    group.write('cgroup.procs', String(sleeper.pid));
    const folder = join(import.meta.dirname, '../../../receiver/cgroup');
    const script = `
      const { isInOwnPidNamespace, ProcessScan } = await import('${folder}/process-scan.ts');
      const { readProcesses } = await import('${folder}/process-list.ts');
      const scanned = new ProcessScan('/').processesOf('${web}', 10).pids;
      console.log(JSON.stringify([isInOwnPidNamespace('/'), readProcesses('${group.folder}', 10).pids, scanned]));`;
    const told = execFileSync('unshare', ['--pid', '--fork', process.execPath, '--input-type=module', '-e', script]);
    assert.deepEqual(JSON.parse(told.toString()), [true, [], [sleeper.pid]]);
    assert.equal(isInOwnPidNamespace('/'), false);
  });
});

describe('isInOwnPidNamespace', () => {
  it('is not where /proc does not tell', () => assert.equal(isInOwnPidNamespace('/nowhere'), false));
});
