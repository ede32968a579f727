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
  /** Told of a file with a line or a number that cannot be parsed, each time. */
  readonly onMalformed: (path: string) => void;
  readonly stat = new FlatKeyedParser([...STAT_KEYS.map(({ key }) => key), 'hierarchical_memory_limit']);
  readonly statValues = new Float64Array(STAT_KEYS.length + 1);

  constructor(onMalformed: (path: string) => void) {
    this.onMalformed = onMalformed;
  }
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
    this.#sampler = new PeakSampler(fresh ? 0 : this.#amount(this.#maxUsage));
  }

  /** Usage between two collections, for the highest of them. */
  sample(): void {
    this.#sampler.sample(this.#amount(this.#usage));
  }

  /** Undefined when the group is gone. */
  read(atMs: number): MemoryReading | undefined {
    const usageBytes = this.#amount(this.#usage);
    const content = this.#stat.read();
    if (usageBytes === undefined || content === undefined) return undefined;
    const { stat, statValues: values } = this.#parsers;
    if (!stat.parse(content, values)) this.#parsers.onMalformed(this.#stat.path);
    const value = (index: number): number => values[index]!;
    const limitBytes = this.readLimit();
    const workingSetBytes = known(Math.max(0, usageBytes - value(at.inactiveFile)));
    const max = this.#amount(this.#failcnt);
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
      maxUsageBytes: this.#sampler.take(this.#amount(this.#maxUsage)),
      unreclaimableBytes: known(unreclaimable(usageBytes, values)),
      stat: values.subarray(0, STAT_KEYS.length),
      events: max === undefined ? undefined : { max },
    };
  }

  /** The group's own limit; undefined where there is none. */
  readLimit(): number | undefined {
    return this.#amount(this.#limit);
  }

  close(): void {
    for (const file of [this.#usage, this.#stat, this.#limit, this.#maxUsage, this.#failcnt]) file.close();
  }

  #amount(file: KeptFile): number | undefined {
    const content = file.read();
    if (content === undefined) return undefined;
    const value = parseAmount(content);
    if (Number.isNaN(value)) this.#parsers.onMalformed(file.path);
    return known(value);
  }
}

/**
 * What is charged and is no page of a file. v1 does not tell which kernel memory can be reclaimed, so that all of it
 * counts; shared memory lies on the anonymous lists and so counts as well.
 */
function unreclaimable(usageBytes: number, values: Float64Array): number {
  return Math.max(0, usageBytes - values[at.inactiveFile]! - values[at.activeFile]!);
}

/** v1 writes "no limit" as the largest number of pages, in bytes. */
function bounded(limitBytes: number): number | undefined {
  return limitBytes >= 2 ** 62 ? undefined : known(limitBytes);
}

function known(value: number | undefined): number | undefined {
  return value === undefined || Number.isNaN(value) ? undefined : value;
}
