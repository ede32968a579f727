/**
 * One moment by two clocks. Telemetry bears the wall clock's time; whoever waits uses the monotonic one, because the
 * wall clock of a node jumps.
 */
export interface Instant {
  /** Milliseconds since the epoch. */
  wallMs: number;
  /** Milliseconds since some moment in the past; never goes back. */
  monotonicMs: number;
}

/** The present moment. */
export function readClock(): Instant {
  return { wallMs: Date.now(), monotonicMs: performance.now() };
}
