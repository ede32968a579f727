import { killerBeginLength, mayTellUserspaceKill } from './userspace-killer.ts';
import { maxTextLength, parseKmsgRecord, type KernelMessage, type LogPosition } from './kmsg-record.ts';

/** LOG_DAEMON of syslog(3). */
const daemonFacility = 3;

/** What stands before a message's text. */
interface Prefix extends LogPosition {
  facility?: number;
  /** Where the text begins. */
  end: number;
}

/**
 * Reads the kernel's messages from lines of text, whatever wrote them. The form is found for each line anew:
 *
 *     4,462,3091534,-;hog invoked oom-killer: …                            /dev/kmsg
 *     [    3.091534] hog invoked oom-killer: …                             dmesg
 *     [    3.091534][  T134] hog invoked …                                 … with PRINTK_CALLER
 *     <4>[    3.091534] hog invoked …                                      dmesg --raw
 *     kern  :warn  : [    3.091534] hog invoked …                          dmesg --decode
 *     [Wed Nov 12 20:13:52 2025] hog invoked …                             dmesg --ctime
 *     2025-11-12T20:13:52,091534+01:00 hog invoked …                       dmesg --time-format=iso
 *     Nov 12 20:13:52 node-7 kernel: hog invoked …                         journalctl, short and short-precise
 *     2025-11-12T20:13:52+0100 node-7 kernel: hog invoked …                journalctl --output=short-iso; rsyslog
 *     Wed 2025-11-12 20:13:52 CET node-7 kernel: hog invoked …             journalctl --output=short-full
 *     1762974832.091534 node-7 kernel: hog invoked …                       journalctl --output=short-unix
 *     [    3.091534] node-7 kernel: hog invoked …                          journalctl --output=short-monotonic
 *     Nov 12 20:13:52 node-7 kernel: [    3.091534] hog invoked …          syslog file
 *     hog invoked oom-killer: …                                            bare
 *
 * Lines that other programs wrote to a journal or syslog file are left out, but for those of userspace OOM killers, which
 * keep the program's name and have the facility of daemons; who calls himself `kernel` there cannot be
 * told from the kernel. Dates without a zone are taken for local time, those without a year for the last twelve months.
 */
export class LogLineReader {
  readonly #nowMs: () => number;
  #before: 'none' | 'kmsg' | 'prefixed' | 'bare' = 'none';

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** The message of a line without its newline; undefined where it holds none of the kernel's. */
  read(line: string): KernelMessage | undefined {
    const text = line.length > maxTextLength ? line.slice(0, maxTextLength) : line;
    if (this.#before === 'kmsg' && text.startsWith(' ')) return undefined;
    if (text.trim() === '') return undefined;
    const record = parseKmsgRecord(text);
    if (record !== undefined) {
      this.#before = 'kmsg';
      return record;
    }
    const prefix = this.#readPrefix(text);
    if (prefix === 'foreign') {
      this.#before = 'prefixed';
      return undefined;
    }
    if (prefix === undefined) return this.#bare(text);
    this.#before = 'prefixed';
    const { end, ...position } = prefix;
    return { ...position, text: text.slice(end).trimEnd() };
  }

  /** A line without any prefix, among lines that have one, belongs to the message before it. */
  #bare(text: string): KernelMessage {
    if (this.#before === 'prefixed') return { text: text.trim(), joint: '\n' };
    this.#before = 'bare';
    return { text: text.trimEnd() };
  }

  #readPrefix(text: string): Prefix | 'foreign' | undefined {
    const first = text.charCodeAt(0);
    if (first === 0x5b) return this.#afterKernelTime(readBracket(text, 0), text);
    if (first === 0x3c) return this.#readRaw(text);
    if (isDigit(first)) return this.#readNumericDate(text);
    if (first >= 0x41 && first <= 0x5a) return this.#readNamedDate(text);
    if (first >= 0x61 && first <= 0x7a) return this.#readDecoded(text);
    return undefined;
  }

  /** `[  3.091534] node-7 kernel: …` of journalctl has a host and a name after the time. */
  #afterKernelTime(time: Prefix | undefined, text: string): Prefix | undefined {
    if (time?.monotonicUs === undefined) return time;
    const name = /[^\s:]{1,255} kernel: /y;
    name.lastIndex = time.end;
    return name.test(text) ? { ...time, end: name.lastIndex } : time;
  }

  #readRaw(text: string): Prefix | undefined {
    const match = /^<(\d{1,4})>/.exec(text);
    if (match === null) return undefined;
    const facility = Math.floor(Number(match[1]) / 8);
    return { end: match[0].length, ...readBracket(text, match[0].length), facility };
  }

  #readDecoded(text: string): Prefix | undefined {
    const match = /^([a-z0-9]{1,10}) *:(?:emerg|alert|crit|err|warn|notice|info|debug) *: /.exec(text);
    if (match === null) return undefined;
    return { end: match[0].length, ...readBracket(text, match[0].length), facility: match[1] === 'kern' ? 0 : 1 };
  }

  #readNumericDate(text: string): Prefix | 'foreign' | undefined {
    const date = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:([.,])\d{1,9})?(?:Z|[+-]\d\d:?\d\d)? /.exec(text);
    if (date !== null) {
      const wallTimeMs = parseIso(date[0].trimEnd());
      // Only dmesg, which has no host and no name, writes a comma before the fraction.
      if (date[1] === ',') return { wallTimeMs, end: date[0].length };
      return readName(text, { wallTimeMs, end: date[0].length });
    }
    const unix = /^(\d{9,11}\.\d{1,9}) /.exec(text);
    if (unix !== null) return readName(text, { wallTimeMs: Number(unix[1]) * 1000, end: unix[0].length });
    return undefined;
  }

  #readNamedDate(text: string): Prefix | 'foreign' | undefined {
    const short = /^([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d(?:\.\d{1,9})?) /.exec(text);
    if (short !== null) {
      return readName(text, { wallTimeMs: this.#withYear(short), end: short[0].length });
    }
    const full = /^[A-Z][a-z]{2} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})?) ([A-Z]{3,5}|[+-]\d{2,4}) /.exec(text);
    if (full === null) return undefined;
    const wallTimeMs = parseIso(`${full[1]}${full[2] === 'UTC' ? 'Z' : ''}`);
    return readName(text, { wallTimeMs, end: full[0].length });
  }

  #withYear([, month, day, hour, minute, second]: readonly string[]): number | undefined {
    const nowMs = this.#nowMs();
    const monthIndex = months.indexOf(month!);
    if (monthIndex === -1) return undefined;
    const inYear = (year: number): number =>
      new Date(year, monthIndex, Number(day), Number(hour), Number(minute)).getTime() + Number(second) * 1000;
    const thisYear = new Date(nowMs).getFullYear();
    const timeMs = inYear(thisYear);
    const dayMs = 86_400_000;
    return known(timeMs > nowMs + dayMs ? inYear(thisYear - 1) : timeMs);
  }
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** The time in brackets that begins at `from`: since boot, a date, or one that is relative and tells nothing. */
function readBracket(text: string, from: number): Prefix | undefined {
  const sinceBoot = /\[ {0,12}(\d{1,12})\.(\d{1,9})(?: <[ +\d.]{1,24}>)?\](?: ?\[ {0,12}[TC]\d{1,10}\])? ?/y;
  sinceBoot.lastIndex = from;
  const match = sinceBoot.exec(text);
  if (match !== null) {
    const monotonicUs = Number(match[1]) * 1_000_000 + Math.floor(Number(match[2]!.padEnd(9, '0')) / 1000);
    return { monotonicUs, end: sinceBoot.lastIndex };
  }
  const ctime = /\[[A-Z][a-z]{2} ([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d:\d\d:\d\d) (\d{4})\] ?/y;
  ctime.lastIndex = from;
  const date = ctime.exec(text);
  if (date !== null) {
    const [, month, day, time, year] = date;
    return { wallTimeMs: known(Date.parse(`${month} ${day} ${year} ${time}`)), end: ctime.lastIndex };
  }
  const relative = /\[(?: {0,12}[+-]\d{1,12}\.\d{1,9}|[A-Z][a-z]{2} ?\d{1,2} \d\d:\d\d)\] ?/y;
  relative.lastIndex = from;
  return relative.test(text) ? { end: relative.lastIndex } : undefined;
}

/** Host (which can be left out) and `kernel:`, and the kernel's own time after it, if any. */
function readName(text: string, prefix: Prefix): Prefix | 'foreign' {
  const name = /(?:[^\s:]{1,255} )?kernel: /y;
  name.lastIndex = prefix.end;
  if (!name.test(text)) return readKiller(text, prefix);
  const time = readBracket(text, name.lastIndex);
  return { ...prefix, monotonicUs: time?.monotonicUs, end: time?.end ?? name.lastIndex };
}

/** Host, which can be left out, and the name of a userspace OOM killer, which belongs to its text. */
function readKiller(text: string, prefix: Prefix): Prefix | 'foreign' {
  const host = /[^\s:[]{1,255} /y;
  host.lastIndex = prefix.end;
  const ends = host.test(text) ? [prefix.end, host.lastIndex] : [prefix.end];
  const end = ends.find((at) => mayTellUserspaceKill(text.slice(at, at + killerBeginLength)));
  return end === undefined ? 'foreign' : { ...prefix, monotonicUs: undefined, facility: daemonFacility, end };
}

/** With a space in place of the T, a comma before the fraction, or without the colon of the zone, too. */
function parseIso(date: string): number | undefined {
  const zone = date
    .replace(' ', 'T')
    .replace(',', '.')
    .replace(/([+-]\d\d)(\d\d)$/, '$1:$2');
  return known(Date.parse(zone));
}

function known(timeMs: number): number | undefined {
  return Number.isFinite(timeMs) ? timeMs : undefined;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}
