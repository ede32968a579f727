import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readMemcgOf } from '../../../receiver/cgroup/process-memcg.ts';

describe('readMemcgOf', () => {
  const cases: [string, string, string | undefined][] = [
    ['v1', '10:cpuset:/a\n9:memory:/docker/7c1f\n1:name=systemd:/b\n0::/c\n', '/docker/7c1f'],
    ['v1, mounted with another controller', '4:memory,hugetlb:/docker/7c1f\n', '/docker/7c1f'],
    ['v2', '0::/system.slice/docker-7c1f.scope\n', '/system.slice/docker-7c1f.scope'],
    [
      'a group with a colon',
      '0::/kubepods-pod1.slice:cri-containerd:7c1f\n',
      '/kubepods-pod1.slice:cri-containerd:7c1f',
    ],
    ['a group that was removed', '0::/docker/7c1f (deleted)\n', '/docker/7c1f'],
    ['a controller whose name only begins so', '9:memoryx:/a\n0::/b\n', '/b'],
    ['a process that has left its group', '9:memory:/\n0::/\n', undefined],
    ['nothing', '', undefined],
  ];
  for (const [title, text, expected] of cases) {
    it(`reads ${title}`, (t) => {
      const root = mkdtempSync(join(tmpdir(), 'exit137-proc-'));
      t.after(() => rmSync(root, { recursive: true }));
      mkdirSync(join(root, 'proc/7'), { recursive: true });
      writeFileSync(join(root, 'proc/7/cgroup'), text);
      assert.equal(readMemcgOf(root, 7), expected);
    });
  }

  it('knows nothing of a process that is gone', () => assert.equal(readMemcgOf('/nowhere', 7), undefined));
});
