import { identifyMemcg } from './cgroup/identity.ts';
import type { ContainerTable } from './container-table.ts';

/** Where the memory cgroups of the containers in the table are, or were. */
export class GroupPlaces {
  readonly #table: ContainerTable;
  readonly #memcgs = new Map<string, string>();

  constructor(table: ContainerTable) {
    this.#table = table;
  }

  /** A container's group was seen, or the kernel log named it. */
  learn(containerId: string, memcg: string): void {
    this.#memcgs.set(containerId, memcg);
    if (this.#memcgs.size <= 2 * this.#table.size + 100) return;
    for (const id of this.#memcgs.keys()) if (this.#table.get(id) === undefined) this.#memcgs.delete(id);
  }

  of(containerId: string): string | undefined {
    return this.#memcgs.get(containerId);
  }

  /** Uid of the pod in which all of these containers are; undefined where they are of several, or of none. */
  podOf(containerIds: readonly string[]): string | undefined {
    const pods = new Set(containerIds.map((id) => identifyMemcg(this.#memcgs.get(id) ?? '').podUid));
    return pods.size === 1 ? [...pods][0] : undefined;
  }
}

/** Whether a group lies in another one. The kernel log's paths can begin further out than those of the hierarchy that we see. */
export function isBelow(memcg: string, group: string): boolean {
  return memcg.length > group.length && `${memcg}/`.includes(`${group}/`);
}
