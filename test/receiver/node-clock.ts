import type { Instant } from '../../receiver/instant.ts';

/** A node's two clocks, by hand. */
export class NodeClock {
  wallMs: number;
  #monotonicMs = 5_000;

  constructor(wallMs: number) {
    this.wallMs = wallMs;
  }

  readonly read = (): Instant => ({ wallMs: this.wallMs, monotonicMs: this.#monotonicMs });

  /** Time goes by. */
  pass(ms: number): void {
    this.wallMs += ms;
    this.#monotonicMs += ms;
  }

  /** Somebody sets the wall clock. */
  jump(ms: number): void {
    this.wallMs += ms;
  }
}
