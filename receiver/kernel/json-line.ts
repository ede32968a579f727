import { maxTextLength, type KernelMessage } from './kmsg-record.ts';

/** What a line of JSON wraps: a message of the kernel's, the line of a container, or neither. */
export interface Unwrapped {
  message?: KernelMessage;
  /** A line of text as the container printed it, and before it when. */
  line?: string;
}

/**
 * Unwraps what journald and Docker write as JSON; undefined where the line is nothing of that. Only `_TRANSPORT` tells
 * the kernel from those who call themselves so: journald sets all fields that begin with an underscore. Shortened
 * lines of journalctl --output=json of systemd 252 and of Docker's log driver json-file:
 *
 *     {"_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","__REALTIME_TIMESTAMP":"1762974832091534","_SOURCE_MONOTONIC_TIMESTAMP":"3091534","MESSAGE":"hog …"}
 *     {"log":"[    3.091534] hog invoked …\n","stream":"stdout","time":"2025-11-12T20:13:52.091534321Z"}
 *
 * A message with bytes that are no UTF-8 or not printable is an array of bytes there. Format: systemd.io/JOURNAL_EXPORT_FORMATS.
 */
export function unwrapJson(json: string): Unwrapped | undefined {
  const fields = parseObject(json);
  if (typeof fields?.['log'] === 'string' && typeof fields['time'] === 'string') {
    return { line: `${fields['time']} ${fields['log'].trimEnd()}` };
  }
  if (fields === undefined || !('__REALTIME_TIMESTAMP' in fields)) return undefined;
  const text = textOf(fields['MESSAGE']);
  if (fields['_TRANSPORT'] !== 'kernel' || text === undefined) return {};
  const wallUs = number(fields['__REALTIME_TIMESTAMP']);
  const monotonicUs = number(fields['_SOURCE_MONOTONIC_TIMESTAMP']);
  // What a process wrote to /dev/kmsg comes by the same way.
  const facility = number(fields['SYSLOG_FACILITY']);
  return { message: { text, facility, monotonicUs, wallTimeMs: wallUs === undefined ? undefined : wallUs / 1000 } };
}

function parseObject(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function textOf(message: unknown): string | undefined {
  if (typeof message === 'string') return message.slice(0, maxTextLength);
  const isBytes = Array.isArray(message) && message.every((byte) => typeof byte === 'number');
  return isBytes ? Buffer.from(message.slice(0, maxTextLength)).toString('utf8') : undefined;
}

function number(digits: unknown): number | undefined {
  return typeof digits === 'string' && /^\d{1,16}$/.test(digits) ? Number(digits) : undefined;
}
