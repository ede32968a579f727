/** When to look again for a kill that another witness has told of, or that only the machine's count shows so far. */
const looksAgainAfterMs = [2, 10, 30, 100, 300];

/**
 * The looks that follow a first one. A hint can come before the kill, and a kill be seen in the machine's count before
 * the group's. Kills that no group shows on the last look happened outside of containers, or their group is gone.
 */
export class LooksAgain {
  /** Kills in the machine's count that no group's counter has shown yet; below 0 until that count is read again. */
  unexplained = 0;
  readonly #look: () => number;
  #timer: NodeJS.Timeout | undefined;

  /** `look` returns how many kills are unexplained after it. */
  constructor(look: () => number) {
    this.#look = look;
  }

  /** The machine's count rose; undefined where it cannot be read. What a group has shown by now is in that count. */
  count(rise: number | undefined): void {
    this.unexplained = rise === undefined ? 0 : Math.max(0, this.unexplained + rise);
  }

  /** Another witness has told of a kill: looks again, from the first delay on. */
  hint(): void {
    this.#again(0, true);
  }

  /** Looks again as long as kills are unexplained, unless that is going on. */
  search(): void {
    if (this.unexplained > 0 && this.#timer === undefined) this.#again(0, false);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #again(look: number, hinted: boolean): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const delayMs = looksAgainAfterMs[look];
    if (delayMs === undefined) {
      this.unexplained = 0;
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#look() > 0 || hinted) this.#again(look + 1, hinted);
    }, delayMs);
  }
}
