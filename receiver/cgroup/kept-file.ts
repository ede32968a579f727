import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

/** What was read of a file, valid until the same reader reads again. */
export interface Content {
  readonly bytes: Buffer;
  readonly length: number;
}

/** Descriptors left to others: sockets, watches, logs. */
const reservedDescriptors = 256;

/** So many kept files are closed at once where the process has no descriptor left for another. */
const closedAtOnce = 64;

/**
 * Reads cgroup and proc files into one buffer, and keeps their descriptors: reading a kept file costs 0.5 µs, opening
 * it first ten times as much. Where descriptors run short, further files are opened for each reading.
 */
export class FileReader {
  /** Larger than any file of a memory cgroup, and than /proc/vmstat. */
  readonly #content: { bytes: Buffer; length: number } = { bytes: Buffer.allocUnsafeSlow(32 * 1024), length: 0 };
  readonly #kept = new Set<KeptFile>();
  readonly #onShort: (mostKept: number) => void;
  #mostKept = Math.max(0, readDescriptorLimit() - reservedDescriptors);
  #short = false;

  /** `onShort` is told once that descriptors run short, with the number of files that are kept open. */
  constructor(onShort: (mostKept: number) => void) {
    this.#onShort = onShort;
  }

  /** Whether another file may be kept open; where it may, it counts until it is given back. */
  take(file: KeptFile): boolean {
    if (this.#kept.size >= this.#mostKept) {
      this.#tellShort();
      return false;
    }
    this.#kept.add(file);
    return true;
  }

  give(file: KeptFile): void {
    this.#kept.delete(file);
  }

  /** Opens a file. Others use descriptors too: where none is left, closes files that can be opened again. */
  open(path: string, flags: 'r' | 'r+'): number {
    try {
      return openSync(path, flags);
    } catch (error) {
      if (!isShortage(error) || !this.#closeSome()) throw error;
      return openSync(path, flags);
    }
  }

  fill(fd: number): Content {
    const { bytes } = this.#content;
    this.#content.length = readSync(fd, bytes, 0, bytes.length, 0);
    return this.#content;
  }

  #closeSome(): boolean {
    const some = [...this.#kept].filter(({ canBeOpenedAgain }) => canBeOpenedAgain).slice(0, closedAtOnce);
    for (const file of some) file.close();
    this.#mostKept = this.#kept.size;
    this.#tellShort();
    return some.length > 0;
  }

  #tellShort(): void {
    if (this.#short) return;
    this.#short = true;
    this.#onShort(this.#mostKept);
  }
}

/** A file that is read again and again. */
export class KeptFile {
  readonly path: string;
  readonly #reader: FileReader;
  readonly #flags: 'r' | 'r+';
  #fd: number | undefined;

  constructor(reader: FileReader, path: string, flags: 'r' | 'r+' = 'r') {
    this.#reader = reader;
    this.path = path;
    this.#flags = flags;
  }

  /**
   * The whole content. Undefined when the file is not there (any more): a removed group answers ENOENT by path and
   * ENODEV by descriptor. Throws on anything else.
   */
  read(): Content | undefined {
    try {
      if (this.#fd !== undefined) return this.#reader.fill(this.#fd);
      const fd = this.#reader.open(this.path, this.#flags);
      if (this.#reader.take(this)) return this.#reader.fill((this.#fd = fd));
      try {
        return this.#reader.fill(fd);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      this.close();
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENODEV') return undefined;
      throw new Error(`cannot read "${this.path}"`, { cause: error });
    }
  }

  /** The kept descriptor, opened if need be; undefined where none can be kept. */
  get fd(): number | undefined {
    if (this.#fd === undefined) this.read();
    return this.#fd;
  }

  close(): void {
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    this.#fd = undefined;
    this.#reader.give(this);
  }

  /** A descriptor that was written to stands for what was written: see memory.peak. */
  get canBeOpenedAgain(): boolean {
    return this.#flags === 'r';
  }
}

function isShortage(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EMFILE' || code === 'ENFILE';
}

/** Line of /proc/self/limits (6.18): `Max open files            20000                20000                files`. */
function readDescriptorLimit(): number {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
    return limit === undefined ? 1024 : Number(limit);
  } catch {
    return 1024;
  }
}
