import type { OomCounter, OomRise } from '../cgroup/oom-counter.ts';
import type { CgroupNode } from '../cgroup/tree.ts';
import type { Emit } from '../observation.ts';
import type { ContainerGroup } from './memcg-group.ts';

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
  /** A container's counter rose by so many kills: before that is told. */
  rose: (group: ContainerGroup, oomKills: number) => void;
  /** A container's counter is moved by kills of another one inside it. */
  discounted: (containerId: string) => void;
}

/** Reads the OOM counters of containers' groups, and tells by how much they rose. */
export class OomCounts {
  readonly #owner: CountsOwner;

  constructor(owner: CountsOwner) {
    this.#owner = owner;
  }

  /** Reads the counters of all containers. */
  countAll(): void {
    for (const group of this.#owner.groups.values()) this.count(group);
  }

  /** Reads a container's counters; returns by how much they rose. */
  count(group: ContainerGroup): number {
    const { guarded, gone, countsNested } = this.#owner;
    let counted = 0;
    // A copy, because a group that turns out to be gone takes its counter out of the list.
    for (const counter of group.counters.slice()) {
      const totals = guarded(() => counter.read() ?? 'gone');
      if (totals === 'gone') gone(counter.node);
      if (totals === 'gone' || totals === undefined) continue;
      // A container inside this one is in this one's counter on v2: what it counts by itself is discounted here.
      if (!countsNested()) for (const inner of this.#containersIn(group.node)) counted += this.count(inner);
      const rise = counter.take(totals);
      this.#tellStuck(group, counter);
      if (rise === undefined) continue;
      counted += rise.oomKills;
      this.#tellRise(group, counter.node, rise);
    }
    return counted;
  }

  /** The container of a group or around it, where that is read. */
  groupOf(node: CgroupNode): ContainerGroup | undefined {
    const containerId = node.container?.identity?.containerId;
    const group = containerId === undefined ? undefined : this.#owner.groups.get(containerId);
    return group?.node === node.container ? group : undefined;
  }

  #tellRise(group: ContainerGroup, { path: memcg }: CgroupNode, rise: OomRise): void {
    const { node, containerId, memory } = group;
    const { countsNested, guarded, rose, emit } = this.#owner;
    if (!countsNested()) this.#discount(node, rise);
    const limitBytes = guarded(() => memory.readLimit());
    rose(group, rise.oomKills);
    emit({ kind: 'oom_kills_counted', containerId, atMs: Date.now(), memcg, ...rise, limitBytes });
  }

  /** Told again with each reading: only so can others know when it is over. */
  #tellStuck({ containerId }: ContainerGroup, counter: OomCounter): void {
    const reason = counter.stuck();
    if (reason === undefined) return;
    this.#owner.emit({ kind: 'memory_stuck', containerId, atMs: Date.now(), memcg: counter.node.path, reason });
  }

  #discount(node: CgroupNode, rise: OomRise): void {
    const outer = node.parent?.container;
    if (outer === undefined) return;
    const group = this.groupOf(outer);
    group?.counters[0]?.discount(rise);
    if (group !== undefined) this.#owner.discounted(group.containerId);
    this.#discount(outer, rise);
  }

  #containersIn(node: CgroupNode): ContainerGroup[] {
    return Array.from(node.children.values()).flatMap((child) => {
      const group = child.identity === undefined ? undefined : this.groupOf(child);
      return group === undefined ? this.#containersIn(child) : [group];
    });
  }
}
