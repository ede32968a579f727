/** The last time that a daemon can mean, in the year 2262: it counts nanoseconds in 63 bits, as we tell them. */
const latestMs = 2 ** 63 / 1e6;

/** Whether these milliseconds since the epoch are a time that a daemon can mean. */
export function isDaemonTime(atMs: number): boolean {
  return atMs > 0 && atMs < latestMs;
}
