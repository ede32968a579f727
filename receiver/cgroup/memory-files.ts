import { join } from 'node:path';
import { parseAmount, type FlatKeyedParser } from './flat-keyed.ts';
import { KeptFile, type FileReader } from './kept-file.ts';
import type { MemoryReading } from './memory-reading.ts';

/** Shared by all groups of a hierarchy: a parser remembers the order of lines, which is the kernel's. */
export interface MemoryParsers {
  /** Told of a file with a line or a number that cannot be parsed, each time. */
  readonly onMalformed: (path: string) => void;
  readonly stat: FlatKeyedParser;
  readonly statValues: Float64Array;
}

/** What v1 and v2 call the same thing. */
export interface MemoryNames {
  /** Files of usage and of the group's own limit. */
  usage: string;
  limit: string;
  /** Indices into `statValues`. */
  rss: number;
  inactiveFile: number;
}

type CommonReading = Pick<
  MemoryReading,
  'atMs' | 'usageBytes' | 'workingSetBytes' | 'rssBytes' | 'availableBytes' | 'limitBytes'
>;

/** The files of a group's memory that v1 and v2 both have, and what is computed from them alike. */
export class MemoryFiles {
  readonly #parsers: MemoryParsers;
  readonly #names: MemoryNames;
  readonly #usage: KeptFile;
  readonly #stat: KeptFile;
  readonly #limit: KeptFile;

  constructor(reader: FileReader, parsers: MemoryParsers, dir: string, names: MemoryNames) {
    this.#parsers = parsers;
    this.#names = names;
    this.#usage = new KeptFile(reader, join(dir, names.usage));
    this.#stat = new KeptFile(reader, join(dir, 'memory.stat'));
    this.#limit = new KeptFile(reader, join(dir, names.limit));
  }

  /** Fills the parsers' `statValues` as well. Undefined when the group is gone. */
  read(atMs: number): (CommonReading & { usageBytes: number }) | undefined {
    const usageBytes = this.readUsage();
    const content = this.#stat.read();
    if (usageBytes === undefined || content === undefined) return undefined;
    const { stat, statValues, onMalformed } = this.#parsers;
    if (!stat.parse(content, statValues)) onMalformed(this.#stat.path);
    const limitBytes = this.readLimit();
    const workingSetBytes = known(Math.max(0, usageBytes - statValues[this.#names.inactiveFile]!));
    return {
      atMs,
      usageBytes,
      workingSetBytes,
      rssBytes: known(statValues[this.#names.rss]),
      availableBytes:
        limitBytes === undefined || workingSetBytes === undefined
          ? undefined
          : Math.max(0, limitBytes - workingSetBytes),
      limitBytes,
    };
  }

  readUsage(): number | undefined {
    return this.readAmount(this.#usage);
  }

  /** The group's own limit; undefined where there is none. */
  readLimit(): number | undefined {
    return this.readAmount(this.#limit);
  }

  /** Of a file that holds nothing else. Undefined where it is gone, holds none or is malformed. */
  readAmount(file: KeptFile): number | undefined {
    const content = file.read();
    if (content === undefined) return undefined;
    const value = parseAmount(content);
    if (Number.isNaN(value)) this.#parsers.onMalformed(file.path);
    return known(value);
  }

  close(): void {
    this.#usage.close();
    this.#stat.close();
    this.#limit.close();
  }
}

/** Parsers say NaN for what a file does not hold. */
export function known(value: number | undefined): number | undefined {
  return value === undefined || Number.isNaN(value) ? undefined : value;
}
