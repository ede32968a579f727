import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { findHierarchy } from '../../../receiver/cgroup/hierarchy.ts';
import { FakeHost } from '../../helpers/fake-cgroups.ts';

describe('the memory hierarchy', () => {
  const ofV2 = (options: string) => `cgroup2 /sys/fs/cgroup cgroup2 ${options} 0 0\n`;

  it('counts local events only where v2 is mounted so', (t) => {
    const host = new FakeHost(t, 2);
    const root = join(host.root, 'sys/fs/cgroup');
    for (const [options, localEvents] of [
      ['rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot', false],
      ['rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_localevents,memory_recursiveprot', true],
      ['rw,memory_localevents', true],
      ['rw,memory_localevents2', false],
    ] as const) {
      host.write('proc/1/mounts', ofV2(options));
      assert.deepEqual(findHierarchy(host.root), { version: 2, root, localEvents });
    }
  });

  it('is v1’s, which counts local events only, on a host that mounts both', (t) => {
    const host = new FakeHost(t, 1);
    host.write('proc/1/mounts', `${ofV2('rw')}cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n`);
    const root = join(host.root, 'sys/fs/cgroup/memory');
    assert.deepEqual(findHierarchy(host.root), { version: 1, root, localEvents: true });
  });

  it('is found by its usual place where the mounts cannot be read', (t) => {
    for (const version of [1, 2] as const) {
      const host = new FakeHost(t, version);
      rmSync(join(host.root, 'proc/1'), { recursive: true });
      assert.equal(findHierarchy(host.root).version, version);
    }
  });

  it('is found below a path with a space', (t) => {
    const host = new FakeHost(t, 2);
    host.write('my groups/cgroup.controllers', 'cpu memory\n');
    host.write('proc/1/mounts', 'cgroup2 /my\\040groups cgroup2 rw 0 0\n');
    assert.equal(findHierarchy(host.root).root, join(host.root, 'my groups'));
  });

  it('is an error where there is none', (t) => {
    const host = new FakeHost(t, 2);
    rmSync(join(host.root, 'sys'), { recursive: true });
    assert.throws(() => findHierarchy(host.root), /^Error: cannot find a memory cgroup hierarchy below "/);
  });
});
