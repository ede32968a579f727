import { readFileSync, watch, type FSWatcher } from 'node:fs';
import { join } from 'node:path';
import { aborted } from '../../pipelines/component.ts';
import { describeError } from '../../pipelines/errors.ts';
import { parseAmount, smallest } from '../cgroup/flat-keyed.ts';
import { findHierarchy, type Hierarchy } from '../cgroup/hierarchy.ts';
import { FileReader, KeptFile } from '../cgroup/kept-file.ts';
import type { MemoryReading } from '../cgroup/memory-reading.ts';
import { MemoryV1, MemoryV1Parsers } from '../cgroup/memory-v1.ts';
import { MemoryV2, MemoryV2Parsers } from '../cgroup/memory-v2.ts';
import { OomCounter, OomCounterParsers, type OomRise, type TakenCounts } from '../cgroup/oom-counter.ts';
import { CgroupTree, type CgroupNode } from '../cgroup/tree.ts';
import { VmstatOomKills } from '../cgroup/vmstat.ts';
import { findMainProcess } from '../main-process.ts';
import type { Emit } from '../observation.ts';
import type { Source } from '../source.ts';
import { printable, type OnBadInput } from './bad-input.ts';

export interface MemcgOptions {
  /** Where the host's root file system is seen from here. */
  hostRoot: string;
  /** How often the machine's own count is read; where it rose, the counters of all groups are. */
  pollIntervalMs: number;
  /** How often usage is sampled where the kernel keeps no resettable peak; 0 is only at collections. */
  sampleIntervalMs: number;
  /** Groups beyond this number are left out. */
  maxGroups: number;
  onBadInput: OnBadInput;
}

/** A group as it was read last, to go on from there. The inode tells it from a successor of the same name. */
export interface KnownGroup {
  memcg: string;
  inode: number;
  taken: TakenCounts;
}

/** A container's group and what is read of it. */
interface Watched {
  readonly node: CgroupNode;
  readonly containerId: string;
  readonly memory: MemoryV1 | MemoryV2;
  /** Of the group itself first; then of groups nested in it, where counters are local. */
  readonly counters: OomCounter[];
  /** Notices of the kernel that memory.events has changed (v2). */
  notices?: FSWatcher;
  /** When its processes were told last. */
  processesToldAtMs: number;
  /** Host pid of its main process, once that was seen. */
  mainPid?: number;
  /** So often it is still looked for. */
  looksForMain: number;
}

/** When a new group is looked at for its main process, each look after the one before. */
const looksForMainAfterMs = [10, 30, 100];

/** A group can stay empty, and a container that shares the host's PID namespace has no main process that could be found. */
const mostLooksForMain = 12;

/** Where kills follow each other, the processes of a group are told no more often than this. */
const tellsProcessesEveryMs = 100;

/** When to look again for a kill that another witness has told of, or that only the machine's count shows so far. */
const looksAgainAfterMs = [2, 10, 30, 100, 300];

/** Of hints that come in a bunch one has all groups read, the others that of their container. */
const looksOnceInMs = 5;

/** All counters are read that often whatever the machine's count says, for what the looks have missed. */
const readsAllEveryMs = 5_000;

/**
 * The memory cgroups of this machine, v1 or v2: their OOM counters as observations, and their memory on demand.
 *
 * On v2 the kernel notifies of a change of memory.events. v1 never does: there, and as a safety net on v2, the
 * machine's own count in /proc/vmstat is polled, which costs 4 µs, and all groups are read when it rose.
 */
export class MemcgSource implements Source {
  readonly name = 'memcg';
  readonly #options: MemcgOptions;
  readonly #reader: FileReader;
  readonly #watched = new Map<string, Watched>();
  readonly #intervals: NodeJS.Timeout[] = [];
  /** Groups on v2 whose notices could not be asked for yet. */
  readonly #unnotified = new Set<Watched>();
  /** Groups in which no main process was seen yet. */
  readonly #withoutMain = new Set<Watched>();
  readonly #oomParsers = new OomCounterParsers();
  readonly #v1Parsers: MemoryV1Parsers;
  readonly #v2Parsers: MemoryV2Parsers;
  /** memory.max of the groups above containers (v2). */
  readonly #limits = new Map<CgroupNode, KeptFile>();
  #vmstat: VmstatOomKills;
  #hierarchy: Hierarchy | undefined;
  #tree: CgroupTree | undefined;
  #emit: Emit = () => {};
  /**
   * The groups that were there when they were read last, by container. Those that are there now and are not among them
   * were made since, so that all their kills are to be told; where it is undefined that cannot be said.
   */
  #known: ReadonlyMap<string, readonly KnownGroup[]> | undefined;
  #isOpen = false;
  #leavesOut = false;
  #discounted: (containerId: string) => void = () => {};
  /** Kills in the machine's count that no group's counter has shown yet; below 0 until that count is read again. */
  #unexplained = 0;
  #lookingAgain: NodeJS.Timeout | undefined;
  #lookingForMain: NodeJS.Timeout | undefined;
  /** When a hint made us look last. */
  #lookedAtMs = -Infinity;

  constructor(options: MemcgOptions) {
    const { onBadInput } = options;
    this.#options = options;
    this.#reader = new FileReader((mostKept) =>
      onBadInput('too few file descriptors: cgroup files are opened for each reading', `${mostKept} are kept open`),
    );
    const onMalformed = (path: string): void => onBadInput('malformed cgroup file', printable(path));
    this.#v1Parsers = new MemoryV1Parsers(onMalformed);
    this.#v2Parsers = new MemoryV2Parsers(onMalformed);
    this.#vmstat = new VmstatOomKills(this.#reader, options.hostRoot);
  }

  async observe(emit: Emit, up: () => void, signal: AbortSignal): Promise<void> {
    const { hostRoot, pollIntervalMs, sampleIntervalMs, maxGroups, onBadInput } = this.#options;
    const hierarchy = findHierarchy(hostRoot);
    this.#hierarchy = hierarchy;
    this.#emit = emit;
    this.#tree = new CgroupTree(hierarchy.root, maxGroups, {
      added: (node, fresh) => this.#added(node, fresh),
      removed: (node) => this.#removed(node),
      problem: (what, path) => {
        this.#leavesOut = true;
        onBadInput(what, printable(path));
      },
    });
    try {
      this.#readVmstat();
      this.#tree.open();
      this.#isOpen = true;
      if (this.#known !== undefined) this.#countAll();
      this.#known = undefined;
      this.#intervals.push(setInterval(() => this.#poll(), pollIntervalMs));
      this.#intervals.push(setInterval(() => this.#countAll(), readsAllEveryMs));
      if (sampleIntervalMs > 0) this.#intervals.push(setInterval(() => this.#sample(), sampleIntervalMs));
      up();
      await aborted(signal);
    } finally {
      this.#release();
    }
  }

  /** Reads the container's counters and the machine's now, and again shortly after where nothing rose yet. */
  lookAt(containerId: string): void {
    if (this.#tree === undefined) return;
    const nowMs = performance.now();
    const isOneOfMany = nowMs - this.#lookedAtMs < looksOnceInMs;
    if (!isOneOfMany) this.#lookedAtMs = nowMs;
    const unexplained = isOneOfMany ? this.#unexplained : this.look();
    const watched = this.#watched.get(containerId);
    if (watched !== undefined) this.#tellProcesses(watched);
    if (unexplained > 0 || watched === undefined || this.#count(watched) === 0) this.#lookAgain(0, true);
  }

  /** Before it observes: all groups that an earlier run knew, to count on from there. */
  resume(known: ReadonlyMap<string, readonly KnownGroup[]>): void {
    this.#known = known;
  }

  /** `told` of each container whose counter is moved by the kills of another one inside it, which nothing else shows. */
  onDiscount(told: (containerId: string) => void): void {
    this.#discounted = told;
  }

  /** The groups of a container, for a later run to count on from there. */
  groupsOf(containerId: string): readonly KnownGroup[] {
    const watched = this.#watched.get(containerId);
    return watched === undefined ? (this.#known?.get(containerId) ?? []) : knownOf(watched);
  }

  /** Whether `groupsOf` knows every group that was there when it was read last. */
  get knowsAll(): boolean {
    return (this.#isOpen && !this.#leavesOut) || this.#known !== undefined;
  }

  /** The container's memory now; undefined when it has no group. The next reading overwrites its `stat`. */
  readMemory(containerId: string): MemoryReading | undefined {
    const watched = this.#watched.get(containerId);
    if (watched === undefined) return undefined;
    const { memory, node } = watched;
    return this.#guarded(() =>
      memory instanceof MemoryV1 ? memory.read(Date.now()) : memory.read(Date.now(), this.#limitAbove(node)),
    );
  }

  #added(node: CgroupNode, fresh: boolean): void {
    const { identity, container } = node;
    if (identity !== undefined) this.#addContainer(node, identity.containerId, fresh);
    else if (container !== undefined && this.#countsNested) {
      const outer = this.#watched.get(container.identity!.containerId);
      if (outer?.node === container) this.#addCounter(outer, node, fresh);
    }
  }

  #addContainer(node: CgroupNode, containerId: string, fresh: boolean): void {
    const known = this.#watched.get(containerId);
    if (known !== undefined) return this.#options.onBadInput('a second cgroup of one container', printable(node.path));
    const memory =
      this.#hierarchy?.version === 1
        ? new MemoryV1(this.#reader, this.#v1Parsers, node.dir, fresh)
        : new MemoryV2(this.#reader, this.#v2Parsers, node.dir, fresh);
    const watched: Watched = {
      node,
      containerId,
      memory,
      counters: [],
      processesToldAtMs: 0,
      looksForMain: mostLooksForMain,
    };
    this.#watched.set(containerId, watched);
    this.#withoutMain.add(watched);
    const runtime = node.identity?.runtime;
    const resumed = this.#knownOf(watched, node) !== undefined;
    this.#emit({ kind: 'memcg_appeared', containerId, runtime, atMs: Date.now(), memcg: node.path, fresh, resumed });
    this.#watchEvents(watched);
    this.#addCounter(watched, node, fresh);
    if (!fresh) return;
    this.#count(watched);
    this.#lookForMainSoon();
  }

  #addCounter(watched: Watched, node: CgroupNode, fresh: boolean): void {
    const beganSince = fresh || this.#known !== undefined;
    const counter = new OomCounter(this.#reader, this.#oomParsers, this.#hierarchy!, node, beganSince);
    watched.counters.push(counter);
    const known = this.#knownOf(watched, node);
    if (known !== undefined) counter.resume(known.taken);
    else if (!beganSince) this.#guarded(() => counter.begin());
  }

  #knownOf({ containerId }: Watched, { path, inode }: CgroupNode): KnownGroup | undefined {
    return this.#known?.get(containerId)?.find((known) => known.memcg === path && known.inode === inode);
  }

  /** The poll of the machine's count finds the kills of a group that cannot be watched, only later. */
  #watchEvents(watched: Watched): void {
    if (this.#hierarchy?.version === 1) return;
    this.#unnotified.add(watched);
    try {
      const notices = watch(join(watched.node.dir, 'memory.events'), { persistent: false }, () =>
        this.#noticed(watched),
      );
      notices.on('error', () => {
        notices.close();
        this.#unnotified.add(watched);
      });
      watched.notices = notices;
      this.#unnotified.delete(watched);
    } catch {
      // A group has no such file until its parent is given the memory controller, which can be after it was made.
    }
  }

  #removed(node: CgroupNode): void {
    this.#limits.get(node)?.close();
    this.#limits.delete(node);
    const watched = this.#watchedOf(node);
    if (watched === undefined) return;
    if (watched.node !== node) {
      const index = watched.counters.findIndex((counter) => counter.node === node);
      if (index >= 0) watched.counters.splice(index, 1)[0]?.close();
      return;
    }
    this.#close(watched);
    this.#watched.delete(watched.containerId);
    const { containerId } = watched;
    this.#emit({ kind: 'memcg_gone', containerId, atMs: Date.now(), memcg: node.path });
  }

  #poll(): void {
    this.#tree?.rescan();
    for (const watched of this.#unnotified) this.#watchEvents(watched);
    for (const watched of this.#withoutMain) this.#tellProcesses(watched);
    if (this.look() > 0 && this.#lookingAgain === undefined) this.#lookAgain(0, false);
  }

  /**
   * Reads the machine's count and, where it rose or cannot be read, the counters of all groups. In this order, because
   * the kernel counts a kill first for the machine and then for the group. Returns how many kills no group shows yet.
   */
  look(): number {
    if (this.#tree === undefined) return 0;
    const rise = this.#countMachine();
    if (rise !== 0 || this.#unexplained > 0) this.#countAll();
    return this.#unexplained;
  }

  /** The kernel says that a group's events have changed. Whose kills they are is certain once the machine's are known. */
  #noticed(watched: Watched): void {
    this.#countMachine();
    this.#count(watched);
  }

  #countMachine(): number | undefined {
    const rise = this.#readVmstat();
    // Whatever a group has shown by now is in the machine's count.
    this.#unexplained = rise === undefined ? 0 : Math.max(0, this.#unexplained + rise);
    return rise;
  }

  #countAll(): void {
    for (const watched of this.#watched.values()) this.#count(watched);
  }

  /**
   * A hint can come before the kill, and a kill be seen in the machine's count before the group's. Kills that no group
   * shows on the last look happened outside of containers, or their group is gone.
   */
  #lookAgain(look: number, hinted: boolean): void {
    clearTimeout(this.#lookingAgain);
    this.#lookingAgain = undefined;
    const delayMs = looksAgainAfterMs[look];
    if (delayMs === undefined) {
      this.#unexplained = 0;
      return;
    }
    this.#lookingAgain = setTimeout(() => {
      this.#lookingAgain = undefined;
      if (this.look() > 0 || hinted) this.#lookAgain(look + 1, hinted);
    }, delayMs);
  }

  /** Reads a container's counters; returns by how much they rose. */
  #count(watched: Watched): number {
    let counted = 0;
    // A copy, because a group that turns out to be gone takes its counter out of the list.
    for (const counter of watched.counters.slice()) {
      const totals = this.#guarded(() => counter.read() ?? 'gone');
      if (totals === 'gone') this.#tree?.recheck(counter.node);
      if (totals === 'gone' || totals === undefined) continue;
      // A container inside this one is in this one's counter on v2: what it counts by itself is discounted here.
      if (!this.#countsNested) for (const inner of this.#containersIn(watched.node)) counted += this.#count(inner);
      const rise = counter.take(totals);
      this.#tellStuck(watched, counter);
      if (rise === undefined) continue;
      counted += rise.oomKills;
      this.#tellRise(watched, counter.node, rise);
    }
    return counted;
  }

  #tellRise(watched: Watched, { path: memcg }: CgroupNode, rise: OomRise): void {
    const { node, containerId, memory } = watched;
    this.#unexplained -= rise.oomKills;
    if (!this.#countsNested) this.#discount(node, rise);
    const limitBytes = this.#guarded(() => memory.readLimit());
    this.#tellProcesses(watched);
    this.#emit({ kind: 'oom_kills_counted', containerId, atMs: Date.now(), memcg, ...rise, limitBytes });
  }

  /** Told again with each reading: only so can others know when it is over. */
  #tellStuck({ containerId }: Watched, counter: OomCounter): void {
    const reason = counter.stuck();
    if (reason === undefined) return;
    this.#emit({ kind: 'memory_stuck', containerId, atMs: Date.now(), memcg: counter.node.path, reason });
  }

  /** A new container's first process follows at once, and can be killed before the next poll. */
  #lookForMainSoon(look = 0): void {
    const delayMs = looksForMainAfterMs[look];
    if (delayMs === undefined || (look === 0 && this.#lookingForMain !== undefined)) return;
    this.#lookingForMain = setTimeout(() => {
      this.#lookingForMain = undefined;
      for (const watched of this.#withoutMain) this.#tellProcesses(watched);
      this.#lookForMainSoon(look + 1);
    }, delayMs);
  }

  /** Of those that the kernel kills without a report it tells the pid alone: who lives where must be known before. */
  #tellProcesses(watched: Watched): void {
    const { containerId, node, processesToldAtMs } = watched;
    const atMs = Date.now();
    if (Math.abs(atMs - processesToldAtMs) < tellsProcessesEveryMs) return;
    const pids = [...listPids(node)];
    if (pids.length > 0) watched.mainPid ??= this.#findMain(watched);
    if (watched.mainPid !== undefined || --watched.looksForMain <= 0) this.#withoutMain.delete(watched);
    if (pids.length === 0) return;
    watched.processesToldAtMs = atMs;
    this.#emit({ kind: 'processes_seen', containerId, atMs, pids, mainPid: watched.mainPid });
  }

  #findMain({ node }: Watched): number | undefined {
    // crun puts the processes of a container into a group of their own below it.
    const dirs = [node, ...node.children.values()].map(({ dir }) => dir);
    for (const dir of dirs) {
      const pid = findMainProcess(this.#options.hostRoot, dir);
      if (pid !== undefined) return pid;
    }
    return undefined;
  }

  #discount(node: CgroupNode, rise: OomRise): void {
    const outer = node.parent?.container;
    if (outer === undefined) return;
    const watched = this.#watchedOf(outer);
    watched?.counters[0]?.discount(rise);
    if (watched !== undefined) this.#discounted(watched.containerId);
    this.#discount(outer, rise);
  }

  #containersIn(node: CgroupNode): Watched[] {
    return Array.from(node.children.values()).flatMap((child) => {
      const watched = child.identity === undefined ? undefined : this.#watchedOf(child);
      return watched === undefined ? this.#containersIn(child) : [watched];
    });
  }

  #watchedOf(node: CgroupNode): Watched | undefined {
    const containerId = node.container?.identity?.containerId;
    const watched = containerId === undefined ? undefined : this.#watched.get(containerId);
    return watched?.node === node.container ? watched : undefined;
  }

  /** By how much the machine's count rose since it was read last; undefined where it cannot be read. */
  #readVmstat(): number | undefined {
    const reading = this.#vmstat.read();
    if (reading === undefined) return undefined;
    if (reading.rise > 0 || reading.first) {
      this.#emit({ kind: 'node_oom_kills_counted', atMs: Date.now(), total: reading.total });
    }
    return reading.rise;
  }

  #sample(): void {
    for (const { memory } of this.#watched.values()) this.#guarded(() => memory.sample());
  }

  /** The smallest limit on the way from the group's parent to the root (v2). */
  #limitAbove({ parent }: CgroupNode): number | undefined {
    if (parent?.parent === undefined) return undefined;
    let file = this.#limits.get(parent);
    if (file === undefined)
      this.#limits.set(parent, (file = new KeptFile(this.#reader, join(parent.dir, 'memory.max'))));
    const content = file.read();
    return smallest(content === undefined ? undefined : parseAmount(content), this.#limitAbove(parent));
  }

  /** Where counters are local, groups nested in a container's are counted each by itself. */
  get #countsNested(): boolean {
    return this.#hierarchy?.localEvents === true;
  }

  #guarded<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      this.#options.onBadInput('cgroup file that cannot be used', printable(describeError(error)));
      return undefined;
    }
  }

  #close(watched: Watched): void {
    const { memory, counters, notices } = watched;
    this.#unnotified.delete(watched);
    this.#withoutMain.delete(watched);
    notices?.close();
    memory.close();
    for (const counter of counters) counter.close();
  }

  #release(): void {
    if (this.knowsAll && this.#isOpen) {
      this.#known = new Map(Array.from(this.#watched, ([containerId, watched]) => [containerId, knownOf(watched)]));
    }
    this.#isOpen = false;
    this.#leavesOut = false;
    for (const interval of this.#intervals.splice(0)) clearInterval(interval);
    clearTimeout(this.#lookingAgain);
    clearTimeout(this.#lookingForMain);
    this.#lookingForMain = undefined;
    this.#tree?.close();
    this.#tree = undefined;
    for (const watched of this.#watched.values()) this.#close(watched);
    this.#watched.clear();
    for (const file of this.#limits.values()) file.close();
    this.#limits.clear();
    this.#emit = () => {};
  }
}

function knownOf({ counters }: Watched): KnownGroup[] {
  return counters.flatMap(({ node: { path: memcg, inode }, taken }) =>
    taken === undefined ? [] : { memcg, inode, taken },
  );
}

/** Host pids in a group and in those below it that are no containers of their own; none where it is gone. */
function* listPids({ dir, children }: CgroupNode): Generator<number> {
  let text = '';
  try {
    text = readFileSync(join(dir, 'cgroup.procs'), 'latin1');
  } catch {
    // Gone.
  }
  for (const pid of text.split('\n')) if (Number(pid) > 0) yield Number(pid);
  for (const child of children.values()) if (child.identity === undefined) yield* listPids(child);
}
