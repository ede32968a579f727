import { join } from 'node:path';
import { FlatKeyedParser, parseAmount } from './flat-keyed.ts';
import type { Hierarchy } from './hierarchy.ts';
import { KeptFile, type FileReader } from './kept-file.ts';
import type { CgroupNode } from './tree.ts';

/** By how much a group's counters rose; absent where the kernel has no such counter. */
export interface OomRise {
  oomKills: number;
  oomGroupKills?: number;
  ooms?: number;
}

/** What the counters of a group and those below it stood at. NaN where the kernel has no such counter. */
export interface OomTotals {
  oomKills: number;
  oomGroupKills: number;
  ooms: number;
  /** v1: the group is out of memory and its tasks wait, because its OOM killer is disabled. */
  waits: boolean;
}

/** Why a group stays out of memory: its OOM killer is disabled (v1), or there is nothing that may be killed. */
export type StuckReason = 'oom_kill_disabled' | 'nothing_killable';

/** Up to where the counters of one group were taken. */
export interface TakenCounts {
  oomKills: number;
  oomGroupKills: number;
  ooms: number;
  oomsBelow: number;
}

/** The kernel counts `oom` when a limit is hit, and `oom_kill` when it has chosen and reported a victim. */
const oomLeadsToKillWithinMs = 5_000;

/** A group whose limit is hit so often, for so long, without a kill has nothing that can be killed. */
const hitsOfStuck = 10;
const stuckAfterMs = 4_000;

/** The members of a group that `memory.oom.group` takes are killed in one go. */
const groupKillLastsMs = 1_000;

const parser = () => new FlatKeyedParser(['oom_kill', 'oom_group_kill', 'oom', 'under_oom', 'oom_kill_disable']);

/** Parsers and their results, shared by all counters of a hierarchy. */
export class OomCounterParsers {
  readonly counts = parser();
  readonly values = new Float64Array(5);
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
  readonly #oomGroup: KeptFile | undefined;
  #begun: boolean;
  #oomKills = 0;
  #oomGroupKills = 0;
  /** `oom` of the group with those below it: where that stands still, so does the group's own. */
  #oomsBelow = 0;
  #ooms = 0;
  #oomsWithoutKill = 0;
  #oomRoseAtMs = -Infinity;
  /** Since when the limit is hit without a kill. */
  #oomsSinceMs = -Infinity;
  #waits = false;
  #groupKill = { lastAtMs: -Infinity, kills: 0, counted: false };

  /** `fresh`: the group was made under our eyes, so that its counters began at 0; else they begin where `begin` is. */
  constructor(reader: FileReader, parsers: OomCounterParsers, hierarchy: Hierarchy, node: CgroupNode, fresh: boolean) {
    const ofV1 = hierarchy.version === 1;
    const file = (name: string) => new KeptFile(reader, join(node.dir, name));
    this.node = node;
    this.#parsers = parsers;
    this.#file = file(ofV1 ? 'memory.oom_control' : 'memory.events');
    this.#local = ofV1 ? undefined : file('memory.events.local');
    this.#oomGroup = ofV1 ? undefined : file('memory.oom.group');
    this.#begun = fresh;
  }

  /** Counts from here on; where that throws as `read` does, from what can be read and taken first. */
  begin(): void {
    // A group has no such file yet while it is without the memory controller: then nothing was counted.
    this.#beginAt(this.read() ?? { oomKills: 0, oomGroupKills: 0, ooms: 0, waits: false });
  }

  /** Goes on where another counter of the same group stopped: what rose since then is to be taken. */
  resume({ oomKills, oomGroupKills, ooms, oomsBelow }: TakenCounts): void {
    this.#begun = true;
    this.#oomKills = oomKills;
    this.#oomGroupKills = oomGroupKills;
    this.#ooms = ooms;
    this.#oomsBelow = oomsBelow;
  }

  /** Where another counter can go on; undefined before the first reading. */
  get taken(): TakenCounts | undefined {
    if (!this.#begun) return undefined;
    return {
      oomKills: this.#oomKills,
      oomGroupKills: this.#oomGroupKills,
      ooms: this.#ooms,
      oomsBelow: this.#oomsBelow,
    };
  }

  /** Whether the group is out of memory and nothing is killed, as far as was taken. */
  stuck(nowMs = performance.now()): StuckReason | undefined {
    if (this.#waits) return 'oom_kill_disabled';
    const goesOn = nowMs - this.#oomRoseAtMs <= oomLeadsToKillWithinMs && nowMs - this.#oomsSinceMs >= stuckAfterMs;
    return goesOn && this.#oomsWithoutKill >= hitsOfStuck ? 'nothing_killable' : undefined;
  }

  /** Reads the counters; undefined when the group is gone. Throws as `KeptFile`, and on malformed content. */
  read(): OomTotals | undefined {
    const totals = this.#parse(this.#file);
    if (totals !== undefined && Number.isNaN(totals.oomKills)) {
      throw new Error(`cannot find "oom_kill" in "${this.#file.path}"`);
    }
    return totals;
  }

  /**
   * What rose up to `totals`, which `read` returned; undefined where no kill did. Reading and taking are apart so that
   * the counters of containers inside this one can be read, and `discount`ed, after this one's: the kernel counts from
   * the inside out, and in this order a kill that comes between is never taken for one of the outer container.
   */
  take(totals: OomTotals, nowMs = performance.now()): OomRise | undefined {
    if (!this.#begun) {
      this.#beginAt(totals);
      return undefined;
    }
    const { oomKills, oomGroupKills, ooms } = totals;
    this.#waits = totals.waits;
    if (ooms > this.#oomsBelow) this.#noteOoms(ooms, nowMs);
    const rise = oomKills - this.#oomKills;
    if (rise <= 0) return undefined;
    this.#oomKills = oomKills;
    return {
      oomKills: rise,
      oomGroupKills: this.#takeGroupKills(oomGroupKills, rise, nowMs),
      ooms: this.#takeOoms(nowMs),
    };
  }

  /** Kills of a container inside this one, which have their own counter, are in this one as well. */
  discount({ oomKills, oomGroupKills = 0 }: OomRise): void {
    this.#oomKills += oomKills;
    this.#oomGroupKills += oomGroupKills;
  }

  close(): void {
    this.#file.close();
    this.#local?.close();
    this.#oomGroup?.close();
  }

  #beginAt({ oomKills, oomGroupKills, ooms }: OomTotals): void {
    this.#begun = true;
    this.#oomKills = oomKills;
    this.#oomGroupKills = orZero(oomGroupKills);
    this.#oomsBelow = orZero(ooms);
    this.#ooms = orZero(this.#readLocalOoms() ?? ooms);
  }

  /** A limit can be hit again and again without a kill: those hits are not the reason of a kill that comes later. */
  #noteOoms(oomsBelow: number, nowMs: number): void {
    this.#oomsBelow = oomsBelow;
    const ooms = this.#readLocalOoms() ?? oomsBelow;
    if (!(ooms > this.#ooms)) return;
    if (nowMs - this.#oomRoseAtMs > oomLeadsToKillWithinMs) this.#oomsWithoutKill = 0;
    if (this.#oomsWithoutKill === 0) this.#oomsSinceMs = nowMs;
    this.#oomsWithoutKill += ooms - this.#ooms;
    this.#ooms = ooms;
    this.#oomRoseAtMs = nowMs;
  }

  #takeOoms(nowMs: number): number | undefined {
    if (this.#local === undefined) return undefined;
    const ooms = nowMs - this.#oomRoseAtMs > oomLeadsToKillWithinMs ? 0 : this.#oomsWithoutKill;
    this.#oomsWithoutKill = 0;
    return ooms;
  }

  #takeGroupKills(total: number, kills: number, nowMs: number): number | undefined {
    if (Number.isNaN(total)) return this.#inferGroupKills(kills, nowMs);
    const rise = Math.max(0, total - this.#oomGroupKills);
    this.#oomGroupKills += rise;
    return rise;
  }

  /**
   * Kernels before 5.17 kill by group and count the first victim twice, but have no `oom_group_kill` to tell. Where
   * memory.oom.group is set, each burst of kills is one that took the group.
   */
  #inferGroupKills(kills: number, nowMs: number): number | undefined {
    if (!this.#isOomGroup()) return undefined;
    const burst = this.#groupKill;
    if (nowMs - burst.lastAtMs > groupKillLastsMs) Object.assign(burst, { kills: 0, counted: false });
    burst.lastAtMs = nowMs;
    burst.kills += kills;
    // The first victim is counted, and then every member, the first victim again: less than two is not all of it yet.
    if (burst.counted || burst.kills < 2) return 0;
    burst.counted = true;
    return 1;
  }

  #isOomGroup(): boolean {
    try {
      const content = this.#oomGroup?.read();
      return content !== undefined && parseAmount(content) === 1;
    } catch {
      return false;
    }
  }

  #readLocalOoms(): number | undefined {
    return this.#local && this.#parse(this.#local)?.ooms;
  }

  #parse(file: KeptFile): OomTotals | undefined {
    const content = file.read();
    if (content === undefined) return undefined;
    const { counts, values } = this.#parsers;
    if (!counts.parse(content, values)) throw new Error(`cannot parse "${file.path}"`);
    const waits = values[3] === 1 && values[4] === 1;
    return { oomKills: values[0]!, oomGroupKills: values[1]!, ooms: values[2]!, waits };
  }
}

function orZero(value: number): number {
  return Number.isNaN(value) ? 0 : value;
}
