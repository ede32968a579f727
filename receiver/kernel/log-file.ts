import { closeSync, fstatSync, readSync, statSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { LineSplitter } from '../sources/line-splitter.ts';
import { openFrom, type FilePlace } from './file-place.ts';
import { maxTextLength, type LogPosition } from './kmsg-record.ts';
import { LogLineReader } from './log-line.ts';
import { isToldBefore, type LogSink, type LogStart, type LogTap } from './log-tap.ts';
import { openTextFile } from './text-file.ts';

/** A report that was begun before us fits in here. */
const contextBytes = 256 * 1024;

/** Where what an earlier run has told is not found again, no more than this is looked through. */
const mostSearchedBytes = 16 * 2 ** 20;

/** So much is read before others have their turn. */
const bytesPerTurn = 64 * 1024;

/** The file that is being read. */
interface Reading {
  fd: number;
  inode: number;
  /** Up to where it was read. */
  offset: number;
  /** Lines that end up to here are old. */
  newFrom: number;
  /** The first line may be half a line. */
  skipsLine: boolean;
  lines: LogLineReader;
  splitter?: LineSplitter;
}

/**
 * Follows a file into which another program writes the kernel's messages, as rsyslog does into /var/log/kern.log. It
 * goes on behind the line that an earlier run has told last, which may stand in a rotated file by now; without an
 * earlier run, what it holds already is old. When another file takes its place (rotation by renaming), that is read
 * from its beginning once there is something in it; so is a file that became shorter (rotation by copying), after what
 * is left to read of its copy.
 */
export class LogFile implements LogTap {
  readonly way = 'log_file';
  readonly from: string;
  readonly restMs = 0;
  readonly idleMs = 0;
  readonly silenceMs = 200;
  place: FilePlace | undefined;
  readonly #start: LogStart;
  readonly #buffer = Buffer.allocUnsafeSlow(bytesPerTurn);
  #file: Reading;
  /** Files to be read after this one. */
  #next: number[] = [];
  /** What was told before can only be known by its time. */
  #comparesTimes = false;
  #isLost = false;

  /** @throws where it is not there, not ours to read or no text, with the reason as its cause. */
  constructor(path: string, start: LogStart) {
    this.from = path;
    this.#start = start;
    const told = start.resumeAfter?.file;
    const found = told && openFrom(path, told);
    this.#file = found === undefined ? this.#openAnew() : this.#goOnFrom(found, told!);
    if (this.#file.newFrom === 0) this.place = beginOf(this.#file);
  }

  read(sink: LogSink): boolean {
    try {
      if (this.#isLost) sink.gap({ reason: 'lost' }, false);
      this.#isLost = false;
      if (this.#readOn(sink)) return true;
      if (this.#next.length > 0) return this.#follow(this.#next.shift()!);
      if (fstatSync(this.#file.fd).size < this.#file.offset) {
        if (this.#goOn() === 'lost') sink.gap({ reason: 'cut' }, false);
        return true;
      }
      if (!this.#isReplaced()) return false;
      // Whoever wrote into it may have done so until it was replaced.
      if (!this.#readOn(sink)) this.#goOn();
      return true;
    } catch (cause) {
      throw new Error(`cannot read "${this.from}"`, { cause });
    }
  }

  close(): void {
    for (const fd of [this.#file.fd, ...this.#next]) closeSync(fd);
  }

  #openAnew(): Reading {
    const file = readingOf(openTextFile(this.from));
    const { size } = fstatSync(file.fd);
    const { resumeAfter } = this.#start;
    this.#isLost = resumeAfter?.file !== undefined;
    this.#comparesTimes = resumeAfter !== undefined && (this.#isLost || resumeAfter.wallTimeMs !== undefined);
    file.newFrom = this.#comparesTimes ? 0 : size;
    file.offset = Math.max(0, size - (this.#comparesTimes ? mostSearchedBytes : contextBytes));
    file.skipsLine = file.offset > 0;
    return file;
  }

  #goOnFrom([first, ...next]: readonly number[], { offset }: FilePlace): Reading {
    const file = readingOf(first!);
    file.newFrom = offset;
    file.offset = Math.max(0, offset - contextBytes);
    file.skipsLine = file.offset > 0;
    this.#next = next;
    return file;
  }

  /** True where something was read. */
  #readOn(sink: LogSink): boolean {
    const file = this.#file;
    const begin = file.offset;
    const most = begin < file.newFrom ? Math.min(bytesPerTurn, file.newFrom - begin) : bytesPerTurn;
    const length = readSync(file.fd, this.#buffer, 0, most, begin);
    file.offset += length;
    file.splitter ??= new LineSplitter(2 * maxTextLength, (start) => sink.malformed('line is too long', start));
    file.splitter.push(this.#buffer.subarray(0, length), (line, bytes, end) => {
      if (file.skipsLine) return void (file.skipsLine = false);
      const { inode } = file;
      const place = { inode, offset: begin + end, lineBytes: bytes.length, lineCrc32: crc32(bytes) };
      this.place = place;
      const message = file.lines.read(line);
      if (message !== undefined) sink.message({ ...message, place }, this.#isOld(place, message));
    });
    return length > 0;
  }

  #isOld({ offset }: FilePlace, message: LogPosition): boolean {
    return offset <= this.#file.newFrom || (this.#comparesTimes && isToldBefore(this.#start, message));
  }

  /** Whether the path leads to another file, in which there is something. */
  #isReplaced(): boolean {
    const now = statSync(this.from, { throwIfNoEntry: false });
    const own = fstatSync(this.#file.fd);
    return now !== undefined && now.size > 0 && (now.ino !== own.ino || now.dev !== own.dev);
  }

  /** Goes on in the file that was put aside, of which there can be more to read, or in the new one. */
  #goOn(): 'found' | 'lost' {
    const { place } = this;
    const found = place && openFrom(this.from, place);
    if (found === undefined) {
      this.#follow(openTextFile(this.from));
      return 'lost';
    }
    this.#follow(found[0]!, place);
    this.#next = found.slice(1);
    return 'found';
  }

  #follow(fd: number, after?: FilePlace): boolean {
    closeSync(this.#file.fd);
    this.#file = readingOf(fd);
    this.#file.offset = after?.offset ?? 0;
    this.place = after ?? beginOf(this.#file);
    return true;
  }
}

function readingOf(fd: number): Reading {
  const lines = new LogLineReader(() => Date.now());
  return { fd, inode: fstatSync(fd).ino, offset: 0, newFrom: 0, skipsLine: false, lines };
}

function beginOf({ inode }: Reading): FilePlace {
  return { inode, offset: 0, lineBytes: 0, lineCrc32: 0 };
}
