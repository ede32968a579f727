/** How long to wait between attempts. Times in milliseconds. */
export interface BackoffOptions {
  initialMs: number;
  /** Each wait is this many times the one before. */
  multiplier: number;
  maxMs: number;
  /** A wait is anywhere between (1 − this) and (1 + this) times the interval. */
  randomizationFactor: number;
}

/**
 * The waits between the attempts of one request: exponential, randomised so that agents whose backend comes back do
 * not all return in the same instant.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  #intervalMs: number;

  /** `random` gives numbers from 0 to below 1. */
  constructor(options: BackoffOptions, random: () => number = Math.random) {
    this.#options = options;
    this.#random = random;
    this.#intervalMs = options.initialMs;
  }

  /** The next wait in milliseconds. */
  nextMs(): number {
    const { multiplier, maxMs, randomizationFactor } = this.#options;
    const spread = (this.#random() * 2 - 1) * randomizationFactor;
    const waitMs = this.#intervalMs * (1 + spread);
    this.#intervalMs = Math.min(this.#intervalMs * multiplier, maxMs);
    return waitMs;
  }
}
