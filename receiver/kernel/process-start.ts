import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** USER_HZ, in which /proc counts on every architecture that Node.js runs on (proc(5), time(7)). */
const ticksPerSecond = 100;

/**
 * When a process was made, in milliseconds since the epoch, by the clock of `nowMs`, some 20 ms exact; undefined where
 * it is gone or not to be seen. Field 22 of /proc/<pid>/stat, in ticks since the boot; the name in parentheses can hold
 * anything:
 *
 *     4711 (memhog) S 4690 4711 4711 0 -1 4194560 155 0 0 0 0 0 0 0 20 0 1 0 1234567 2670592 …
 */
export function readProcessStart(hostRoot: string, pid: number, nowMs: number): number | undefined {
  try {
    const uptimeSeconds = Number.parseFloat(readFileSync(join(hostRoot, 'proc/uptime'), 'latin1'));
    const stat = readFileSync(join(hostRoot, 'proc', String(pid), 'stat'), 'latin1');
    const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
    const atMs = nowMs - (uptimeSeconds - ticks / ticksPerSecond) * 1000;
    return Number.isFinite(atMs) ? Math.min(atMs, nowMs) : undefined;
  } catch {
    return undefined;
  }
}
