/**
 * Told of input that a source cannot use, each time: `what` is one of a few fixed phrases, `value` is printable and
 * short.
 */
export type OnBadInput = (what: string, value: string) => void;

const mostCharacters = 200;

/** Text from outside, safe to print: cut to 200 characters, everything but printable ASCII as `\uXXXX`. */
export function printable(value: unknown): string {
  const text = typeof value === 'string' ? value : Buffer.isBuffer(value) ? value.toString() : toJson(value);
  const cut = text.length > mostCharacters ? `${text.slice(0, mostCharacters)}…` : text;
  return cut.replaceAll(/[^\x20-\x7e\u2026]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** What an object from outside holds; nothing where it is none. */
export function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function toJson(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}
