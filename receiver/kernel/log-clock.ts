/** The clocks of this process: the wall clock in milliseconds, CLOCK_MONOTONIC in microseconds. */
export interface ProcessClocks {
  wallMs(): number;
  monotonicUs(): number;
}

/** The real ones. `process.hrtime` reads CLOCK_MONOTONIC, which like the log's clock stands still in a suspend. */
export const processClocks: ProcessClocks = {
  wallMs: () => Date.now(),
  monotonicUs: () => Number(process.hrtime.bigint() / 1000n),
};

/**
 * Tells the wall clock's time of a record of the kernel log. The log's clock (local_clock) runs like CLOCK_MONOTONIC,
 * but begins a little later (1.6 ms on 6.18) and is not steered by NTP: over weeks it can be seconds off. Each record
 * that is seen to come tells within which bounds it is off, and the difference is kept within them: exact to the time
 * between two readings. Times before a suspend come out too late by its length.
 */
export class LogClock {
  readonly #clocks: ProcessClocks;
  #behindUs = 0;

  constructor(clocks: ProcessClocks) {
    this.#clocks = clocks;
  }

  /** A record with this time is here now, and was not yet here at `absentUs` of CLOCK_MONOTONIC. */
  calibrate(recordUs: number, absentUs: number): void {
    const least = absentUs - recordUs;
    const most = this.#clocks.monotonicUs() - recordUs;
    this.#behindUs = Math.min(Math.max(this.#behindUs, least), most);
  }

  /** Milliseconds since the epoch; never in the future. */
  wallMsOf(recordUs: number): number {
    const agoUs = this.#clocks.monotonicUs() - this.#behindUs - recordUs;
    return this.#clocks.wallMs() - Math.max(0, agoUs) / 1000;
  }
}
