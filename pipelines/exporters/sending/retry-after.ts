/** Nobody means a longer delay than this: a day, in milliseconds. */
const LONGEST_DELAY_MS = 86_400_000;

/** The three forms of an HTTP-date: IMF-fixdate, RFC 850, asctime. */
const HTTP_DATE =
  /^(?:[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT|[A-Z][a-z]{5,8}, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})$/;

/**
 * Milliseconds to wait by an HTTP `Retry-After` header, either seconds or a date; `nowMs` is the present time since
 * the epoch. `undefined` where the header is neither. A date in the past is 0.
 *
 * `Retry-After: 120`, `Retry-After: Fri, 31 Dec 1999 23:59:59 GMT` (RFC 9110, sections 10.2.3 and 5.6.7)
 */
export function parseRetryAfter(header: string, nowMs: number): number | undefined {
  const value = header.trim();
  if (/^\d+$/.test(value)) return Math.min(Number(value) * 1000, LONGEST_DELAY_MS);
  if (!HTTP_DATE.test(value)) return undefined;
  // An asctime date has no zone and is UTC all the same.
  const atMs = Date.parse(value.endsWith('GMT') ? value : `${value} GMT`);
  if (Number.isNaN(atMs)) return undefined;
  return Math.min(Math.max(0, atMs - nowMs), LONGEST_DELAY_MS);
}
