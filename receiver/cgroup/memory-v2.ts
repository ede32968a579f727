import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { FlatKeyedParser, smallest } from './flat-keyed.ts';
import { KeptFile, type FileReader } from './kept-file.ts';
import { known, MemoryFiles, type MemoryNames, type MemoryParsers } from './memory-files.ts';
import type { MemoryEvents, MemoryReading } from './memory-reading.ts';
import { indexOfStat, STAT_KEYS } from './memory-stat.ts';
import { PeakSampler } from './peak-sampler.ts';

const at = {
  anon: indexOfStat('anon'),
  shmem: indexOfStat('shmem'),
  kernel: indexOfStat('kernel'),
  slab: indexOfStat('slab'),
  slabReclaimable: indexOfStat('slab_reclaimable'),
  kernelStack: indexOfStat('kernel_stack'),
  pagetables: indexOfStat('pagetables'),
  percpu: indexOfStat('percpu'),
  sock: indexOfStat('sock'),
};

const names: MemoryNames = {
  usage: 'memory.current',
  limit: 'memory.max',
  rss: at.anon,
  inactiveFile: indexOfStat('inactive_file'),
};

const eventKeys = ['low', 'high', 'max', 'oom', 'oom_group_kill'] as const;

/** What the groups of a v2 hierarchy share. */
export class MemoryV2Parsers implements MemoryParsers {
  readonly onMalformed: (path: string) => void;
  readonly stat = new FlatKeyedParser(STAT_KEYS.map(({ key }) => key));
  readonly events = new FlatKeyedParser(eventKeys);
  readonly statValues = new Float64Array(STAT_KEYS.length);
  readonly eventValues = new Float64Array(eventKeys.length);

  constructor(onMalformed: (path: string) => void) {
    this.onMalformed = onMalformed;
  }
}

/** Reads the memory of one v2 group. Kernel document: admin-guide/cgroup-v2. */
export class MemoryV2 {
  readonly #reader: FileReader;
  readonly #parsers: MemoryV2Parsers;
  readonly #files: MemoryFiles;
  readonly #events: KeptFile;
  #peak: KeptFile;
  readonly #sampler: PeakSampler;
  /** From 6.12 a write to memory.peak resets what that descriptor reads from then on; undefined until tried. */
  #peakResets: boolean | undefined;

  /** `fresh`: the group was just made, so that its lifetime is the first interval between collections. */
  constructor(reader: FileReader, parsers: MemoryV2Parsers, dir: string, fresh: boolean) {
    this.#reader = reader;
    this.#parsers = parsers;
    this.#files = new MemoryFiles(reader, parsers, dir, names);
    this.#events = new KeptFile(reader, join(dir, 'memory.events'));
    this.#peak = new KeptFile(reader, join(dir, 'memory.peak'), 'r+');
    // Before anything is reset, the peak is that of the group's lifetime: what the first interval of a fresh group is.
    if (!fresh) this.#peakResets = this.#resetPeak();
    this.#sampler = new PeakSampler(fresh ? 0 : this.#readPeakFile());
  }

  /** Usage between two collections, for the highest of them. Needless where the kernel keeps a resettable peak. */
  sample(): void {
    if (this.#peakResets !== true) this.#sampler.sample(this.#files.readUsage());
  }

  /** Undefined when the group is gone. `limitAboveBytes` is the smallest limit of the groups above. */
  read(atMs: number, limitAboveBytes: number | undefined): MemoryReading | undefined {
    const common = this.#files.read(atMs);
    if (common === undefined) return undefined;
    const { statValues: values } = this.#parsers;
    return {
      ...common,
      effectiveLimitBytes: smallest(common.limitBytes, limitAboveBytes),
      maxUsageBytes: this.#readPeak(common.usageBytes),
      unreclaimableBytes: known(unreclaimable(values)),
      stat: values,
      events: this.#readEvents(),
    };
  }

  /** The group's own limit; undefined where there is none. */
  readLimit(): number | undefined {
    return this.#files.readLimit();
  }

  close(): void {
    this.#files.close();
    this.#events.close();
    this.#peak.close();
  }

  #readEvents(): MemoryEvents | undefined {
    const content = this.#events.read();
    if (content === undefined) return undefined;
    const values = this.#parsers.eventValues;
    if (!this.#parsers.events.parse(content, values)) this.#parsers.onMalformed(this.#events.path);
    const [low, high, max, oom, oomGroupKill] = values;
    return { low: known(low), high: known(high), max: known(max), oom: known(oom), oomGroupKill: known(oomGroupKill) };
  }

  /** Exact where the peak can be reset; else the lifetime peak where that rose, or the highest sample. */
  #readPeak(usageBytes: number): number | undefined {
    const peakBytes = this.#readPeakFile();
    const wasReset = this.#peakResets;
    if (wasReset !== false) this.#peakResets = this.#resetPeak();
    if (wasReset === true) return peakBytes;
    this.#sampler.sample(usageBytes);
    return this.#sampler.take(peakBytes);
  }

  /** Since the group was made, or since this descriptor was last reset. */
  #readPeakFile(): number | undefined {
    try {
      return this.#files.readAmount(this.#peak);
    } catch {
      return undefined;
    }
  }

  /** False where the kernel is older than 6.12, or the file can only be read here. */
  #resetPeak(): boolean {
    try {
      const { fd } = this.#peak;
      if (fd === undefined) return false;
      writeSync(fd, '0');
      return true;
    } catch {
      this.#peak.close();
      this.#peak = new KeptFile(this.#reader, this.#peak.path);
      return false;
    }
  }
}

/**
 * What cannot be reclaimed without swap: anon + shmem + kernel + sock − slab_reclaimable. `file` includes shmem.
 * Kernels before 5.18 have no `kernel`: there it is the sum of its parts.
 */
function unreclaimable(values: Float64Array): number {
  const value = (index: number): number => values[index]!;
  const kernel = Number.isNaN(value(at.kernel))
    ? value(at.slab) + value(at.kernelStack) + orZero(value(at.pagetables)) + orZero(value(at.percpu))
    : value(at.kernel);
  return value(at.anon) + value(at.shmem) + kernel + value(at.sock) - value(at.slabReclaimable);
}

function orZero(value: number): number {
  return Number.isNaN(value) ? 0 : value;
}
