/**
 * The highest usage since the last collection where the kernel cannot tell it: the highest sample, or the lifetime
 * peak exactly where that rose since.
 */
export class PeakSampler {
  #highestBytes: number | undefined;
  #lifetimeBytes: number | undefined;

  /** `lifetimeBytes`: the lifetime peak where the first interval begins, 0 for a group that was just made. */
  constructor(lifetimeBytes: number | undefined) {
    this.#lifetimeBytes = lifetimeBytes;
  }

  sample(usageBytes: number | undefined): void {
    if (usageBytes !== undefined) this.#highestBytes = Math.max(usageBytes, this.#highestBytes ?? 0);
  }

  /** Ends an interval; `lifetimeBytes` is the kernel's highest usage since the group was made, where it keeps one. */
  take(lifetimeBytes: number | undefined): number | undefined {
    const rose =
      lifetimeBytes !== undefined && this.#lifetimeBytes !== undefined && lifetimeBytes > this.#lifetimeBytes;
    const highestBytes = rose ? lifetimeBytes : this.#highestBytes;
    this.#lifetimeBytes = lifetimeBytes ?? this.#lifetimeBytes;
    this.#highestBytes = undefined;
    return highestBytes;
  }
}
