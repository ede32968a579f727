/** More pids than this are forgotten, those seen longest ago first. */
const mostPids = 20_000;

/** A pid seen longer ago than this may be another process by now. */
const believedForMs = 60_000;

/**
 * Which container a process lived in, from what was seen while it lived: the kernel names only the pid of a victim
 * whose report it held back.
 */
export class PidTable {
  readonly #seen = new Map<number, { containerId: string; atMs: number }>();

  /** Processes were seen in a container. */
  learn(containerId: string, pids: Iterable<number>, atMs: number): void {
    for (const pid of pids) {
      this.#seen.delete(pid);
      this.#seen.set(pid, { containerId, atMs });
    }
    for (const pid of this.#seen.keys()) {
      if (this.#seen.size <= mostPids) return;
      this.#seen.delete(pid);
    }
  }

  /** Id of the container in which a process that died at that time lived, if it was seen there not long before. */
  containerOf(pid: number, atMs: number): string | undefined {
    const seen = this.#seen.get(pid);
    return seen !== undefined && Math.abs(atMs - seen.atMs) <= believedForMs ? seen.containerId : undefined;
  }
}
