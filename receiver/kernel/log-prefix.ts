import type { LogPosition } from './kmsg-record.ts';
import { killerBeginLength, mayTellUserspaceKill } from './userspace-killer.ts';

/** LOG_DAEMON of syslog(3). */
const daemonFacility = 3;

/** What stands before a message's text. */
export interface LogPrefix extends LogPosition {
  facility?: number;
  /** Where the text begins. */
  end: number;
}

/**
 * Reads what programs write before the kernel's messages:
 *
 *     [    3.091534] hog invoked …                                         dmesg
 *     [    3.091534][  T134] hog invoked …                                 … with PRINTK_CALLER
 *     [    3.091534] (1)[134:hog]hog invoked …                             dmesg of Android, of MediaTek's kernels
 *     [    3.091534s][pid:134,cpu1,hog]hog invoked …                       … and of Huawei's
 *     <4>[    3.091534] hog invoked …                                      dmesg --raw
 *     kern  :warn  : [    3.091534] hog invoked …                          dmesg --decode
 *     [Wed Nov 12 20:13:52 2025] hog invoked …                             dmesg --ctime, in any language
 *     2025-11-12T20:13:52,091534+01:00 hog invoked …                       dmesg --time-format=iso
 *     kern  :warn  : 2025-11-12T20:13:52,091534+01:00 hog invoked …        dmesg --decode --time-format=iso
 *     Nov 12 20:13:52 node-7 kernel: hog invoked …                         journalctl, short, in any language
 *     2025-11-12T20:13:52+0100 node-7 kernel: hog invoked …                journalctl --output=short-iso; rsyslog
 *     Wed 2025-11-12 20:13:52 CET node-7 kernel: hog invoked …             journalctl --output=short-full
 *     1762974832.091534 node-7 kernel: hog invoked …                       journalctl --output=short-unix
 *     [    3.091534] node-7 kernel: hog invoked …                          journalctl --output=short-monotonic
 *     Nov 12 20:13:52 node-7 kernel: [    3.091534] hog invoked …          syslog file
 *     <4>Nov 12 20:13:52 node-7 kernel: [    3.091534] hog invoked …       RFC 3164
 *     <4>1 2025-11-12T20:13:52.091534+01:00 node-7 kernel - - - hog …      RFC 5424
 *     Nov 12 20:13:52 node-7 kern.warn kernel: [    3.091534] hog …        syslogd of busybox
 *     Wed Nov 12 20:13:52 2025 kern.warn kernel: [    3.091534] hog …      logread of OpenWrt
 *     10.5.0.2: kern: warning: [2025-11-12T20:13:52.091534Z]: hog …        talosctl dmesg
 *     2025-11-12T20:13:52.091534Z [    3.091534] hog invoked …             kubectl logs --timestamps, docker logs
 *     2025-11-12T20:13:52.091534Z stdout F [    3.091534] hog invoked …    a file below /var/log/pods
 *
 * Undefined where there is none; `foreign` before what another program wrote to a journal or syslog file, but for
 * userspace OOM killers, whose text begins with the program's name and has the facility of daemons. Who calls himself
 * `kernel` there cannot be told from the kernel. Dates without a zone are taken for local time, those without a year for
 * the last twelve months before `nowMs`.
 */
export function readPrefix(text: string, nowMs: number): LogPrefix | 'foreign' | undefined {
  const first = text.charCodeAt(0);
  if (first === 0x5b) return afterKernelTime(readBracket(text, 0), text);
  if (first === 0x3c) return readRaw(text, nowMs);
  return readDecoded(text) ?? readDated(text, 0, nowMs);
}

/** `[  3.091534] node-7 kernel: …` of journalctl has a host, which can be left out, and a name after the time. */
function afterKernelTime(time: LogPrefix | undefined, text: string): LogPrefix | undefined {
  if (time?.monotonicUs === undefined) return time;
  const name = /(?:[^\s:]{1,255} )?kernel: /y;
  name.lastIndex = time.end;
  return name.test(text) ? { ...time, end: name.lastIndex } : time;
}

function readRaw(text: string, nowMs: number): LogPrefix | 'foreign' | undefined {
  const match = /^<(\d{1,4})>(?:1 )?/.exec(text);
  if (match === null) return undefined;
  const end = match[0].length;
  const facility = Math.floor(Number(match[1]) / 8);
  const rest = readBracket(text, end) ?? readDated(text, end, nowMs);
  return rest === 'foreign' ? rest : { end, ...rest, facility };
}

/** The facility and the level by their names, as dmesg and talosctl write them. */
function readDecoded(text: string): LogPrefix | undefined {
  const decoded = /^([a-z0-9]{1,10}) *:(?:emerg|alert|crit|err|warn|notice|info|debug) *: /.exec(text);
  if (decoded !== null) {
    const end = decoded[0].length;
    const time = readBracket(text, end) ?? readDmesgIso(text, end);
    return { end, ...time, facility: decoded[1] === 'kern' ? 0 : 1 };
  }
  const talos = /^(?:[^\s]{1,255}: )?([a-z0-9]{1,10}): {1,8}[a-z]{3,7}: \[(\d{4}-\d\d-\d\dT[\d:.]{8,18}Z)\]: /.exec(
    text,
  );
  if (talos === null) return undefined;
  const [{ length: end }, facility, date] = talos;
  return { wallTimeMs: known(Date.parse(date!)), end, facility: facility === 'kern' ? 0 : 1 };
}

/** A date in one of its forms, and after it who speaks. */
function readDated(text: string, from: number, nowMs: number): LogPrefix | 'foreign' | undefined {
  const first = text.charCodeAt(from);
  if (isDigit(first)) return readIso(text, from) ?? readUnix(text, from) ?? readShort(text, from, nowMs);
  return readShort(text, from, nowMs) ?? readFull(text, from) ?? readOpenWrt(text, from);
}

/** Only dmesg, which has no host and no name, writes a comma before the fraction. */
function readDmesgIso(text: string, from: number): LogPrefix | undefined {
  const form = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{1,9}[+-]\d\d:?\d\d /y;
  form.lastIndex = from;
  const date = form.exec(text);
  return date === null ? undefined : { wallTimeMs: parseIso(date[0].trimEnd()), end: form.lastIndex };
}

function readIso(text: string, from: number): LogPrefix | 'foreign' | undefined {
  const form = /(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?) (?:std(?:out|err) F )?/y;
  form.lastIndex = from;
  const date = form.exec(text);
  if (date === null) return readDmesgIso(text, from);
  const prefix = { wallTimeMs: parseIso(date[1]!), end: form.lastIndex };
  // What a container prints has no name, either.
  const time = readBracket(text, prefix.end);
  return time?.monotonicUs === undefined ? readName(text, prefix) : { ...time, ...prefix, end: time.end };
}

function readUnix(text: string, from: number): LogPrefix | 'foreign' | undefined {
  const form = /(\d{9,11}\.\d{1,9}) /y;
  form.lastIndex = from;
  const unix = form.exec(text);
  return unix === null ? undefined : readName(text, { wallTimeMs: Number(unix[1]) * 1000, end: form.lastIndex });
}

/** journalctl writes the month in the language of who calls it; the time is not known then. */
function readShort(text: string, from: number, nowMs: number): LogPrefix | 'foreign' | undefined {
  const form = /([^\s\d:[\]]{2,12}|\d{1,2}[月월]) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d(?:\.\d{1,9})?) /y;
  form.lastIndex = from;
  const short = form.exec(text);
  if (short === null) return undefined;
  return readName(text, { wallTimeMs: withYear(short, nowMs), end: form.lastIndex });
}

function readFull(text: string, from: number): LogPrefix | 'foreign' | undefined {
  const form = /[A-Z][a-z]{2} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})?) ([A-Z]{3,5}|[+-]\d\d(?:\d\d)?) /y;
  form.lastIndex = from;
  const full = form.exec(text);
  if (full === null) return undefined;
  const [, date, zone] = full;
  const offset = zone === 'UTC' ? 'Z' : /^[+-]/.test(zone!) ? zone!.padEnd(5, '0') : '';
  return readName(text, { wallTimeMs: parseIso(`${date}${offset}`), end: form.lastIndex });
}

function readOpenWrt(text: string, from: number): LogPrefix | 'foreign' | undefined {
  const form = /[A-Z][a-z]{2} ([A-Z][a-z]{2} {1,2}\d{1,2}) (\d\d:\d\d:\d\d) (\d{4}) /y;
  form.lastIndex = from;
  const date = form.exec(text);
  if (date === null) return undefined;
  const wallTimeMs = known(Date.parse(`${date[1]} ${date[3]} ${date[2]}`));
  return readName(text, { wallTimeMs, end: form.lastIndex });
}

/** Host (which can be left out) and `kernel:`, and the kernel's own time after it, if any. */
function readName(text: string, prefix: LogPrefix): LogPrefix | 'foreign' {
  const name = /(?:[^\s:]{1,255} )?(?:kern\.[a-z]{3,7} )?kernel(?:: | - - - )/y;
  name.lastIndex = prefix.end;
  if (!name.test(text)) return readKiller(text, prefix);
  const time = readBracket(text, name.lastIndex);
  return { ...prefix, monotonicUs: time?.monotonicUs, end: time?.end ?? name.lastIndex };
}

/** Host, which can be left out, and the name of a userspace OOM killer, which belongs to its text. */
function readKiller(text: string, prefix: LogPrefix): LogPrefix | 'foreign' {
  const host = /[^\s:[]{1,255} /y;
  host.lastIndex = prefix.end;
  const ends = host.test(text) ? [prefix.end, host.lastIndex] : [prefix.end];
  const end = ends.find((at) => mayTellUserspaceKill(text.slice(at, at + killerBeginLength)));
  return end === undefined ? 'foreign' : { ...prefix, monotonicUs: undefined, facility: daemonFacility, end };
}

function withYear([, month, day, hour, minute, second]: readonly string[], nowMs: number): number | undefined {
  const monthIndex = months.indexOf(month!);
  if (monthIndex === -1) return undefined;
  const inYear = (year: number): number =>
    new Date(year, monthIndex, Number(day), Number(hour), Number(minute)).getTime() + Number(second) * 1000;
  const thisYear = new Date(nowMs).getFullYear();
  const timeMs = inYear(thisYear);
  const dayMs = 86_400_000;
  return known(timeMs > nowMs + dayMs ? inYear(thisYear - 1) : timeMs);
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** The time in brackets that begins at `from`: since boot, a date, or one that is relative or strange and tells nothing. */
function readBracket(text: string, from: number): LogPrefix | undefined {
  if (text.charCodeAt(from) !== 0x5b) return undefined;
  const sinceBoot =
    /\[ {0,12}(\d{1,12})\.(\d{1,9})s?(?: <[ +\d.]{1,24}>| {10,24})?\](?: ?\[ {0,12}[TC]\d{1,10}\]| \(\d{1,3}\)\[\d{1,10}:[^\]]{1,16}\]|\[pid:\d{1,10},cpu\d{1,4},[^\]]{1,16}\])? ?/y;
  sinceBoot.lastIndex = from;
  const match = sinceBoot.exec(text);
  if (match !== null) {
    const monotonicUs = Number(match[1]) * 1_000_000 + Math.floor(Number(match[2]!.padEnd(9, '0')) / 1000);
    return { monotonicUs, end: sinceBoot.lastIndex };
  }
  const ctime = /\[[^\s[\]\d]{1,16} ([^[\]<>]{1,24}) (\d\d:\d\d:\d\d) (\d{4})(?: <[ +\d.]{1,24}>)?\] ?/y;
  ctime.lastIndex = from;
  const date = ctime.exec(text);
  if (date !== null) return { ...parseDay(date), end: ctime.lastIndex };
  const relative = /\[(?: {0,12}[+-]\d{1,12}\.\d{1,9}|[^\s[\]\d]{1,16} ?\d{1,2} \d\d:\d\d)\] ?/y;
  relative.lastIndex = from;
  return relative.test(text) ? { end: relative.lastIndex } : undefined;
}

/** Of `Wed Nov 12 20:13:52 2025`; other languages' names of months are not known here. */
function parseDay([, day, time, year]: readonly string[]): LogPosition {
  if (!/^[A-Z][a-z]{2} {1,2}\d{1,2}$/.test(day!)) return {};
  const wallTimeMs = known(Date.parse(`${day} ${year} ${time}`));
  return wallTimeMs === undefined ? {} : { wallTimeMs };
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
