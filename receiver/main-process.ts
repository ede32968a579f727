import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Bit of SIGKILL in the masks of /proc/<pid>/status: signal n is bit n − 1. */
const sigkillBit = 1n << 8n;

/** Flags of a process in /proc/<pid>/stat: PF_EXITING and PF_SIGNALED of the kernel's include/linux/sched.h. */
const endingFlags = 0x4 | 0x400;

/**
 * When a main process is looked at after a counted kill, each look after the one before. The kernel counts a kill and
 * then sends the SIGKILL, a few microseconds apart; a main process that shows no sign of it was not the victim.
 *
 * Whoever kills can lose the CPU between the two, for tens of milliseconds on a busy machine (seen: 1 of 30 containers
 * that were killed at once on 2 CPUs), and mostly it kills itself. Only a main process that sleeps is believed early.
 */
const looksAfterMs = [2, 10, 20, 40, 80];

/** From this look on a main process that sleeps was not the victim. */
const believedAsleepFrom = 1;

/** So many threads are looked at. */
const mostThreads = 256;

/** A sequence of looks at one process. */
interface Looking {
  pid: number;
  sinceMs: number;
  /** Another kill was counted meanwhile: its victim must have the same time to show. */
  again: boolean;
  timer?: NodeJS.Timeout;
}

/** Finds out whether the main process of a container is the victim of a kill that was just counted. */
export class MainProcessWatch {
  readonly #rootPath: string;
  readonly #told: (containerId: string, alive: boolean, atMs: number, pid: number) => void;
  readonly #looking = new Map<string, Looking>();

  /**
   * `told` is called for each sequence of looks, unless /proc cannot tell: a process that is alive was spared by all
   * kills up to `atMs`, by the wall clock.
   */
  constructor(rootPath: string, told: (containerId: string, alive: boolean, atMs: number, pid: number) => void) {
    this.#rootPath = rootPath;
    this.#told = told;
  }

  /** Looks a few milliseconds from now; where it is being looked at already, once more after that. */
  look(containerId: string, pid: number): void {
    const looking = this.#looking.get(containerId);
    if (looking?.pid === pid) looking.again = true;
    else this.#begin(containerId, pid);
  }

  /** Looks at once: another process is known to be the victim, and nobody is about to kill this one. */
  lookNow(containerId: string, pid: number): void {
    this.#end(containerId);
    const alive = isProcessAlive(this.#rootPath, pid);
    if (alive !== undefined) this.#told(containerId, alive, Date.now(), pid);
  }

  close(): void {
    for (const containerId of this.#looking.keys()) this.#end(containerId);
  }

  #begin(containerId: string, pid: number): void {
    this.#end(containerId);
    const looking = { pid, sinceMs: Date.now(), again: false };
    this.#looking.set(containerId, looking);
    this.#lookAfter(0, containerId, looking);
  }

  #end(containerId: string): void {
    clearTimeout(this.#looking.get(containerId)?.timer);
    this.#looking.delete(containerId);
  }

  #lookAfter(look: number, containerId: string, looking: Looking): void {
    const { pid, sinceMs } = looking;
    looking.timer = setTimeout(() => {
      const alive = isProcessAlive(this.#rootPath, pid);
      if (alive === true && look + 1 < looksAfterMs.length) {
        const asleep = look >= believedAsleepFrom && !isProcessRunning(this.#rootPath, pid);
        if (!asleep) return this.#lookAfter(look + 1, containerId, looking);
      }
      if (alive === true && looking.again) this.#begin(containerId, pid);
      else this.#end(containerId);
      if (alive !== undefined) this.#told(containerId, alive, alive ? sinceMs : Date.now(), pid);
    }, looksAfterMs[look]);
  }
}

/**
 * Whether a process lives and is not about to die: false when it is gone, a zombie, has a SIGKILL pending, as the OOM
 * killer's victim has from the moment it was chosen until it takes notice, or is on its way out from then on. On that
 * way it can sleep for long: the first process of a container takes down the container's mounts.
 * Undefined where /proc cannot be read.
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
  if (pending.some(([, mask]) => (BigInt(`0x${mask}`) & sigkillBit) !== 0n)) return false;
  // Last, because a SIGKILL is pending first and these flags are set when it is no more.
  return !isProcessEnding(rootPath, pid);
}

/**
 * Whether the kernel has begun to take the process down.
 *
 * Line read from /proc/<pid>/stat (proc_pid_stat(5)), whose ninth field is the flags:
 *
 *     7 (web) D 1 7 7 0 -1 4228364 100 0 0 0 1 2 …
 */
function isProcessEnding(rootPath: string, pid: number): boolean {
  try {
    const stat = readFileSync(join(rootPath, 'proc', String(pid), 'stat'), 'latin1');
    const flags = /\) \w(?: -?\d+){5} (\d+)[^)]*$/.exec(stat)?.[1];
    return flags !== undefined && (Number(flags) & endingFlags) !== 0;
  } catch {
    // A moment ago it showed no sign.
    return false;
  }
}

/**
 * Whether a thread of a process is on a CPU or waits for one.
 *
 * Line read from /proc/<pid>/task/<tid>/stat (proc_pid_stat(5)); the name in brackets can hold anything:
 *
 *     7 (web) R 1 7 7 0 -1 4194560 …
 */
export function isProcessRunning(rootPath: string, pid: number): boolean {
  const tasks = join(rootPath, 'proc', String(pid), 'task');
  try {
    const threads = readdirSync(tasks).slice(0, mostThreads);
    return threads.some((tid) => /\) R [^)]*$/.test(readFileSync(join(tasks, tid, 'stat'), 'latin1')));
  } catch {
    // A thread or the process is just ending.
    return true;
  }
}

/** So many processes are looked at. */
const mostProcesses = 64;

/**
 * The main process among those of a container, by their host pids, for when no runtime tells it: the first process of a
 * PID namespace. Where containers are nested, the one that the least namespaces lie around. Undefined where there is
 * none: it has ended, or the container shares the host's namespace.
 *
 * Line read from /proc/<pid>/status (proc_pid_status(5)): the pid in each namespace, the innermost last.
 *
 *     NSpid:	4711	1
 */
export function findMainProcess(rootPath: string, pids: readonly number[]): number | undefined {
  const firsts = pids.slice(0, mostProcesses).flatMap((pid) => {
    const namespaces = readNamespacePids(rootPath, pid);
    return namespaces.length > 1 && namespaces.at(-1) === '1' ? [{ pid, depth: namespaces.length }] : [];
  });
  const main = firsts.toSorted((a, b) => a.depth - b.depth)[0];
  return main?.pid;
}

function readNamespacePids(rootPath: string, pid: number): string[] {
  try {
    const status = readFileSync(join(rootPath, 'proc', String(pid), 'status'), 'latin1');
    return /^NSpid:\s*(.*)$/m.exec(status)?.[1]?.split('\t') ?? [];
  } catch {
    return [];
  }
}
