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
  const ofV1 = mounts.find(({ point, type, options }) => {
    return type === 'cgroup' && options.includes('memory') && hasUsage(point);
  });
  if (ofV1 !== undefined) return { version: 1, root: ofV1.point, localEvents: true };
  const ofV2 = mounts.find(({ point, type }) => type === 'cgroup2' && hasMemory(point));
  if (ofV2 !== undefined) {
    return { version: 2, root: ofV2.point, localEvents: ofV2.options.includes('memory_localevents') };
  }
  const usual = join(hostRoot, 'sys/fs/cgroup');
  if (hasMemory(usual)) return { version: 2, root: usual, localEvents: false };
  if (hasUsage(join(usual, 'memory'))) return { version: 1, root: join(usual, 'memory'), localEvents: true };
  throw new Error(`cannot find a memory cgroup hierarchy below "${hostRoot}": neither v1 nor v2 can be read there`);
}

/**
 * The host's mounts as its first process sees them; where that may not be read, those that we see below `hostRoot`.
 * Points are paths as seen from here. Lines of /proc/1/mounts (6.1):
 *
 *     cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,nodev,noexec,relatime,memory 0 0
 *     cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0
 */
function readMounts(hostRoot: string): Mount[] {
  const ofHost = read(join(hostRoot, 'proc/1/mounts'));
  if (ofHost !== undefined) {
    return parseMounts(ofHost).map((mount) => ({ ...mount, point: join(hostRoot, mount.point) }));
  }
  const below = join(hostRoot, '/');
  return parseMounts(read(join(hostRoot, 'proc/self/mounts')) ?? '').filter(({ point }) => point.startsWith(below));
}

function parseMounts(table: string): Mount[] {
  return table.split('\n').flatMap((line) => {
    const [, point, type, options] = line.split(' ');
    if (point === undefined || type === undefined) return [];
    return { point: unescapePath(point), type, options: options?.split(',') ?? [] };
  });
}

/** A space, tab, newline or backslash is written as three octal digits (proc_pid_mounts(5), getmntent(3)). */
function unescapePath(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCodePoint(Number.parseInt(octal, 8)));
}

function hasUsage(root: string): boolean {
  return read(join(root, 'memory.usage_in_bytes')) !== undefined;
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
