import { join } from 'node:path';
import { parseNumber } from './flat-keyed.ts';
import { KeptFile, type FileReader } from './kept-file.ts';

const key = Buffer.from('\noom_kill ');

/**
 * The kernel's own count of OOM kills since boot, for the whole machine and on both versions of cgroups. Line of
 * /proc/vmstat (4.13 and newer; 6.18): `oom_kill 42`.
 */
export class VmstatOomKills {
  readonly #file: KeptFile;
  #total: number | undefined;

  constructor(reader: FileReader, hostRoot: string) {
    this.#file = new KeptFile(reader, join(hostRoot, 'proc/vmstat'));
  }

  /** `rise` is since the reading before, 0 at the first. Undefined where it cannot be read. */
  read(): { total: number; rise: number; first: boolean } | undefined {
    const total = this.#readTotal();
    if (total === undefined) return undefined;
    const first = this.#total === undefined;
    const rise = total - (this.#total ?? total);
    this.#total = total;
    return { total, rise, first };
  }

  #readTotal(): number | undefined {
    try {
      const content = this.#file.read();
      if (content === undefined) return undefined;
      const at = content.bytes.indexOf(key);
      if (at === -1 || at >= content.length) return undefined;
      const begin = at + key.length;
      const total = parseNumber(content.bytes, begin, content.bytes.indexOf('\n', begin));
      return Number.isNaN(total) ? undefined : total;
    } catch {
      return undefined;
    }
  }
}
