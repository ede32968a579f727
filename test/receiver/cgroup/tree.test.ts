import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { CgroupTree, type CgroupNode } from '../../../receiver/cgroup/tree.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FakeHost } from '../../helpers/fake-cgroups.ts';

/** A tree over folders, and what it told, as `+ /path fresh` and `- /path`. */
function prepare(t: TestContext, maxGroups: number) {
  const root = join(new FakeHost(t, 2).root, 'sys/fs/cgroup');
  const told: string[] = [];
  const problems: [string, string][] = [];
  const nodes = new Map<string, CgroupNode>();
  const tree = new CgroupTree(root, maxGroups, {
    added: (node, fresh) => {
      nodes.set(node.path, node);
      told.push(`+ ${node.path}${fresh ? ' fresh' : ''}`);
    },
    removed: ({ path }) => told.push(`- ${path}`),
    problem: (what, value) => problems.push([what, value]),
  });
  t.after(() => tree.close());
  return {
    tree,
    told,
    problems,
    make: (path: string) => mkdirSync(join(root, path), { recursive: true }),
    /** As who reads a file of a group and finds it gone. */
    look: (path: string) => tree.recheck(nodes.get(path)!),
    remove: (path: string) => {
      rmSync(join(root, path), { recursive: true });
      tree.recheck(nodes.get(path)!);
    },
    pathOf: (path: string) => join(root, path),
  };
}

/** Without the rights of root, for as long as `run` takes. */
function withoutRights(run: () => void): void {
  if (process.getuid!() !== 0) return run();
  process.seteuid!(65_534);
  try {
    run();
  } finally {
    process.seteuid!(0);
  }
}

describe('a tree of cgroups', () => {
  it('takes up what is made and forgets what is removed, parents first and last', async (t) => {
    const { tree, told, make, remove } = prepare(t, 10);
    make('/a/b');
    tree.open();
    assert.deepEqual(told, ['+ /a', '+ /a/b']);
    make('/a/c');
    await eventually('it is told', () => told.includes('+ /a/c fresh') || undefined);
    remove('/a');
    assert.deepEqual(new Set(told.slice(3, 5)), new Set(['- /a/b', '- /a/c']));
    assert.equal(told[5], '- /a');
    assert.equal(tree.size, 0);
  });

  it('takes a successor of the same name for another group, which is fresh', (t) => {
    const { tree, told, make, look, pathOf } = prepare(t, 10);
    make('/a');
    tree.open();
    renameSync(pathOf('/a'), pathOf('/kept'));
    make('/a');
    look('/a');
    assert.deepEqual(told, ['+ /a', '- /a', '+ /a fresh']);
  });

  it('takes up what max_groups left out as soon as there is room, and counts nothing that came before', (t) => {
    const { tree, told, problems, make, remove } = prepare(t, 2);
    make('/a');
    make('/b');
    make('/c');
    tree.open();
    const [first, second] = told.map((line) => line.slice(2));
    assert.equal(tree.size, 2);
    const leftOut = ['/a', '/b', '/c'].find((path) => path !== first && path !== second);
    tree.rescan();
    assert.equal(told.length, 2, 'there is no room yet');

    remove(first!);
    tree.rescan();
    assert.deepEqual(told.slice(2), [`- ${first!}`, `+ ${leftOut!}`]);
    assert.equal(tree.size, 2);
    assert.ok(problems.every(([what]) => what === 'left out a cgroup beyond max_groups'));
  });

  it('tells once of each group that it leaves out, however often it looks for room', async (t) => {
    const { tree, told, problems, make, remove } = prepare(t, 1);
    make('/a');
    tree.open();
    make('/b');
    make('/c');
    const leftOut = () => problems.map(([, path]) => path).toSorted();
    await eventually('both are told', () => leftOut().length === 2 || undefined);
    remove('/a');
    for (let look = 0; look < 3; look++) tree.rescan();
    assert.deepEqual(leftOut(), ['/b', '/c']);
    assert.equal(told.length, 3);
    assert.match(told[2]!, /^\+ \/[bc]$/, 'what happened in it while it was left out is not ours to report');
  });

  it('takes groups that a folder held before it could be listed for old ones, and later ones for fresh', (t) => {
    const { tree, told, problems, make, pathOf } = prepare(t, 10);
    make('/closed/old');
    chmodSync(join(pathOf('/'), '../../..'), 0o755);
    chmodSync(pathOf('/closed'), 0o311);
    withoutRights(() => tree.open());
    assert.deepEqual(told, ['+ /closed']);
    assert.deepEqual(problems.at(-1), ['cannot list a cgroup', '/closed']);
    chmodSync(pathOf('/closed'), 0o755);
    tree.rescan();
    assert.deepEqual(told, ['+ /closed', '+ /closed/old']);
    make('/closed/new');
    tree.rescan();
    assert.deepEqual(told, ['+ /closed', '+ /closed/old', '+ /closed/new fresh']);
  });
});
