import type { FilePlace } from './file-place.ts';

/** Where and when something stands in the kernel log. What the form of the log does not tell is absent. */
export interface LogPosition {
  /** Number of the record since boot; only /dev/kmsg tells it. */
  sequence?: number;
  /** Microseconds since boot by the kernel's log clock, which stands still while the machine sleeps. */
  monotonicUs?: number;
  /** Milliseconds since the epoch, where the log gives a date. */
  wallTimeMs?: number;
  /** Where its line ends, if the log is a file that is followed. */
  place?: FilePlace;
}

/** One message of the kernel log. Process names and cgroup names in its text come from containers: hostile. */
export interface KernelMessage extends LogPosition {
  text: string;
  /** As in syslog(3): 0 is the kernel; anything else was written by a process. Absent where the form does not tell. */
  facility?: number;
  /**
   * Set when the text may go on where an earlier message ended: what stood between the two. Empty between fragments
   * of one record, a newline between lines of one message.
   */
  joint?: '' | '\n';
}

/** Text beyond this is cut off: twice what the kernel can write into a report's longest line. */
export const maxTextLength = 32_768;

/**
 * Parses one record as a read of /dev/kmsg gives it; undefined where it is none. Its lines of keys (` SUBSYSTEM=…`)
 * are left out. A record of 6.1 (the third field is in microseconds, more fields may follow the flag):
 *
 *     4,462,3091534,-;nl\x0aname invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
 *
 * Kernel document: ABI/testing/dev-kmsg. A flag `c` or `+` marks a fragment: from 4.10 on `c` goes on with the record
 * before it, earlier `c` begins a line and `+` goes on.
 */
export function parseKmsgRecord(record: string): KernelMessage | undefined {
  const textAt = record.indexOf(';') + 1;
  if (textAt === 0 || textAt > 200) return undefined;
  const fields = /^(\d{1,9}),(\d{1,16}),(\d{1,16}),([-c+])(?:,|$)/.exec(record.slice(0, textAt - 1));
  if (fields === null) return undefined;
  const [, priority, sequence, monotonicUs, flag] = fields;
  const newlineAt = record.indexOf('\n', textAt);
  const textEnd = Math.min(newlineAt === -1 ? record.length : newlineAt, textAt + maxTextLength);
  return {
    sequence: Number(sequence),
    monotonicUs: Number(monotonicUs),
    facility: Math.floor(Number(priority) / 8),
    text: unescapeText(record.slice(textAt, textEnd)),
    ...(flag === '-' ? {} : { joint: '' }),
  };
}

/** Bytes below 0x20, above 0x7e and the backslash itself are written as `\xNN` in /dev/kmsg. */
function unescapeText(text: string): string {
  if (!text.includes('\\x')) return text;
  return text.replaceAll(/(?:\\x[0-9a-f]{2})+/g, (escaped) =>
    Buffer.from(escaped.replaceAll('\\x', ''), 'hex').toString('utf8'),
  );
}
