import { readClock, type Instant } from './instant.ts';

/** Two clocks that are read one after the other can differ by so much more than before; no daemon steps by less. */
const leastJumpMs = 100;

/** A reading of the wall clock. */
export interface WallReading {
  /** Milliseconds since the epoch. */
  nowMs: number;
  /** By how much somebody has moved the clock since the reading before: less than 0 where it was set back; else 0. */
  jumpedMs: number;
}

/**
 * The wall clock, watched for jumps: somebody sets it, NTP steps it, a suspended machine resumes. The kernel slews the
 * monotonic clock as it slews this one, so the two part only in a jump (clock_gettime(2)).
 */
export class WallClock {
  readonly #read: () => Instant;
  #aheadMs: number;

  constructor(read: () => Instant = readClock) {
    this.#read = read;
    this.#aheadMs = aheadMs(read());
  }

  read(): WallReading {
    const first = this.#read();
    if (Math.abs(aheadMs(first) - this.#aheadMs) < leastJumpMs) return { nowMs: first.wallMs, jumpedMs: 0 };
    // We may have been put aside between the two clocks: what shows twice is a jump.
    const second = this.#read();
    const jumpedMs = aheadMs(second) - this.#aheadMs;
    if (Math.abs(aheadMs(second) - aheadMs(first)) >= leastJumpMs || Math.abs(jumpedMs) < leastJumpMs)
      return { nowMs: second.wallMs, jumpedMs: 0 };
    this.#aheadMs += jumpedMs;
    return { nowMs: second.wallMs, jumpedMs };
  }
}

function aheadMs({ wallMs, monotonicMs }: Instant): number {
  return wallMs - monotonicMs;
}
