import { crc32 } from 'node:zlib';

/** The buffer of a large machine holds 16 MB, some 200,000 lines; what is beyond this is not remembered. */
const mostLines = 500_000;

/** By so many of its first lines an output is laid over the earlier one. */
const firstLines = 32;

/**
 * Finds what is new in a log that is printed whole each time, from its oldest line that is left: lines go at its
 * beginning and come at its end. Of the earlier output only a number for each line is kept.
 */
export class KnownLines {
  #known: number[] | undefined;
  #printed: number[] = [];
  /** First lines that are held back until it is clear where they stood before. */
  #held: string[] = [];
  /** Where in the earlier output the next line stands; undefined while that is not clear. */
  #at: number | undefined;
  #isLost = false;

  /** The log is printed anew. */
  begin(): void {
    this.#printed = [];
    this.#held = [];
    this.#at = this.#known === undefined ? 0 : undefined;
    this.#isLost = false;
  }

  /** Nothing of what was there before is left: what came between is lost, and all lines are given. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** Lines can be given though they were there before. */
  get isUnsure(): boolean {
    return this.#isLost || this.#known?.length === mostLines;
  }

  /** Takes the next line; gives those that were not there before. */
  feed(line: string): readonly string[] {
    if (this.#printed.length < mostLines) this.#printed.push(crc32(line) >>> 1);
    if (this.#at !== undefined) return this.#at++ < (this.#known?.length ?? 0) ? none : [line];
    this.#held.push(line);
    return this.#held.length < firstLines ? none : this.#place();
  }

  /** The log ends here: gives the lines that are still held back. */
  end(): readonly string[] {
    const rest = this.#at === undefined ? this.#place() : none;
    // A log that was emptied has lost nothing that we could still have seen.
    if (this.#printed.length > 0 || this.#known === undefined) this.#known = this.#printed;
    this.#printed = [];
    return rest;
  }

  #place(): readonly string[] {
    const known = this.#known ?? [];
    const at = this.#findFirst(known);
    const held = this.#held;
    this.#held = [];
    this.#isLost = at === -1 && known.length > 0 && held.length > 0;
    this.#at = (at === -1 ? known.length : at) + held.length;
    return held.slice(at === -1 ? 0 : Math.max(0, known.length - at));
  }

  /** Where the lines that are held back stood before, or as many of them as there were. */
  #findFirst(known: readonly number[]): number {
    const first = this.#printed;
    for (let at = known.indexOf(first[0]!); at !== -1; at = known.indexOf(first[0]!, at + 1)) {
      const length = Math.min(this.#held.length, known.length - at);
      if (first.slice(0, length).every((line, index) => line === known[at + index])) return at;
    }
    return -1;
  }
}

const none: readonly string[] = [];
