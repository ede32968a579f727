import { watch, type FSWatcher } from 'node:fs';
import { join } from 'node:path';
import type { MemoryV1 } from '../cgroup/memory-v1.ts';
import type { MemoryV2 } from '../cgroup/memory-v2.ts';
import type { OomCounter, TakenCounts } from '../cgroup/oom-counter.ts';
import type { CgroupNode } from '../cgroup/tree.ts';

/** A group as it was read last, to go on from there. The inode tells it from a successor of the same name. */
export interface KnownGroup {
  memcg: string;
  inode: number;
  taken: TakenCounts;
}

/** A container's group and what is read of it. */
export class ContainerGroup {
  readonly node: CgroupNode;
  readonly containerId: string;
  readonly memory: MemoryV1 | MemoryV2;
  /** Of the group itself first; then of groups nested in it, where counters are local. */
  readonly counters: OomCounter[] = [];
  #notices: FSWatcher | undefined;

  constructor(node: CgroupNode, containerId: string, memory: MemoryV1 | MemoryV2) {
    this.node = node;
    this.containerId = containerId;
    this.memory = memory;
  }

  /** Where another run can go on. */
  get known(): KnownGroup[] {
    return this.counters.flatMap(({ node: { path: memcg, inode }, taken }) =>
      taken === undefined ? [] : { memcg, inode, taken },
    );
  }

  /**
   * Has the kernel tell when memory.events has changed (v2); false where it cannot be asked for that yet: a group has no
   * such file until its parent is given the memory controller, which can be after it was made. `lost`: it tells no more.
   */
  watchEvents(noticed: () => void, lost: () => void): boolean {
    try {
      const notices = watch(join(this.node.dir, 'memory.events'), { persistent: false }, noticed);
      notices.on('error', () => {
        notices.close();
        lost();
      });
      this.#notices = notices;
      return true;
    } catch {
      return false;
    }
  }

  /** A group nested in this one, which was counted by itself, is gone. */
  dropCounterOf(node: CgroupNode): void {
    const index = this.counters.findIndex((counter) => counter.node === node);
    if (index >= 0) this.counters.splice(index, 1)[0]?.close();
  }

  close(): void {
    this.#notices?.close();
    this.memory.close();
    for (const counter of this.counters) counter.close();
  }
}
