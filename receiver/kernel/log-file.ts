import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { LineSplitter } from '../sources/line-splitter.ts';
import { maxTextLength } from './kmsg-record.ts';
import { LogLineReader } from './log-line.ts';
import type { LogSink, LogTap } from './log-tap.ts';

/** A report that was begun before us fits in here. */
const contextBytes = 256 * 1024;

/** So much is read before others have their turn. */
const bytesPerTurn = 64 * 1024;

/**
 * Follows a file into which another program writes the kernel's messages, as rsyslog does into /var/log/kern.log. What
 * it holds already is old. When another file takes its place (rotation by renaming), that is read from its beginning once
 * there is something in it; a file that became shorter (rotation by copying) is read from its beginning as well.
 */
export class LogFile implements LogTap {
  readonly from: string;
  readonly restMs = 0;
  readonly idleMs = 0;
  readonly silenceMs = 200;
  readonly #buffer = Buffer.allocUnsafeSlow(bytesPerTurn);
  #lines = new LogLineReader(() => Date.now());
  #splitter: LineSplitter | undefined;
  #fd: number;
  #offset: number;
  /** What stands before it is old. */
  #newFrom: number;
  /** The first line may be half a line. */
  #skipsLine: boolean;

  /** @throws where it is not there or not ours to read, with the reason as its cause. */
  constructor(path: string) {
    this.from = path;
    try {
      this.#fd = openSync(path, 'r');
      this.#newFrom = fstatSync(this.#fd).size;
    } catch (cause) {
      throw new Error(`cannot open "${path}"`, { cause });
    }
    this.#offset = Math.max(0, this.#newFrom - contextBytes);
    this.#skipsLine = this.#offset > 0;
  }

  read(sink: LogSink): boolean {
    try {
      if (this.#readOn(sink)) return true;
      if (fstatSync(this.#fd).size < this.#offset) {
        this.#begin();
        sink.gap({ reason: 'cut' }, false);
        return true;
      }
      return this.#isReplaced() && (this.#readOn(sink) || this.#reopen());
    } catch (cause) {
      throw new Error(`cannot read "${this.from}"`, { cause });
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** True where something was read. */
  #readOn(sink: LogSink): boolean {
    const old = this.#offset < this.#newFrom;
    const most = old ? Math.min(bytesPerTurn, this.#newFrom - this.#offset) : bytesPerTurn;
    const length = readSync(this.#fd, this.#buffer, 0, most, this.#offset);
    this.#offset += length;
    this.#splitter ??= new LineSplitter(2 * maxTextLength, (start) => sink.malformed('line is too long', start));
    this.#splitter.push(this.#buffer.subarray(0, length), (line) => {
      if (this.#skipsLine) return void (this.#skipsLine = false);
      const message = this.#lines.read(line);
      if (message !== undefined) sink.message(message, old);
    });
    return length > 0;
  }

  /** Whether the path leads to another file, in which there is something. */
  #isReplaced(): boolean {
    const now = statSync(this.from, { throwIfNoEntry: false });
    const own = fstatSync(this.#fd);
    return now !== undefined && now.size > 0 && (now.ino !== own.ino || now.dev !== own.dev);
  }

  #reopen(): boolean {
    const fd = openSync(this.from, 'r');
    closeSync(this.#fd);
    this.#fd = fd;
    this.#begin();
    return true;
  }

  #begin(): void {
    this.#offset = 0;
    this.#newFrom = 0;
    this.#skipsLine = false;
    this.#splitter = undefined;
    this.#lines = new LogLineReader(() => Date.now());
  }
}
