import { closeSync, constants, openSync, readSync } from 'node:fs';
import { parseKmsgRecord, type LogPosition } from './kmsg-record.ts';
import { killerBeginLength, mayTellUserspaceKill } from './userspace-killer.ts';
import { isOld, type LogSink, type LogStart, type LogTap } from './log-tap.ts';

/** As long as the longest record that the kernel writes to a reader (CONSOLE_EXT_LOG_MAX, PRINTK_MESSAGE_MAX). */
const bufferBytes = 8192;

/** So many are read before others have their turn: a few milliseconds. */
const recordsPerTurn = 500;
const turnMs = 5;

/** What is there at the start may be what others wait for. */
const firstTurnMs = 50;

/** A few reports: on a node that is short of CPU the time of a turn passes without any being read. */
const leastRecordsPerTurn = 100;

/** Reads one record into the buffer, as `fs.readSync` does; given only where a test must make it fail. */
export type ReadRecord = (fd: number, buffer: Buffer) => number;

/**
 * Follows /dev/kmsg (kernel document: ABI/testing/dev-kmsg) from its oldest record on: each read gives one record. A
 * descriptor that does not block is read until the kernel says EAGAIN; whoever waits in a read cannot be stopped.
 */
export class KmsgDevice implements LogTap {
  readonly way = 'kernel_log';
  readonly from: string;
  readonly restMs = 0;
  readonly idleMs = 0;
  /** The kernel writes the lines of a report one right after the other. */
  readonly silenceMs = 5;
  lastSequence: number | undefined;
  readonly #fd: number;
  readonly #start: LogStart;
  readonly #readRecord: ReadRecord;
  readonly #buffer = Buffer.allocUnsafeSlow(bufferBytes);
  /** Of the next record, if none is lost. */
  #expected: number | undefined;
  #overrun = false;
  #isFirstReading = true;

  private constructor(path: string, fd: number, start: LogStart, readRecord: ReadRecord) {
    this.from = path;
    this.#fd = fd;
    this.#start = start;
    this.#readRecord = readRecord;
  }

  /** @throws where the device is not there or not ours to read, with the reason as its cause. */
  static open(path: string, start: LogStart, readRecord: ReadRecord = readFrom): KmsgDevice {
    try {
      return new KmsgDevice(path, openSync(path, constants.O_RDONLY | constants.O_NONBLOCK), start, readRecord);
    } catch (cause) {
      throw new Error(`cannot open "${path}"`, { cause });
    }
  }

  read(sink: LogSink): boolean {
    const untilMs = performance.now() + (this.#isFirstReading ? firstTurnMs : turnMs);
    // What a record tells can take others' time, too.
    for (let count = 0; count < recordsPerTurn; count++) {
      if (count >= leastRecordsPerTurn && performance.now() >= untilMs) return true;
      const length = this.#next(sink);
      if (length === 0) {
        this.#isFirstReading = false;
        return false;
      }
      if (length !== undefined) this.#take(length, sink);
    }
    return true;
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Length of the next record: 0 at the end, undefined where it could not be read and there may be others. */
  #next(sink: LogSink): number | undefined {
    try {
      return this.#readRecord(this.#fd, this.#buffer);
    } catch (error) {
      switch ((error as NodeJS.ErrnoException).code) {
        case 'EAGAIN':
          return 0;
        case 'EPIPE':
          // The record was overwritten; the next read gives the oldest that is left.
          this.#overrun = true;
          return undefined;
        case 'EINVAL':
          // The record did not fit into the buffer and is passed over; the next one shows the gap.
          sink.malformed('kernel log record longer than the buffer', this.from);
          return undefined;
        case 'EINTR':
          return undefined;
        default:
          throw new Error(`cannot read "${this.from}"`, { cause: error });
      }
    }
  }

  #take(length: number, sink: LogSink): void {
    const header = readHeader(this.#buffer, length);
    if (header === undefined) {
      sink.malformed(
        'kernel log record that cannot be read',
        this.#buffer.toString('latin1', 0, Math.min(length, 256)),
      );
      return;
    }
    const { facility, sequence } = header;
    this.#checkSequence(header, sink);
    this.lastSequence = sequence;
    // What processes wrote to the log is passed over before a string is made of it, but for userspace OOM killers.
    if (facility !== 0 && !mayTellUserspaceKill(this.#beginOfText(length))) return;
    const message = parseKmsgRecord(this.#buffer.toString('latin1', 0, length));
    if (message === undefined) return sink.malformed('kernel log record that cannot be read', `number ${sequence}`);
    sink.message(message, isOld(this.#start, header, this.#isFirstReading));
  }

  #beginOfText(length: number): string {
    const at = this.#buffer.indexOf(';') + 1;
    return this.#buffer.toString('latin1', at, Math.min(at + killerBeginLength, length));
  }

  #checkSequence(next: LogPosition & { sequence: number }, sink: LogSink): void {
    const expected = this.#expected ?? this.#firstExpected(next);
    const lostRecords = expected === undefined ? undefined : next.sequence - expected;
    const reason = this.#overrun ? 'overrun' : 'lost';
    this.#expected = next.sequence + 1;
    if (this.#overrun || (lostRecords !== undefined && lostRecords > 0)) {
      sink.gap({ reason, lostRecords }, isOld(this.#start, next, this.#isFirstReading), next);
    }
    this.#overrun = false;
  }

  /** The first record that is read is the oldest: with a resumption it tells what was lost since. */
  #firstExpected({ sequence }: { sequence: number }): number | undefined {
    const { bootId, resumeAfter } = this.#start;
    if (resumeAfter === undefined) return undefined;
    // What was logged since a boot that nobody has seen is to be told from its first record on.
    const told = resumeAfter.bootId === bootId ? resumeAfter.sequence : -1;
    return told === undefined ? undefined : Math.min(sequence, told + 1);
  }
}

function readFrom(fd: number, buffer: Buffer): number {
  return readSync(fd, buffer, 0, buffer.length, null);
}

const comma = 0x2c;

/** `6,462,3091534,` of a record's first bytes: priority, number, microseconds. No string is made. */
function readHeader(bytes: Buffer, length: number) {
  const fields = [0, 0, 0];
  let at = 0;
  for (let field = 0; field < fields.length; field++) {
    const from = at;
    let value = 0;
    for (; at < length; at++) {
      const digit = bytes[at]! - 0x30;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    if (at === from || at - from > 16 || bytes[at] !== comma) return undefined;
    fields[field] = value;
    at++;
  }
  return { facility: Math.floor(fields[0]! / 8), sequence: fields[1]!, monotonicUs: fields[2]! };
}
