import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { identifyMemcg } from './identity.ts';
import type { ProcessList } from './process-list.ts';
import { readMemcgOf } from './process-memcg.ts';

/** A scan reads one file of each process of the node: what it found serves for so long. */
const servesMs = 250;

/**
 * The processes of containers by what /proc says of each process of the node, for where cgroup.procs does not list them:
 * in a PID namespace of our own the kernel leaves out who is not in it (cgroup v1) or writes 0 (v2). In the node's
 * /proc, mounted into our container, all of them are seen by their host pids.
 */
export class ProcessScan {
  readonly #rootPath: string;
  #pids = new Map<string, number[]>();
  #atMs = -Infinity;

  constructor(rootPath: string) {
    this.#rootPath = rootPath;
  }

  /** Of a container and of what is nested in it, but for containers inside; the oldest pids first, no more than `most`. */
  processesOf(containerId: string, most: number): ProcessList {
    if (performance.now() - this.#atMs >= servesMs) this.#scan();
    const pids = this.#pids.get(containerId) ?? [];
    return { pids: pids.slice(0, most), isCut: pids.length > most };
  }

  #scan(): void {
    this.#pids = new Map();
    for (const pid of listPids(this.#rootPath)) {
      const { containerId } = identifyMemcg(readMemcgOf(this.#rootPath, pid) ?? '');
      if (containerId === undefined) continue;
      const known = this.#pids.get(containerId);
      if (known === undefined) this.#pids.set(containerId, [pid]);
      else known.push(pid);
    }
    this.#atMs = performance.now();
  }
}

/**
 * Whether we see the processes of the node in a PID namespace of our own, as in a pod without `hostPID`.
 *
 * Line read from /proc/self/status of the node's /proc (proc_pid_status(5)): our pid in each namespace from the node's
 * on, so that one pid is that of the node itself.
 *
 *     NSpid:	4711	1
 */
export function isInOwnPidNamespace(rootPath: string): boolean {
  try {
    const status = readFileSync(join(rootPath, 'proc/self/status'), 'latin1');
    return (/^NSpid:\s*(.*)$/m.exec(status)?.[1]?.split('\t').length ?? 1) > 1;
  } catch {
    return false;
  }
}

function listPids(rootPath: string): number[] {
  try {
    return readdirSync(join(rootPath, 'proc'))
      .map(Number)
      .filter((pid) => pid > 0);
  } catch {
    return [];
  }
}
