import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';

/** Tells when the kernel killed processes, from the kernel log, to within a few microseconds. */
export class KernelKills {
  readonly #fd = openSync('/dev/kmsg', constants.O_RDONLY | constants.O_NONBLOCK);
  readonly #buffer = Buffer.alloc(8192);
  /** What to add to the log's clock (milliseconds since boot) to get milliseconds since the epoch. */
  #offsetMs = 0;

  constructor() {
    this.#calibrate();
  }

  /** Times of the OOM kills of memhog since the last call, in milliseconds since the epoch. */
  read(): number[] {
    return this.readVictims().flatMap(({ comm, atMs }) => (comm === 'memhog' ? atMs : []));
  }

  /** The victims of the OOM killer since the last call; their times in milliseconds since the epoch. */
  readVictims(): { pid: number; comm: string; atMs: number }[] {
    return this.#records().flatMap(({ atMs, text }) => {
      // Memory cgroup out of memory: Killed process 1234 (memhog) total-vm:66092kB, anon-rss:31744kB, …
      const [, pid, comm] = /;[^;]*Killed process (\d+) \((.*)\),? (?:total-vm|UID)/.exec(text) ?? [];
      return pid === undefined ? [] : [{ pid: Number(pid), comm: comm!, atMs: atMs + this.#offsetMs }];
    });
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** The log has a clock of its own: writes a record and sees what time it got. */
  #calibrate(): void {
    const marker = `exit137-bench ${process.pid} ${process.hrtime.bigint()}`;
    const out = openSync('/dev/kmsg', 'w');
    const beforeMs = nowMs();
    writeSync(out, `${marker}\n`);
    const afterMs = nowMs();
    closeSync(out);
    const record = this.#records().find(({ text }) => text.includes(marker));
    if (record === undefined) throw new Error('cannot find in /dev/kmsg what was written to it');
    this.#offsetMs = (beforeMs + afterMs) / 2 - record.atMs;
  }

  *#lines(): Generator<string> {
    for (;;) {
      try {
        yield this.#buffer.toString('utf8', 0, readSync(this.#fd, this.#buffer));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return;
        // Records were overwritten before we read them: go on at the oldest.
        if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
      }
    }
  }

  #records(): { atMs: number; text: string }[] {
    // 3,1234,5678901234,-;Memory cgroup out of memory: …
    return Array.from(this.#lines(), (line) => ({ atMs: Number(line.split(',', 3)[2]) / 1000, text: line }));
  }
}

/** Milliseconds since the epoch, with fractions. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
