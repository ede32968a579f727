import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** This boot's id; undefined where it cannot be read. Kernel document: admin-guide/sysctl/kernel. A new random one with each boot. */
export function readBootId(hostRoot: string): string | undefined {
  try {
    return readFileSync(join(hostRoot, 'proc/sys/kernel/random/boot_id'), 'latin1').trim();
  } catch {
    return undefined;
  }
}
