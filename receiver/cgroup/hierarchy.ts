import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where the memory controller's cgroups are. */
export interface Hierarchy {
  version: 1 | 2;
  /** Its root directory, as seen from here. */
  root: string;
  /** `memory_localevents`: memory.events counts only the group's own events, not those below it (v2). */
  localEvents: boolean;
}

interface Mount {
  point: string;
  type: string;
  options: readonly string[];
}

/**
 * Finds the memory hierarchy of the host whose root file system is at `hostRoot`. On a hybrid host, which mounts v1
 * controllers and an empty v2, it is v1's. Throws where there is none to be read.
 */
export function findHierarchy(hostRoot: string): Hierarchy {
  const mounts = readMounts(hostRoot);
  const ofV1 = mounts.find(({ type, options }) => type === 'cgroup' && options.includes('memory'));
  if (ofV1 !== undefined) return { version: 1, root: join(hostRoot, ofV1.point), localEvents: true };
  const ofV2 = mounts.filter(({ type }) => type === 'cgroup2').find(({ point }) => hasMemory(join(hostRoot, point)));
  if (ofV2 !== undefined) {
    return { version: 2, root: join(hostRoot, ofV2.point), localEvents: ofV2.options.includes('memory_localevents') };
  }
  const usual = join(hostRoot, 'sys/fs/cgroup');
  if (hasMemory(usual)) return { version: 2, root: usual, localEvents: false };
  if (read(join(usual, 'memory/memory.usage_in_bytes')) !== undefined) {
    return { version: 1, root: join(usual, 'memory'), localEvents: true };
  }
  throw new Error(`cannot find a memory cgroup hierarchy below "${hostRoot}": neither v1 nor v2 is mounted there`);
}

/**
 * The host's mounts as its first process sees them. Lines of /proc/1/mounts (6.1):
 *
 *     cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,nodev,noexec,relatime,memory 0 0
 *     cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0
 */
function readMounts(hostRoot: string): Mount[] {
  const text = read(join(hostRoot, 'proc/1/mounts')) ?? read(join(hostRoot, 'proc/mounts')) ?? '';
  return text.split('\n').flatMap((line) => {
    const [, point, type, options] = line.split(' ');
    return point === undefined || type === undefined ? [] : { point, type, options: options?.split(',') ?? [] };
  });
}

function hasMemory(root: string): boolean {
  return read(join(root, 'cgroup.controllers'))?.split(/\s+/).includes('memory') ?? false;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
