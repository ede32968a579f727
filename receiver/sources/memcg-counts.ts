import type { OomCounter, OomRise } from '../cgroup/oom-counter.ts';
import type { CgroupNode } from '../cgroup/tree.ts';
import type { Emit } from '../observation.ts';
import type { ContainerGroup } from './memcg-group.ts';
import { Slices, type Slice, type SliceReading } from './memcg-slices.ts';

/** What counting needs of its source, and tells it. */
export interface CountsOwner {
  /** By container. */
  readonly groups: ReadonlyMap<string, ContainerGroup>;
  /** Counters are local: groups nested in a container's are counted each by itself. */
  readonly countsNested: () => boolean;
  emit: Emit;
  /** Undefined where reading throws, which is told. */
  guarded: <T>(read: () => T) => T | undefined;
  /** A group's files say that it is gone. */
  gone: (node: CgroupNode) => void;
  /** The machine's count has to be read, which the kernel raises before any group's. */
  readMachine: () => void;
  /** So many kills are found in a counter; that of a container's group, where it is one. Before they are told. */
  rose: (oomKills: number, group?: ContainerGroup) => void;
  /** A container's counter is moved by kills of another one inside it. */
  discounted: (containerId: string) => void;
}

/** Reads the OOM counters of containers' groups and of the slices around them, and tells by how much they rose. */
export class OomCounts {
  readonly slices = new Slices();
  readonly #owner: CountsOwner;
  /** Containers whose counters could not be read the last time, and are not known to be gone. */
  readonly #unread = new Set<ContainerGroup>();
  /** Slices in which something went, and which are to be read. */
  readonly #toRead = new Set<Slice>();
  #reading: NodeJS.Immediate | undefined;

  constructor(owner: CountsOwner) {
    this.#owner = owner;
  }

  /** Reads the counters of all containers and slices. */
  countAll(): void {
    const readings = this.#read(this.slices.in(undefined));
    for (const group of this.#owner.groups.values()) this.count(group);
    this.#take(readings);
  }

  /** Reads a container's counters; returns by how much they rose. */
  count(group: ContainerGroup): number {
    const { guarded, gone, countsNested } = this.#owner;
    let counted = 0;
    this.#unread.delete(group);
    // A copy, because a group that turns out to be gone takes its counter out of the list.
    for (const counter of group.counters.slice()) {
      const totals = guarded(() => counter.read() ?? 'gone');
      if (totals === 'gone') gone(counter.node);
      if (totals === undefined) this.#unread.add(group);
      if (totals === 'gone' || totals === undefined) continue;
      // What lies inside this one is in this one's counter on v2: what it counts by itself is discounted here.
      if (!countsNested()) counted += this.#countInside(group);
      const rise = counter.take(totals);
      this.#tellStuck(group, counter);
      if (rise === undefined) continue;
      counted += rise.oomKills;
      this.#tellRise(group, counter.node, rise);
    }
    return counted;
  }

  #countInside({ node }: ContainerGroup): number {
    const readings = this.#read(this.slices.in(node));
    let counted = 0;
    for (const inner of this.#containersIn(node)) counted += this.count(inner);
    return counted + this.#take(readings);
  }

  /** The container of a group or around it, where that is read. */
  groupOf(node: CgroupNode): ContainerGroup | undefined {
    const containerId = node.container?.identity?.containerId;
    const group = containerId === undefined ? undefined : this.#owner.groups.get(containerId);
    return group?.node === node.container ? group : undefined;
  }

  /** A container's group is gone, and that was told. Its last kills are in the slice around it, which is read soon. */
  lose(group: ContainerGroup): void {
    this.#unread.delete(group);
    this.#readSoon(this.slices.noteGone(group.containerId, group.node));
  }

  /** A group that is no container's is gone. The kills of a slice are in the one around it. */
  forget(node: CgroupNode): void {
    const slice = this.slices.of(node);
    if (slice === undefined) return;
    this.slices.remove(node);
    this.#toRead.delete(slice);
    this.#readSoon(this.slices.around(node)[0]);
  }

  close(): void {
    clearImmediate(this.#reading);
    this.#reading = undefined;
    this.#toRead.clear();
    this.#unread.clear();
    this.slices.close();
  }

  /** Not at once: those that go together are told first, and a group is told to be gone while the tree is being walked. */
  #readSoon(slice: Slice | undefined): void {
    if (slice === undefined) return;
    this.#toRead.add(slice);
    this.#reading ??= setImmediate(() => {
      this.#reading = undefined;
      const slices = [...this.#toRead];
      this.#toRead.clear();
      this.#owner.readMachine();
      if (slices.some((one) => this.slices.holdsOthers(one))) this.countAll();
      else for (const one of slices) this.#countIn(one);
    });
  }

  #countIn(slice: Slice): void {
    const readings = this.#read([slice]);
    for (const group of this.#containersIn(slice.node)) this.count(group);
    this.#take(readings);
  }

  #read(slices: readonly Slice[]): SliceReading[] {
    return slices.flatMap((slice) => {
      const totals = this.#owner.guarded(() => slice.counter.read() ?? 'gone');
      if (totals === 'gone') this.#owner.gone(slice.node);
      return totals === 'gone' || totals === undefined ? [] : { slice, totals };
    });
  }

  #take(readings: readonly SliceReading[]): number {
    let counted = 0;
    // What a container will show when it can be read again must not be told before.
    const untrue = new Set(Array.from(this.#unread).flatMap(({ node }) => this.slices.around(node)));
    for (const reading of readings.toReversed()) {
      const { slice } = reading;
      if (untrue.has(slice) || this.slices.of(slice.node) !== slice) continue;
      const taken = this.slices.take(reading);
      if (taken === undefined) continue;
      counted += taken.rise.oomKills;
      this.#tellLost(slice.node, taken.rise, taken.gone);
    }
    return counted;
  }

  #tellLost(node: CgroupNode, rise: OomRise, goneContainerIds: readonly string[]): void {
    this.#discount(node, rise);
    this.#owner.rose(rise.oomKills);
    const { path: memcg } = node;
    this.#owner.emit({ kind: 'lost_oom_kills_counted', atMs: Date.now(), memcg, ...rise, goneContainerIds });
  }

  #tellRise(group: ContainerGroup, { path: memcg }: CgroupNode, rise: OomRise): void {
    const { node, containerId, memory } = group;
    if (!this.#owner.countsNested()) this.#discount(node, rise);
    const limitBytes = this.#owner.guarded(() => memory.readLimit());
    this.#owner.rose(rise.oomKills, group);
    this.#owner.emit({ kind: 'oom_kills_counted', containerId, atMs: Date.now(), memcg, ...rise, limitBytes });
  }

  /** Told again with each reading: only so can others know when it is over. */
  #tellStuck({ containerId }: ContainerGroup, counter: OomCounter): void {
    const reason = counter.stuck();
    if (reason === undefined) return;
    this.#owner.emit({ kind: 'memory_stuck', containerId, atMs: Date.now(), memcg: counter.node.path, reason });
  }

  /** What a group has told is in the counters of all containers and slices around it as well. */
  #discount({ parent }: CgroupNode, rise: OomRise): void {
    if (parent === undefined) return;
    this.slices.of(parent)?.counter.discount(rise);
    const group = parent.identity === undefined ? undefined : this.groupOf(parent);
    group?.counters[0]?.discount(rise);
    if (group !== undefined) this.#owner.discounted(group.containerId);
    this.#discount(parent, rise);
  }

  #containersIn(node: CgroupNode): ContainerGroup[] {
    return Array.from(node.children.values()).flatMap((child) => {
      const group = child.identity === undefined ? undefined : this.groupOf(child);
      return group === undefined ? this.#containersIn(child) : [group];
    });
  }
}
