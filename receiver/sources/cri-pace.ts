/** After a sign the runtime is asked at once, and again in case that it did not know yet. */
const afterSignMs = [50, 250, 1_000];

/** A runtime that takes long is given so many times that long to rest, whatever the signs. */
const restPerPoll = 4;

/** When to ask a runtime next: at an interval, and soon after each sign that something has happened. */
export class PollPace {
  readonly #intervalMs: number;
  /** When the last poll was over, how long it took, and what is due, by the monotonic clock. */
  #endedAtMs = performance.now();
  #tookMs = 0;
  #due: number[] = [];
  #rearm: (() => void) | undefined;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** Something has happened. However many signs come, the next poll is not put off by them. */
  sign(): void {
    const nowMs = performance.now();
    const [soonest = Infinity] = this.#due;
    const [first, ...later] = afterSignMs.map((delayMs) => nowMs + delayMs);
    this.#due = [Math.min(soonest, first!), ...later];
    this.#rearm?.();
  }

  /** Resolves when the next poll is due, or at once when `signal` is aborted. */
  async untilDue(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let timer: NodeJS.Timeout | undefined;
    this.#rearm = () => {
      clearTimeout(timer);
      timer = setTimeout(resolve, Math.max(0, this.#dueAtMs() - performance.now()));
    };
    const stop = (): void => resolve();
    signal.addEventListener('abort', stop);
    this.#rearm();
    if (signal.aborted) resolve();
    await promise;
    // It is waited for thousands of times a day, and the signal is one.
    signal.removeEventListener('abort', stop);
    clearTimeout(timer);
    this.#rearm = undefined;
  }

  /** Does a poll and takes its time. */
  async time(poll: () => Promise<void>): Promise<void> {
    const beganAtMs = performance.now();
    this.#due = this.#due.filter((atMs) => atMs > beganAtMs);
    try {
      await poll();
    } finally {
      this.#endedAtMs = performance.now();
      this.#tookMs = this.#endedAtMs - beganAtMs;
    }
  }

  #dueAtMs(): number {
    const [signed = Infinity] = this.#due;
    const rested = this.#endedAtMs + restPerPoll * this.#tookMs;
    return Math.min(this.#endedAtMs + this.#intervalMs, Math.max(signed, rested));
  }
}
