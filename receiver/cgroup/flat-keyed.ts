import type { Content } from './kept-file.ts';

const space = 0x20;
const newline = 0x0a;
const zero = 0x30;
const nine = 0x39;

/** More keys than this in one file are not looked up faster the next time. */
const mostKeys = 512;

/**
 * Parses files of the kernel's "flat keyed" form into numbers by key:
 *
 *     anon 1638400            memory.stat, 6.1
 *     file 0
 *     oom_kill 1              memory.events, 6.1; memory.oom_control, 6.18
 *
 * Keys are found by name, never by position, because kernels add and reorder them. The order of the last file is
 * remembered as a guess, and each key's bytes are compared with the guess: that costs a tenth of making a string.
 */
export class FlatKeyedParser {
  readonly #count: number;
  /** Bytes of every key that was met, those asked for first. */
  readonly #keys: Buffer[];
  readonly #indexOfKey: Map<string, number>;
  /** Which key stood on each line of the file parsed last. */
  #order: number[] = [];

  constructor(keys: readonly string[]) {
    this.#count = keys.length;
    this.#keys = keys.map((key) => Buffer.from(key, 'latin1'));
    this.#indexOfKey = new Map(keys.map((key, index) => [key, index]));
  }

  /**
   * Fills `into` by index of the keys given, NaN where the file has no such key. Returns false when a line is not of
   * this form; that line is left out.
   */
  parse({ bytes, length }: Content, into: Float64Array): boolean {
    into.fill(NaN);
    let wellFormed = true;
    let line = 0;
    for (let at = 0; at < length; line++) {
      const next = this.#takeGuessed(bytes, at, length, line, into);
      if (next !== undefined) {
        at = next;
        continue;
      }
      let end = bytes.indexOf(newline, at);
      if (end === -1 || end > length) end = length;
      const key = this.#keyAt(bytes, at, end, line);
      if (key === undefined) wellFormed = false;
      else if (key < this.#count) {
        const value = parseNumber(bytes, at + this.#keys[key]!.length + 1, end);
        if (Number.isNaN(value)) wellFormed = false;
        into[key] = value;
      }
      at = end + 1;
    }
    return wellFormed;
  }

  /**
   * Almost every line: the key that stood there the last time, and digits. Returns where the next line begins;
   * undefined for any other line.
   */
  #takeGuessed(bytes: Buffer, at: number, length: number, line: number, into: Float64Array): number | undefined {
    const guess = this.#order[line];
    if (guess === undefined) return undefined;
    const key = this.#keys[guess]!;
    if (!startsWith(bytes, at, length, key)) return undefined;
    const begin = at + key.length + 1;
    let end = begin;
    let value = 0;
    for (; end < length; end++) {
      const digit = bytes[end]! - zero;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    if (end === begin || (end < length && bytes[end] !== newline)) return undefined;
    if (guess < this.#count) into[guess] = value;
    return end + 1;
  }

  #keyAt(bytes: Buffer, at: number, end: number, line: number): number | undefined {
    const gap = bytes.indexOf(space, at);
    if (gap === -1 || gap >= end || gap === at) return undefined;
    const name = bytes.toString('latin1', at, gap);
    const index = this.#indexOfKey.get(name) ?? this.#learn(name);
    if (line < mostKeys && index < this.#keys.length) this.#order[line] = index;
    return index;
  }

  #learn(name: string): number {
    const index = this.#keys.length;
    if (index >= mostKeys) return mostKeys;
    this.#keys.push(Buffer.from(name, 'latin1'));
    this.#indexOfKey.set(name, index);
    return index;
  }
}

/** The number that a file of one value holds; undefined for `max` and v1's unlimited; NaN where it is none. */
export function parseAmount({ bytes, length }: Content): number | undefined {
  const end = length > 0 && bytes[length - 1] === newline ? length - 1 : length;
  if (end === 3 && bytes.toString('latin1', 0, 3) === 'max') return undefined;
  const value = parseNumber(bytes, 0, end);
  return value >= unlimited ? undefined : value;
}

/** v1 writes "no limit" as the largest number of pages in bytes, 9223372036854771712 with pages of 4 KiB. */
const unlimited = 2 ** 62;

/** The smaller of two amounts, where undefined is without bound. */
export function smallest(amount: number | undefined, other: number | undefined): number | undefined {
  if (amount === undefined || other === undefined) return amount ?? other;
  return Math.min(amount, other);
}

/** Decimal digits, exact up to 2^53; NaN for anything else. */
export function parseNumber(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return NaN;
  let value = 0;
  for (let index = at; index < end; index++) {
    const digit = bytes[index]!;
    if (digit < zero || digit > nine) return NaN;
    value = value * 10 + (digit - zero);
  }
  return value;
}

function startsWith(bytes: Buffer, at: number, end: number, key: Buffer): boolean {
  if (at + key.length >= end || bytes[at + key.length] !== space) return false;
  for (let index = 0; index < key.length; index++) if (bytes[at + index] !== key[index]) return false;
  return true;
}
