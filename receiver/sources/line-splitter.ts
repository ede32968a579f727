const newline = 0x0a;
const smallestCapacity = 4096;

/**
 * Cuts a stream of bytes into lines. The time it takes grows with the bytes, however they are cut into chunks. A line
 * longer than `maxBytes` is passed over up to its end, and `tooLong` is told its beginning.
 */
export class LineSplitter {
  readonly #maxBytes: number;
  readonly #tooLong: (start: string) => void;
  /** Holds the begun line; grows by doubling. */
  #held = Buffer.alloc(smallestCapacity);
  #heldBytes = 0;
  #skipping = false;

  constructor(maxBytes: number, tooLong: (start: string) => void) {
    this.#maxBytes = maxBytes;
    this.#tooLong = tooLong;
  }

  /**
   * Takes a chunk and calls `line` with each line that it completes, without the newline: as text, as bytes that are
   * its own only for the time of the call, and with the place in the chunk where the next line begins. Empty lines are
   * left out.
   */
  push(chunk: Buffer, line: (text: string, bytes: Buffer, end: number) => void): void {
    let from = 0;
    for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, from)) {
      this.#hold(chunk.subarray(from, at));
      const bytes = this.#held.subarray(0, this.#heldBytes);
      this.#begin();
      from = at + 1;
      if (bytes.length > 0) line(bytes.toString('utf8'), bytes, from);
    }
    this.#hold(chunk.subarray(from));
  }

  #begin(): void {
    this.#heldBytes = 0;
    this.#skipping = false;
    if (this.#held.length > 16 * smallestCapacity) this.#held = Buffer.alloc(smallestCapacity);
  }

  #hold(part: Buffer): void {
    if (this.#skipping) return;
    const bytes = this.#heldBytes + part.length;
    if (bytes > this.#maxBytes) {
      this.#tooLong(Buffer.concat([this.#held.subarray(0, this.#heldBytes), part], Math.min(bytes, 1024)).toString());
      this.#heldBytes = 0;
      this.#skipping = true;
      return;
    }
    if (bytes > this.#held.length) this.#grow(bytes);
    part.copy(this.#held, this.#heldBytes);
    this.#heldBytes = bytes;
  }

  #grow(bytes: number): void {
    const larger = Buffer.alloc(Math.max(bytes, 2 * this.#held.length));
    this.#held.copy(larger, 0, 0, this.#heldBytes);
    this.#held = larger;
  }
}
