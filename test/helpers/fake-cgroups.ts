import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';

const files = {
  1: {
    'memory.usage_in_bytes': '1048576\n',
    'memory.limit_in_bytes': '33554432\n',
    'memory.max_usage_in_bytes': '2097152\n',
    'memory.failcnt': '0\n',
    'memory.stat': 'cache 0\nhierarchical_memory_limit 33554432\ntotal_rss 1048576\ntotal_inactive_file 0\n',
    'memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 0\n',
  },
  2: {
    'memory.current': '1048576\n',
    'memory.max': '33554432\n',
    'memory.peak': '2097152\n',
    'memory.stat': 'anon 1048576\nfile 0\ninactive_file 0\n',
    'memory.events': 'low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n',
    'memory.events.local': 'low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n',
    'memory.oom.group': '0\n',
  },
};

/**
 * A host's files in a temporary folder, for what no real kernel can be brought to do: files of its memory cgroups that
 * are malformed. Goes with the test.
 */
export class FakeHost {
  readonly root: string;
  readonly #version: 1 | 2;

  constructor(t: TestContext, version: 1 | 2) {
    this.root = mkdtempSync(join(tmpdir(), 'exit137-host-'));
    this.#version = version;
    t.after(() => rmSync(this.root, { recursive: true, force: true }));
    const mount = version === 1 ? 'cgroup /sys/fs/cgroup/memory cgroup rw,memory' : 'cgroup2 /sys/fs/cgroup cgroup2 rw';
    this.write('proc/1/mounts', `${mount} 0 0\n`);
    this.write('proc/vmstat', 'nr_free_pages 1\noom_kill 0\n');
    this.writeGroup('', 'cgroup.controllers', 'memory pids\n');
    this.writeGroup('', 'memory.usage_in_bytes', '1048576\n');
  }

  /** Makes a group with all files of the controller, but for `changed`. */
  make(group: string, changed: Record<string, string> = {}): void {
    for (const [name, text] of Object.entries({ ...files[this.#version], ...changed })) {
      this.writeGroup(group, name, text);
    }
  }

  writeGroup(group: string, name: string, text: string): void {
    this.write(join(this.#version === 1 ? 'sys/fs/cgroup/memory' : 'sys/fs/cgroup', group, name), text);
  }

  /** Writes a file of the host. In place, as the kernel changes its own. */
  write(path: string, text: string): void {
    const full = join(this.root, path);
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, text);
  }
}
