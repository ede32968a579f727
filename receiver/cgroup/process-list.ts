import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';

/** The longest pid of Linux has seven digits (PID_MAX_LIMIT is 2^22), and a newline follows. */
const bytesOfPid = 8;

/** Host pids of the processes in one cgroup. */
export interface ProcessList {
  pids: number[];
  /** There are more. */
  isCut: boolean;
}

/**
 * Reads no more than the first `most` processes of a cgroup, not of those below it: a container can fork as fast as it
 * likes. None where the group is gone. Lines of cgroup.procs: `4711`; 0 is a process outside of our PID namespace.
 */
export function readProcesses(dir: string, most: number): ProcessList {
  const bytes = Buffer.allocUnsafe(most * bytesOfPid + 1);
  const length = readUpTo(join(dir, 'cgroup.procs'), bytes);
  const lines = bytes.toString('latin1', 0, length).split('\n');
  // Behind the last newline is nothing, or a pid that the buffer has cut.
  const pids = lines
    .slice(0, -1)
    .map(Number)
    .filter((pid) => pid > 0);
  return { pids: pids.slice(0, most), isCut: length === bytes.length || pids.length > most };
}

/** The kernel gives a page at a time. */
function readUpTo(path: string, bytes: Buffer): number {
  let length = 0;
  try {
    const fd = openSync(path, 'r');
    try {
      for (let read = -1; read !== 0 && length < bytes.length; length += read) {
        read = readSync(fd, bytes, length, bytes.length - length, null);
      }
    } finally {
      closeSync(fd);
    }
  } catch {
    // Gone, if not from the start then meanwhile.
  }
  return length;
}
