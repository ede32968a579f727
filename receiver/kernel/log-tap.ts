import type { FilePlace } from './file-place.ts';
import type { KernelMessage, LogPosition } from './kmsg-record.ts';

/** The kinds of ways to read the kernel log: the device, util-linux' dmesg again and again, or a file that somebody writes. */
export type LogWay = 'kernel_log' | 'dmesg' | 'log_file';

/** One way to read the kernel log, opened and not yet closed. */
export interface LogTap {
  readonly way: LogWay;
  /** What is read, for people: `/dev/kmsg`. */
  readonly from: string;
  /** It is read no more often than this, in milliseconds, whoever hints at news. */
  readonly restMs: number;
  /** Without a hint it is read no more often than this, in milliseconds. */
  readonly idleMs: number;
  /** After so much silence, in milliseconds, the report that was read is whole. */
  readonly silenceMs: number;
  /** Number of the last record that was read, of whatever facility; only /dev/kmsg has them. */
  readonly lastSequence?: number;
  /** Where the last line ends that was read, of whatever program; only files have places. */
  readonly place?: FilePlace;
  /**
   * Reads on, but no more than takes a few milliseconds. True when there may be more. Throws or rejects when it cannot
   * be read any more.
   */
  read(sink: LogSink): boolean | Promise<boolean>;
  close(): void;
}

/** Where a tap puts what it reads. */
export interface LogSink {
  /**
   * The next message of the kernel. `old`: from before the time that is to be told, read only so that a report that
   * began then is understood.
   */
  message(message: KernelMessage, old: boolean): void;
  /** A part of the log is lost; `next` is the record after it, where there is one already, and `old` tells of that. */
  gap(gap: LogGap, old: boolean, next?: LogPosition): void;
  /** Something that is no message; `value` is hostile text. */
  malformed(what: string, value: string): void;
}

/** Part of a log that cannot be read any more. */
export interface LogGap {
  /** `overrun`: overwritten before it was read; `lost`: messages are missing; `cut`: the file was cut off. */
  reason: 'overrun' | 'lost' | 'cut';
  /** Absent where the log does not number its messages. */
  lostRecords?: number;
}

/** How far a log was read and told. Another boot's numbers and times mean nothing in this one. */
export interface LogResumption {
  bootId: string;
  /** Of the last record that was told; absent where the log has no numbers. */
  sequence?: number;
  /** Microseconds since boot by the log's clock. */
  monotonicUs?: number;
  /** Milliseconds since the epoch, where the log gives a date. */
  wallTimeMs?: number;
  /** Where it stands, if the log is a file. */
  file?: FilePlace;
}

/** From where on messages are to be told. */
export interface LogStart {
  /** This boot's id, where it is known. */
  bootId?: string;
  /** CLOCK_MONOTONIC in microseconds: without a resumption, what was logged before is old. */
  startUs: number;
  /** Where an earlier run stopped. */
  resumeAfter?: LogResumption;
}

/** Decides what is old, for logs of the running kernel. */
export function isOld({ bootId, startUs, resumeAfter }: LogStart, at: LogPosition, isFirstReading: boolean): boolean {
  if (resumeAfter === undefined) return isFirstReading && (at.monotonicUs ?? 0) < startUs;
  if (resumeAfter.bootId !== bootId) return false;
  if (resumeAfter.sequence !== undefined && at.sequence !== undefined) return at.sequence <= resumeAfter.sequence;
  return at.monotonicUs !== undefined && at.monotonicUs <= (resumeAfter.monotonicUs ?? -1);
}

/** Times of the same moment are no further apart than this, where one is in whole seconds or was written a little later. */
const sameMomentMs = 2_000;

/** Decides by times alone whether an earlier run has told a line of a file, which may be of another boot. */
export function isToldBefore({ bootId, resumeAfter }: LogStart, at: LogPosition): boolean {
  if (resumeAfter === undefined) return false;
  const { monotonicUs, wallTimeMs } = resumeAfter;
  const laterMs = at.wallTimeMs === undefined || wallTimeMs === undefined ? undefined : at.wallTimeMs - wallTimeMs;
  if (laterMs !== undefined && Math.abs(laterMs) >= sameMomentMs) return laterMs < 0;
  const isSameBoot = resumeAfter.bootId === bootId;
  if (isSameBoot && at.monotonicUs !== undefined && monotonicUs !== undefined) return at.monotonicUs <= monotonicUs;
  return laterMs !== undefined && laterMs <= 0;
}
