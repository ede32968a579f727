import type { AnyValue } from '@opentelemetry/api';

/**
 * What could move the cursor, colour the terminal, break the line or make text read otherwise than it is: control
 * characters, line and paragraph separators, invisible and direction-changing characters, halves of surrogate pairs.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

const NAMED: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Makes hostile text fit for a terminal: no control character survives, and no more than `maxLength` characters. */
export function safeText(text: string, maxLength: number): string {
  const cut = text.length <= maxLength ? text : `${text.slice(0, maxLength - 1)}…`;
  return cut.replace(UNSAFE, (character) => NAMED[character] ?? escapeCharacter(character));
}

function escapeCharacter(character: string): string {
  const hex = character.codePointAt(0)!.toString(16);
  if (hex.length <= 2) return `\\x${hex.padStart(2, '0')}`;
  return hex.length <= 4 ? `\\u${hex.padStart(4, '0')}` : `\\u{${hex}}`;
}

/** An attribute's value on one line. Not yet safe: it can hold whatever the attribute holds. */
export function valueText(value: AnyValue): string {
  if (value === undefined || value === null) return '';
  if (Array.isArray(value) && value.every((item) => typeof item !== 'object')) return value.join(',');
  if (typeof value === 'bigint') return value.toString();
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}

/** Time of day with milliseconds, in the time zone of this process: `10:42:07.123`. */
export function timeText(atMs: number): string {
  const at = new Date(atMs);
  const [hours, minutes, seconds] = [at.getHours(), at.getMinutes(), at.getSeconds()].map(twoDigits);
  return `${hours}:${minutes}:${seconds}.${String(at.getMilliseconds()).padStart(3, '0')}`;
}

function twoDigits(number: number): string {
  return String(number).padStart(2, '0');
}
