const [QUOTE, COMMA, BACKSLASH, NEWLINE] = [0x22, 0x2c, 0x5c, 0x0a];
const [OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Bytes of one thing that come in pieces: kept up to a bound, beyond which none is kept. */
class Pieces {
  readonly #maxBytes: number;
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  add(chunk: Uint8Array): void {
    this.#bytes += chunk.byteLength;
    if (this.#bytes > this.#maxBytes) this.#chunks = [];
    else if (chunk.byteLength > 0) this.#chunks.push(chunk);
  }

  /** All of it, for the next to begin; undefined where it was too large. */
  take(): Buffer | undefined {
    const taken = this.#bytes > this.#maxBytes ? undefined : Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#bytes = 0;
    return taken;
  }
}

/**
 * Splits what comes in chunks at line ends; a line of more than `maxBytes` is undefined. What follows the last line end
 * is not a line: whoever sent it was cut off.
 */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Buffer | undefined, void, undefined> {
  const line = new Pieces(maxBytes);
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      line.add(chunk.subarray(start, end));
      yield line.take();
      start = end + 1;
    }
    line.add(chunk.subarray(start));
  }
}

/**
 * Takes the objects out of the list of a Kubernetes API answer while it comes in, so that neither its text nor its
 * objects are ever in memory as a whole:
 *
 * `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"211"},"items":[{"metadata":{…}},{…}]}` (v1.33)
 */
export class ListSplitter {
  readonly #item: Pieces;
  readonly #rest: Pieces;
  readonly #emit: (item: Buffer | undefined) => void;
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** Whether what is at depth 2 is a list. */
  #inList = false;
  #inItem = false;

  /** `emit` is given each object, or undefined for one of more than `maxItemBytes`. */
  constructor(emit: (item: Buffer | undefined) => void, maxItemBytes: number, maxRestBytes: number = 64 * 1024) {
    this.#emit = emit;
    this.#item = new Pieces(maxItemBytes);
    this.#rest = new Pieces(maxRestBytes);
  }

  push(chunk: Uint8Array): void {
    let start = 0;
    const flush = (end: number): void => {
      (this.#inItem ? this.#item : this.#rest).add(chunk.subarray(start, end));
      start = end;
    };
    for (let index = 0; index < chunk.length; index++) {
      const byte = chunk[index]!;
      if (this.#inString) this.#passString(byte);
      else if (byte === QUOTE) this.#inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        this.#depth++;
        if (this.#depth === 2) this.#inList = byte === OPEN_BRACKET;
        if (this.#depth !== 3 || !this.#inList) continue;
        flush(index);
        this.#inItem = true;
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        this.#depth--;
        if (!this.#inItem || this.#depth !== 2) continue;
        flush(index + 1);
        this.#inItem = false;
        this.#emit(this.#item.take());
      } else if (byte === COMMA && this.#depth === 2 && this.#inList) {
        flush(index);
        start = index + 1;
      }
    }
    flush(chunk.length);
  }

  /** The answer without the objects. Throws where it is not JSON, ended early, or is too large. */
  end(): unknown {
    const rest = this.#rest.take();
    if (rest === undefined) throw new Error('cannot read a list: too much beside its items');
    try {
      return JSON.parse(rest.toString());
    } catch (error) {
      throw new Error('cannot read a list: it is not JSON', { cause: error });
    }
  }

  #passString(byte: number): void {
    if (this.#escaped) this.#escaped = false;
    else if (byte === BACKSLASH) this.#escaped = true;
    else if (byte === QUOTE) this.#inString = false;
  }
}
