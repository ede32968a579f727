import { aborted } from '../../pipelines/component.ts';
import { describeError } from '../../pipelines/errors.ts';
import { findHierarchy, type Hierarchy } from '../cgroup/hierarchy.ts';
import { FileReader } from '../cgroup/kept-file.ts';
import { isSlice } from '../cgroup/identity.ts';
import { LimitsAbove } from '../cgroup/limits-above.ts';
import type { MemoryReading } from '../cgroup/memory-reading.ts';
import { MemoryV1, MemoryV1Parsers } from '../cgroup/memory-v1.ts';
import { MemoryV2, MemoryV2Parsers } from '../cgroup/memory-v2.ts';
import { OomCounter, OomCounterParsers } from '../cgroup/oom-counter.ts';
import { CgroupTree, type CgroupNode } from '../cgroup/tree.ts';
import { VmstatOomKills } from '../cgroup/vmstat.ts';
import type { Emit } from '../observation.ts';
import { notingTelling, type Source } from '../source.ts';
import { printable, type OnBadInput } from './bad-input.ts';
import { OomCounts } from './memcg-counts.ts';
import { ContainerGroup, type KnownGroup } from './memcg-group.ts';
import { LooksAgain } from './memcg-looks.ts';
import { ProcessSightings } from './memcg-processes.ts';

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
  readonly #watched = new Map<string, ContainerGroup>();
  readonly #intervals: NodeJS.Timeout[] = [];
  /** Groups on v2 whose notices could not be asked for yet. */
  readonly #unnotified = new Set<ContainerGroup>();
  readonly #processes: ProcessSightings;
  readonly #counts: OomCounts;
  readonly #looksAgain = new LooksAgain(() => this.look());
  readonly #oomParsers = new OomCounterParsers();
  readonly #v1Parsers: MemoryV1Parsers;
  readonly #v2Parsers: MemoryV2Parsers;
  readonly #limits: LimitsAbove;
  #vmstat: VmstatOomKills;
  #hierarchy: Hierarchy | undefined;
  #tree: CgroupTree | undefined;
  #emit: Emit = () => {};
  /** Somebody takes what is told right now, which may be told from the midst of a reading or a walk of the tree. */
  #isTelling = false;
  /**
   * The groups that were there when they were read last, by container. Those that are there now and are not among them
   * were made since, so that all their kills are to be told; where it is undefined that cannot be said.
   */
  #known: ReadonlyMap<string, readonly KnownGroup[]> | undefined;
  /** The same of the slices, of which those are left out that have counted nothing. */
  #knownSlices: readonly KnownGroup[] | undefined;
  #isOpen = false;
  #leavesOut = false;
  #discounted: (containerId: string) => void = () => {};
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
    this.#limits = new LimitsAbove(this.#reader);
    this.#vmstat = new VmstatOomKills(this.#reader, options.hostRoot);
    const emit: Emit = (observation) => this.#emit(observation);
    this.#processes = new ProcessSightings(options.hostRoot, emit, onBadInput);
    this.#counts = this.#makeCounts(emit);
  }

  #makeCounts(emit: Emit): OomCounts {
    return new OomCounts({
      groups: this.#watched,
      countsNested: () => this.#countsNested,
      emit,
      guarded: (read) => this.#guarded(read),
      gone: (node) => this.#tree?.recheck(node),
      readMachine: () => this.#countMachine(),
      rose: (oomKills, group) => {
        this.#looksAgain.unexplained -= oomKills;
        if (group !== undefined) this.#processes.tell(group);
      },
      discounted: (containerId) => this.#discounted(containerId),
    });
  }

  async observe(emit: Emit, up: () => void, signal: AbortSignal): Promise<void> {
    const { hostRoot, pollIntervalMs, sampleIntervalMs, maxGroups, onBadInput } = this.#options;
    const hierarchy = findHierarchy(hostRoot);
    this.#hierarchy = hierarchy;
    this.#emit = notingTelling(emit, (isTelling) => (this.#isTelling = isTelling));
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
      this.#goOn();
      this.#intervals.push(setInterval(() => this.#poll(), pollIntervalMs));
      this.#intervals.push(setInterval(() => this.#readAll(), readsAllEveryMs));
      if (sampleIntervalMs > 0) this.#intervals.push(setInterval(() => this.#sample(), sampleIntervalMs));
      up();
      await aborted(signal);
    } finally {
      this.#release();
    }
  }

  /** From where an earlier run has stopped: tells what happened since. */
  #goOn(): void {
    if (this.#known === undefined) return;
    for (const [containerId, groups] of this.#known) {
      if (this.#watched.has(containerId)) continue;
      for (const { memcg } of groups) this.#counts.slices.noteGoneBefore(containerId, memcg);
    }
    this.#counts.countAll();
    this.#known = undefined;
    this.#knownSlices = undefined;
  }

  /** Reads the container's counters and the machine's now, and again shortly after where nothing rose yet. */
  lookAt(containerId: string): void {
    if (this.#tree === undefined) return;
    if (this.#isTelling) return this.#looksAgain.hint();
    const nowMs = performance.now();
    const isOneOfMany = nowMs - this.#lookedAtMs < looksOnceInMs;
    if (!isOneOfMany) this.#lookedAtMs = nowMs;
    const unexplained = isOneOfMany ? this.#looksAgain.unexplained : this.look();
    const watched = this.#watched.get(containerId);
    if (watched !== undefined) this.#processes.tell(watched);
    if (unexplained > 0 || watched === undefined || this.#counts.count(watched) === 0) this.#looksAgain.hint();
  }

  /** Before it observes: all groups that an earlier run knew, and all slices that it did, to count on from there. */
  resume(known: ReadonlyMap<string, readonly KnownGroup[]>, slices?: readonly KnownGroup[]): void {
    this.#known = known;
    this.#knownSlices = slices;
  }

  /** `told` of each container whose counter is moved by the kills of another one inside it, which nothing else shows. */
  onDiscount(told: (containerId: string) => void): void {
    this.#discounted = told;
  }

  /** The groups of a container, for a later run to count on from there. */
  groupsOf(containerId: string): readonly KnownGroup[] {
    const watched = this.#watched.get(containerId);
    return watched === undefined ? (this.#known?.get(containerId) ?? []) : watched.known;
  }

  /** The slices that have counted kills, for a later run to count on from there. */
  get slices(): readonly KnownGroup[] | undefined {
    return this.#isOpen ? this.#counts.slices.known : this.#knownSlices;
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
      memory instanceof MemoryV1 ? memory.read(Date.now()) : memory.read(Date.now(), this.#limits.read(node)),
    );
  }

  #added(node: CgroupNode, fresh: boolean): void {
    const { identity, container } = node;
    if (identity !== undefined) this.#addContainer(node, identity.containerId, fresh);
    else if (container !== undefined && this.#countsNested) {
      const outer = this.#watched.get(container.identity!.containerId);
      if (outer?.node === container) this.#addCounter(outer, node, fresh);
    } else if (!this.#countsNested && isSlice(node.path)) this.#addSlice(node, fresh);
  }

  #addSlice(node: CgroupNode, fresh: boolean): void {
    const beganSince = fresh || this.#knownSlices !== undefined;
    const counter = new OomCounter(this.#reader, this.#oomParsers, this.#hierarchy!, node, beganSince);
    this.#counts.slices.add(node, counter);
    const known = this.#knownSlices?.find(({ memcg, inode }) => memcg === node.path && inode === node.inode);
    if (known !== undefined) counter.resume(known.taken);
    // Else what the containers below it have counted since an earlier run is taken first.
    else if (!beganSince && this.#known === undefined) this.#guarded(() => counter.begin());
  }

  #addContainer(node: CgroupNode, containerId: string, fresh: boolean): void {
    const known = this.#watched.get(containerId);
    if (known !== undefined) return this.#options.onBadInput('a second cgroup of one container', printable(node.path));
    const memory =
      this.#hierarchy?.version === 1
        ? new MemoryV1(this.#reader, this.#v1Parsers, node.dir, fresh)
        : new MemoryV2(this.#reader, this.#v2Parsers, node.dir, fresh);
    const watched = new ContainerGroup(node, containerId, memory);
    this.#watched.set(containerId, watched);
    this.#processes.add(watched);
    const runtime = node.identity?.runtime;
    const resumed = this.#knownOf(watched, node) !== undefined;
    this.#emit({
      kind: 'memcg_appeared',
      containerId,
      runtime,
      atMs: Date.now(),
      memcg: node.path,
      fresh,
      resumed,
      countsBelow: !this.#countsNested,
    });
    this.#watchEvents(watched);
    this.#addCounter(watched, node, fresh);
    if (!fresh) return;
    this.#counts.count(watched);
    this.#processes.lookForMainSoon();
  }

  #addCounter(watched: ContainerGroup, node: CgroupNode, fresh: boolean): void {
    const beganSince = fresh || this.#known !== undefined;
    const counter = new OomCounter(this.#reader, this.#oomParsers, this.#hierarchy!, node, beganSince);
    watched.counters.push(counter);
    const known = this.#knownOf(watched, node);
    if (known !== undefined) counter.resume(known.taken);
    else if (!beganSince) this.#guarded(() => counter.begin());
  }

  #knownOf({ containerId }: ContainerGroup, { path, inode }: CgroupNode): KnownGroup | undefined {
    return this.#known?.get(containerId)?.find((known) => known.memcg === path && known.inode === inode);
  }

  /** The poll of the machine's count finds the kills of a group that cannot be watched, only later. */
  #watchEvents(watched: ContainerGroup): void {
    if (this.#hierarchy?.version === 1) return;
    const noticed = (): void => this.#noticed(watched);
    const lost = (): void => void this.#unnotified.add(watched);
    if (watched.watchEvents(noticed, lost)) this.#unnotified.delete(watched);
    else this.#unnotified.add(watched);
  }

  #removed(node: CgroupNode): void {
    this.#limits.forget(node);
    this.#counts.forget(node);
    const watched = this.#counts.groupOf(node);
    if (watched === undefined) return;
    if (watched.node !== node) return watched.dropCounterOf(node);
    this.#close(watched);
    this.#watched.delete(watched.containerId);
    const { containerId } = watched;
    this.#emit({ kind: 'memcg_gone', containerId, atMs: Date.now(), memcg: node.path });
    this.#counts.lose(watched);
  }

  #poll(): void {
    this.#tree?.rescan();
    for (const watched of this.#unnotified) this.#watchEvents(watched);
    this.#processes.lookForMain();
    this.look();
    this.#looksAgain.search();
  }

  /**
   * Reads the machine's count and, where it rose or cannot be read, the counters of all groups. In this order, because
   * the kernel counts a kill first for the machine and then for the group. Returns how many kills no group shows yet.
   */
  look(): number {
    if (this.#tree === undefined) return 0;
    const rise = this.#countMachine();
    if (rise !== 0 || this.#looksAgain.unexplained > 0) this.#counts.countAll();
    return this.#looksAgain.unexplained;
  }

  /** The kernel says that a group's events have changed. Whose kills they are is certain once the machine's are known. */
  #noticed(watched: ContainerGroup): void {
    this.#countMachine();
    this.#counts.count(watched);
  }

  #readAll(): void {
    this.#countMachine();
    this.#counts.countAll();
  }

  #countMachine(): number | undefined {
    const rise = this.#readVmstat();
    this.#looksAgain.count(rise);
    return rise;
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

  #close(watched: ContainerGroup): void {
    this.#unnotified.delete(watched);
    this.#processes.remove(watched);
    watched.close();
  }

  #release(): void {
    if (this.knowsAll && this.#isOpen) {
      this.#known = new Map(Array.from(this.#watched, ([containerId, watched]) => [containerId, watched.known]));
    }
    if (this.#isOpen) this.#knownSlices = this.knowsAll ? this.#counts.slices.known : undefined;
    this.#isOpen = false;
    this.#leavesOut = false;
    for (const interval of this.#intervals.splice(0)) clearInterval(interval);
    this.#looksAgain.close();
    this.#counts.close();
    this.#tree?.close();
    this.#tree = undefined;
    for (const watched of this.#watched.values()) this.#close(watched);
    this.#watched.clear();
    this.#processes.close();
    this.#limits.close();
    this.#emit = () => {};
  }
}
