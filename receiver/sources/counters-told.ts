/** From one moment to another, in microseconds of CLOCK_MONOTONIC. */
export interface TimeSpan {
  fromUs: number;
  toUs: number;
}

/** More are not kept apart: the last one goes on over what lay between. */
const mostSpans = 16;

/**
 * When the kernel log could not be read and the counters told of kills without it: what the log has of that time is told
 * already. Not so what happened while neither was read, as between two runs. All times are microseconds of
 * CLOCK_MONOTONIC, and of this boot.
 */
export class CountersTold {
  #spans: TimeSpan[] = [];
  /** Since when the log has not been read and the counters have. */
  #sinceUs: number;

  constructor(sinceUs: number) {
    this.#sinceUs = sinceUs;
  }

  /** Goes on with what an earlier run of this boot has left. */
  resume(spans: readonly TimeSpan[]): void {
    this.#spans = spans.map((span) => ({ ...span }));
  }

  /** For a later run of this boot. */
  get spans(): readonly TimeSpan[] {
    return this.#spans;
  }

  /** The log was read until now, or the counters were not. */
  begin(nowUs: number): void {
    this.#sinceUs = nowUs;
  }

  /** The counters have told, without the log, of all that happened up to this time. */
  reach(toUs: number): void {
    if (toUs <= this.#sinceUs) return;
    const last = this.#spans.at(-1);
    if (last !== undefined && (last.fromUs === this.#sinceUs || this.#spans.length >= mostSpans)) last.toUs = toUs;
    else this.#spans.push({ fromUs: this.#sinceUs, toUs });
  }

  has(atUs: number): boolean {
    return this.#spans.some(({ fromUs, toUs }) => atUs >= fromUs && atUs <= toUs);
  }

  /** The log was read to its end: what comes is later. */
  clear(): void {
    this.#spans = [];
  }
}
