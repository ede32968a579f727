import { join } from 'node:path';
import { FlatKeyedParser } from './flat-keyed.ts';
import type { Hierarchy } from './hierarchy.ts';
import { KeptFile, type FileReader } from './kept-file.ts';
import type { CgroupNode } from './tree.ts';

/** By how much a group's counters rose; absent where the kernel has no such counter. */
export interface OomRise {
  oomKills: number;
  oomGroupKills?: number;
  ooms?: number;
}

const parser = () => new FlatKeyedParser(['oom_kill', 'oom_group_kill', 'oom']);

/** Parsers and their results, shared by all counters of a hierarchy. */
export class OomCounterParsers {
  readonly counts = parser();
  readonly values = new Float64Array(3);
}

/**
 * The OOM counters of one group: `oom_kill` of memory.events (v2, with the groups below it) or of memory.oom_control
 * (v1, of this group alone).
 */
export class OomCounter {
  readonly node: CgroupNode;
  readonly #parsers: OomCounterParsers;
  readonly #file: KeptFile;
  /** v2: what happened at this group's own limit. */
  readonly #local: KeptFile | undefined;
  #oomKills: number;
  #oomGroupKills: number;
  #ooms: number;

  /** `fresh`: the group was made under our eyes, so that its counters began at 0; else they begin where they are. */
  constructor(reader: FileReader, parsers: OomCounterParsers, hierarchy: Hierarchy, node: CgroupNode, fresh: boolean) {
    const ofV1 = hierarchy.version === 1;
    this.node = node;
    this.#parsers = parsers;
    this.#file = new KeptFile(reader, join(node.dir, ofV1 ? 'memory.oom_control' : 'memory.events'));
    this.#local = ofV1 ? undefined : new KeptFile(reader, join(node.dir, 'memory.events.local'));
    this.#oomKills = 0;
    this.#oomGroupKills = 0;
    this.#ooms = 0;
    if (!fresh) this.#beginHere();
  }

  /** The file whose change tells of a kill, on v2. */
  get path(): string {
    return this.#file.path;
  }

  /** What rose since the last reading; `gone` when the group is; undefined when nothing did. Throws as `KeptFile`. */
  read(): OomRise | 'gone' | undefined {
    const content = this.#file.read();
    if (content === undefined) return 'gone';
    const { counts, values } = this.#parsers;
    if (!counts.parse(content, values)) throw new Error(`cannot parse "${this.#file.path}"`);
    const [oomKills = NaN, oomGroupKills = NaN] = values;
    const rise = { oomKills: oomKills - this.#oomKills, oomGroupKills: known(oomGroupKills - this.#oomGroupKills) };
    // Compared this way round because a counter that the kernel does not have is NaN.
    if (!(rise.oomKills > 0)) return undefined;
    this.#oomKills = oomKills;
    if (!Number.isNaN(oomGroupKills)) this.#oomGroupKills = oomGroupKills;
    return { ...rise, ooms: this.#readOoms() };
  }

  /** Kills of a container inside this one, which have their own counter, are in this one as well. */
  discount({ oomKills, oomGroupKills = 0 }: OomRise): void {
    this.#oomKills += oomKills;
    this.#oomGroupKills += oomGroupKills;
  }

  close(): void {
    this.#file.close();
    this.#local?.close();
  }

  #beginHere(): void {
    this.read();
    this.#readOoms();
  }

  #readOoms(): number | undefined {
    const content = this.#local?.read();
    if (content === undefined) return undefined;
    const { counts, values } = this.#parsers;
    counts.parse(content, values);
    const ooms = values[2]!;
    const rise = known(ooms - this.#ooms);
    if (rise !== undefined) this.#ooms = ooms;
    return rise;
  }
}

function known(value: number): number | undefined {
  return Number.isNaN(value) ? undefined : value;
}
