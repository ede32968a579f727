import { join } from 'node:path';
import { FlatKeyedParser, parseAmount } from './flat-keyed.ts';
import { KeptFile, type FileReader } from './kept-file.ts';
import type { MemoryReading } from './memory-reading.ts';
import { indexOfStat, STAT_KEYS } from './memory-stat.ts';
import { PeakSampler } from './peak-sampler.ts';

const hierarchicalLimit = STAT_KEYS.length;

const at = {
  rss: indexOfStat('total_rss'),
  inactiveFile: indexOfStat('total_inactive_file'),
  activeFile: indexOfStat('total_active_file'),
};

/** The parser is shared by all groups: it remembers the order of lines, which is the kernel's. */
export class MemoryV1Parsers {
  readonly stat = new FlatKeyedParser([...STAT_KEYS.map(({ key }) => key), 'hierarchical_memory_limit']);
  readonly statValues = new Float64Array(STAT_KEYS.length + 1);
}

/** Reads the memory of one v1 group. Kernel document: admin-guide/cgroup-v1/memory. */
export class MemoryV1 {
  readonly #parsers: MemoryV1Parsers;
  readonly #usage: KeptFile;
  readonly #stat: KeptFile;
  readonly #limit: KeptFile;
  readonly #maxUsage: KeptFile;
  readonly #failcnt: KeptFile;
  readonly #sampler: PeakSampler;

  /** `fresh`: the group was just made, so that its lifetime is the first interval between collections. */
  constructor(reader: FileReader, parsers: MemoryV1Parsers, dir: string, fresh: boolean) {
    this.#parsers = parsers;
    this.#usage = new KeptFile(reader, join(dir, 'memory.usage_in_bytes'));
    this.#stat = new KeptFile(reader, join(dir, 'memory.stat'));
    this.#limit = new KeptFile(reader, join(dir, 'memory.limit_in_bytes'));
    this.#maxUsage = new KeptFile(reader, join(dir, 'memory.max_usage_in_bytes'));
    this.#failcnt = new KeptFile(reader, join(dir, 'memory.failcnt'));
    this.#sampler = new PeakSampler(fresh ? 0 : amount(this.#maxUsage));
  }

  /** Usage between two collections, for the highest of them. */
  sample(): void {
    this.#sampler.sample(amount(this.#usage));
  }

  /** Undefined when the group is gone. */
  read(atMs: number): MemoryReading | undefined {
    const usageBytes = amount(this.#usage);
    const content = this.#stat.read();
    if (usageBytes === undefined || content === undefined) return undefined;
    const { stat, statValues: values } = this.#parsers;
    stat.parse(content, values);
    const value = (index: number): number => values[index]!;
    const limitBytes = this.readLimit();
    const workingSetBytes = known(Math.max(0, usageBytes - value(at.inactiveFile)));
    const max = amount(this.#failcnt);
    this.#sampler.sample(usageBytes);
    return {
      atMs,
      usageBytes,
      workingSetBytes,
      rssBytes: known(value(at.rss)),
      availableBytes:
        limitBytes === undefined || workingSetBytes === undefined
          ? undefined
          : Math.max(0, limitBytes - workingSetBytes),
      limitBytes,
      effectiveLimitBytes: bounded(value(hierarchicalLimit)),
      maxUsageBytes: this.#sampler.take(amount(this.#maxUsage)),
      unreclaimableBytes: known(unreclaimable(usageBytes, values)),
      stat: values.subarray(0, STAT_KEYS.length),
      events: max === undefined ? undefined : { max },
    };
  }

  /** The group's own limit; undefined where there is none. */
  readLimit(): number | undefined {
    return amount(this.#limit);
  }

  close(): void {
    for (const file of [this.#usage, this.#stat, this.#limit, this.#maxUsage, this.#failcnt]) file.close();
  }
}

/**
 * What is charged and is no page of a file. v1 does not tell which kernel memory can be reclaimed, so that all of it
 * counts; shared memory lies on the anonymous lists and so counts as well.
 */
function unreclaimable(usageBytes: number, values: Float64Array): number {
  return Math.max(0, usageBytes - values[at.inactiveFile]! - values[at.activeFile]!);
}

function amount(file: KeptFile): number | undefined {
  const content = file.read();
  return content === undefined ? undefined : known(parseAmount(content));
}

/** v1 writes "no limit" as the largest number of pages, in bytes. */
function bounded(limitBytes: number): number | undefined {
  return limitBytes >= 2 ** 62 ? undefined : known(limitBytes);
}

function known(value: number | undefined): number | undefined {
  return value === undefined || Number.isNaN(value) ? undefined : value;
}
