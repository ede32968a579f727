import { join } from 'node:path';
import { FlatKeyedParser } from './flat-keyed.ts';
import { KeptFile, type FileReader } from './kept-file.ts';
import { known, MemoryFiles, type MemoryNames, type MemoryParsers } from './memory-files.ts';
import type { MemoryReading } from './memory-reading.ts';
import { indexOfStat, STAT_KEYS } from './memory-stat.ts';
import { PeakSampler } from './peak-sampler.ts';

const hierarchicalLimit = STAT_KEYS.length;

const at = {
  inactiveFile: indexOfStat('total_inactive_file'),
  activeFile: indexOfStat('total_active_file'),
};

const names: MemoryNames = {
  usage: 'memory.usage_in_bytes',
  limit: 'memory.limit_in_bytes',
  rss: indexOfStat('total_rss'),
  inactiveFile: at.inactiveFile,
};

/** What the groups of a v1 hierarchy share. */
export class MemoryV1Parsers implements MemoryParsers {
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
  readonly #files: MemoryFiles;
  readonly #maxUsage: KeptFile;
  readonly #failcnt: KeptFile;
  readonly #sampler: PeakSampler;

  /** `fresh`: the group was just made, so that its lifetime is the first interval between collections. */
  constructor(reader: FileReader, parsers: MemoryV1Parsers, dir: string, fresh: boolean) {
    this.#parsers = parsers;
    this.#files = new MemoryFiles(reader, parsers, dir, names);
    this.#maxUsage = new KeptFile(reader, join(dir, 'memory.max_usage_in_bytes'));
    this.#failcnt = new KeptFile(reader, join(dir, 'memory.failcnt'));
    this.#sampler = new PeakSampler(fresh ? 0 : this.#files.readAmount(this.#maxUsage));
  }

  /** Usage between two collections, for the highest of them. */
  sample(): void {
    this.#sampler.sample(this.#files.readUsage());
  }

  /** Undefined when the group is gone. */
  read(atMs: number): MemoryReading | undefined {
    const common = this.#files.read(atMs);
    if (common === undefined) return undefined;
    const { usageBytes } = common;
    const { statValues: values } = this.#parsers;
    const max = this.#files.readAmount(this.#failcnt);
    this.#sampler.sample(usageBytes);
    return {
      ...common,
      effectiveLimitBytes: bounded(values[hierarchicalLimit]!),
      maxUsageBytes: this.#sampler.take(this.#files.readAmount(this.#maxUsage)),
      unreclaimableBytes: known(unreclaimable(usageBytes, values)),
      stat: values.subarray(0, STAT_KEYS.length),
      events: max === undefined ? undefined : { max },
    };
  }

  /** The group's own limit; undefined where there is none. */
  readLimit(): number | undefined {
    return this.#files.readLimit();
  }

  close(): void {
    this.#files.close();
    this.#maxUsage.close();
    this.#failcnt.close();
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
