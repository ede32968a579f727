import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Bit of SIGKILL in the masks of /proc/<pid>/status: signal n is bit n − 1. */
const sigkillBit = 1n << 8n;

/**
 * Whether a process lives and is not about to die: false when it is gone, a zombie, or has a SIGKILL pending, as the
 * OOM killer's victim has from the moment it was chosen until it is torn down. Undefined where /proc cannot be read.
 *
 * Lines read from /proc/<pid>/status (proc_pid_status(5)):
 *
 *     State:	S (sleeping)
 *     SigPnd:	0000000000000100
 *     ShdPnd:	0000000000000100
 */
export function isProcessAlive(rootPath: string, pid: number): boolean | undefined {
  let status: string;
  try {
    status = readFileSync(join(rootPath, 'proc', String(pid), 'status'), 'latin1');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' || code === 'ESRCH' ? false : undefined;
  }
  const state = /^State:\s*(\w)/m.exec(status)?.[1];
  if (state === undefined) return undefined;
  if (state === 'Z' || state === 'X') return false;
  const pending = [...status.matchAll(/^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)/gm)];
  return !pending.some(([, mask]) => (BigInt(`0x${mask}`) & sigkillBit) !== 0n);
}
