import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Memory cgroup of a process that lives or is being taken down; undefined where it is gone, or in no group of its own.
 *
 * Lines read from /proc/<pid>/cgroup (cgroups(7)), of v1 and v2. A group that was removed meanwhile is marked:
 *
 *     9:memory:/docker/7c1f9d0e2b3a…
 *     0::/system.slice/docker-7c1f9d0e2b3a….scope (deleted)
 */
export function readMemcgOf(rootPath: string, pid: number): string | undefined {
  let text: string;
  try {
    text = readFileSync(join(rootPath, 'proc', String(pid), 'cgroup'), 'utf8');
  } catch {
    return undefined;
  }
  const path = /^\d+:(?:[^:\n]*,)?memory(?:,[^:\n]*)?:(.*)$/m.exec(text)?.[1] ?? /^0::(.*)$/m.exec(text)?.[1];
  // A process that has left its group while it ends is shown in the root.
  return path === undefined || path === '/' ? undefined : path.replace(/ \(deleted\)$/, '');
}
