import type { OomCounter, OomRise, OomTotals } from '../cgroup/oom-counter.ts';
import type { CgroupNode } from '../cgroup/tree.ts';
import type { KnownGroup } from './memcg-group.ts';

/** So many containers can be those of a kill, and no more are told. */
const mostGone = 100;

/** A group of Kubernetes around containers, of one pod or of all pods, and what is read of it. */
export interface Slice {
  readonly node: CgroupNode;
  readonly counter: OomCounter;
  /** Containers below it whose groups went since it was taken last: what their counters showed at the end nobody has read. */
  readonly gone: Set<string>;
}

/** What a slice's counter stood at when it was read. */
export interface SliceReading {
  slice: Slice;
  totals: OomTotals;
}

/**
 * The slices of a v2 hierarchy, which keep the kills of groups below them that are gone. What the containers' own
 * counters show is discounted; what is left are kills that nobody has read there.
 *
 * A slice is read before the containers below it and taken after them: the kernel counts from the inside out, so that
 * whatever a slice has shown is in the container's counter, if that is still there.
 */
export class Slices {
  /** Outer ones come before those that lie in them. */
  readonly #slices = new Map<CgroupNode, Slice>();

  get all(): Slice[] {
    return [...this.#slices.values()];
  }

  /** Those that lie in this container's group, and in no container inside it; where undefined, in none at all. */
  in(container: CgroupNode | undefined): Slice[] {
    return this.#slices.size === 0 ? [] : this.all.filter(({ node }) => node.container === container);
  }

  /** Where another run can go on. A slice that has counted nothing is as good as one that is made anew. */
  get known(): KnownGroup[] {
    return this.all.flatMap(({ node: { path: memcg, inode }, counter: { taken } }) =>
      taken !== undefined && Object.values(taken).some((count) => count > 0) ? { memcg, inode, taken } : [],
    );
  }

  of(node: CgroupNode): Slice | undefined {
    return this.#slices.get(node);
  }

  add(node: CgroupNode, counter: OomCounter): void {
    this.#slices.set(node, { node, counter, gone: new Set() });
  }

  /** A group is gone: what is known of it if it was a slice. */
  remove(node: CgroupNode): void {
    this.#slices.get(node)?.counter.close();
    this.#slices.delete(node);
  }

  /** A container's group was gone when its slices were seen first, of which an earlier run knew. */
  noteGoneBefore(containerId: string, memcg: string): void {
    for (const { node, gone } of this.all) {
      if (memcg.startsWith(`${node.path}/`) && gone.size < mostGone) gone.add(containerId);
    }
  }

  /** A container's group is gone: notes it in the slices around it. Returns the innermost of them. */
  noteGone(containerId: string, node: CgroupNode): Slice | undefined {
    const around = this.around(node);
    for (const { gone } of around) if (gone.size < mostGone) gone.add(containerId);
    return around[0];
  }

  /** The slices in which a group lies, the innermost first. */
  around({ parent }: CgroupNode): Slice[] {
    if (parent === undefined) return [];
    const slice = this.#slices.get(parent);
    return slice === undefined ? this.around(parent) : [slice, ...this.around(parent)];
  }

  /** Whether others lie in it. */
  holdsOthers(slice: Slice): boolean {
    return this.all.some(({ node }) => this.around(node).includes(slice));
  }

  /**
   * What rose up to a reading and no container below has shown, with the containers whose kills it may be; undefined
   * where nothing did.
   */
  take({ slice, totals }: SliceReading): { rise: OomRise; gone: string[] } | undefined {
    const gone = [...slice.gone];
    slice.gone.clear();
    const rise = slice.counter.take(totals);
    return rise && { rise, gone };
  }

  close(): void {
    for (const { counter } of this.#slices.values()) counter.close();
    this.#slices.clear();
  }
}
