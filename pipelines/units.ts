import * as z from 'zod';

/** Milliseconds in each unit of a Go duration (https://pkg.go.dev/time#ParseDuration). */
const MS_PER_UNIT: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 3.6e6 };

const BYTES_PER_UNIT: Record<string, number> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
};

/** A timer of Node that is set to more than this fires at once. https://nodejs.org/api/timers.html */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Milliseconds of a Go duration, as in `1m30s` or `250ms`. Throws where it is none. */
export function parseDuration(text: string): number {
  if (text === '0') return 0;
  if (!/^(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|\u00b5s|ms|s|m|h))+$/.test(text)) {
    throw new Error(`cannot read duration "${text}": expected a number with a unit, as in 250ms, 10s or 1m30s`);
  }
  let ms = 0;
  for (const [, number, unit] of text.matchAll(/([\d.]+)(ns|us|\u00b5s|ms|s|m|h)/g))
    ms += Number(number) * MS_PER_UNIT[unit!]!;
  if (ms > LONGEST_TIMER_MS) throw new Error(`cannot use duration "${text}": longer than 24 days`);
  return ms;
}

/** Bytes of a size, as in `4096`, `512KiB` or `3MB`. Throws where it is none. */
export function parseByteSize(text: string): number {
  const { number, unit } = /^(?<number>\d+(?:\.\d+)?)\s*(?<unit>[A-Za-z]*)$/.exec(text)?.groups ?? {};
  const factor = unit === undefined ? undefined : BYTES_PER_UNIT[unit.toUpperCase()];
  if (number === undefined || factor === undefined) {
    throw new Error(`cannot read size "${text}": expected bytes or a number with a unit, as in 512KiB or 3MB`);
  }
  return Math.round(Number(number) * factor);
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes as people read them: `0 B`, `640 KiB`, `63.5 MiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; Math.abs(value) >= 1024 && unit < BYTE_UNITS.length - 1; unit++) value /= 1024;
  return `${value < 100 && !Number.isInteger(value) ? value.toFixed(1) : Math.round(value)} ${BYTE_UNITS[unit]}`;
}

/** A duration in a configuration, in milliseconds once parsed. */
export const duration = schemaOf(parseDuration, 'expected a duration, as in 250ms, 10s or 1m30s');

/** A size in a configuration, in bytes once parsed. */
export const byteSize = schemaOf(parseByteSize, 'expected a size, as in 4096, 512KiB or 3MB');

function schemaOf(parse: (text: string) => number, expected: string): z.ZodType<number, string | number> {
  return z.union([z.string(), z.number()], expected).transform((value, context) => {
    try {
      return parse(String(value));
    } catch (error) {
      context.issues.push({ code: 'custom', input: value, message: (error as Error).message });
      return z.NEVER;
    }
  });
}
