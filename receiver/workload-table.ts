import type { Container } from './container-table.ts';
import type { Transition, WorkloadRestarted } from './life.ts';
import { absorb, laterOf, type Instance, type Workload } from './workload.ts';

/** More restarts than this between two instances are a label that no kubelet wrote. */
const mostMissedRestarts = 1_000;

/** A workload and its instances in the table. */
interface Kept {
  readonly key: string;
  workload: Workload;
  readonly instances: Set<Container>;
  /** The instance that stands for all: the one that began last, as long as that is in the table. */
  present: Container;
}

/**
 * The containers of pods by what they are instances of. A kubelet restarts a container by making another one, with
 * another id: what is counted goes on with it. As large as the instances are many.
 */
export class WorkloadTable {
  readonly #kept = new Map<string, Kept>();
  readonly #ofContainer = new WeakMap<Container, Kept>();
  /** Instances that are known to have begun: a second word of one is no restart. */
  readonly #begun = new WeakSet<Container>();

  get size(): number {
    return this.#kept.size;
  }

  /** The container's facts are known, or more of them: it takes over what was counted of the instances before. */
  join(container: Container): void {
    const kept = this.#keep(container);
    if (kept === undefined || container.workload === kept.workload) return;
    absorb(kept.workload, container.workload);
    container.workload = kept.workload;
  }

  /** An earlier run knew it: of the states that its instances were in when they were written down, the last counts. */
  restore(container: Container): void {
    const kept = this.#keep(container);
    if (kept === undefined) return;
    kept.workload = laterOf(kept.workload, container.workload);
    for (const instance of kept.instances) {
      instance.workload = kept.workload;
      if (instance.life === undefined) continue;
      this.#begun.add(instance);
      if (instance.id === kept.workload.newest?.containerId) kept.present = instance;
    }
  }

  /** It is forgotten; with the last of its instances the workload is. */
  leave(container: Container): void {
    const kept = this.#ofContainer.get(container);
    if (kept === undefined) return;
    kept.instances.delete(container);
    const [other] = kept.instances;
    if (other === undefined) this.#kept.delete(kept.key);
    else if (kept.present === container) kept.present = other;
  }

  /** Whether the counters of its workload are told by this instance: those of each once. */
  isPresent(container: Container): boolean {
    const kept = this.#ofContainer.get(container);
    return kept === undefined || kept.present === container;
  }

  /** The instance that stands for all of the container's workload. */
  presentOf(container: Container): Container {
    return this.#ofContainer.get(container)?.present ?? container;
  }

  /**
   * Its life is known, or more of it. Returns the restart that its begin was, where that is news and came after
   * `sinceMs`: what was before is not ours to count.
   */
  turn(container: Container, sinceMs: number): Transition[] {
    const kept = this.#ofContainer.get(container);
    const instance = instanceOf(container);
    if (kept === undefined || instance === undefined) return [];
    const { workload } = kept;
    const { oldest, newest } = workload;
    const beganAtMs = beginOf(instance);
    if (beganAtMs >= sinceMs) workload.firstSeenAtMs = Math.min(workload.firstSeenAtMs, beganAtMs);
    const isNewest = newest === undefined || newest.containerId === container.id;
    const isOldest = oldest === undefined || oldest.containerId === container.id;
    if (isNewest) [workload.newest, kept.present] = [instance, container];
    if (isOldest) workload.oldest = instance;
    if (isNewest || isOldest || this.#begun.has(container)) {
      this.#begun.add(container);
      return [];
    }
    this.#begun.add(container);
    const firstMs = Math.min(workload.firstSeenAtMs, sinceMs);
    return isNewer(instance, newest)
      ? succeed(kept, container, instance, firstMs)
      : precede(kept, container, instance, firstMs);
  }

  #keep(container: Container): Kept | undefined {
    const known = this.#ofContainer.get(container);
    const key = keyOf(container);
    if (known !== undefined || key === undefined) return known;
    let kept = this.#kept.get(key);
    if (kept === undefined) {
      kept = { key, workload: container.workload, instances: new Set(), present: container };
      this.#kept.set(key, kept);
    }
    kept.instances.add(container);
    this.#ofContainer.set(container, kept);
    return kept;
  }
}

/** Whether the container is one of a pod, and it is known which: then its counters outlive it. */
export function hasWorkloadOfPod({ pod, sandbox }: Pick<Container, 'pod' | 'sandbox'>): boolean {
  return pod?.containerName !== undefined && sandbox !== true;
}

/** A pod has its namespace and its name for as long as it has its uid. */
function keyOf(container: Container): string | undefined {
  const { pod } = container;
  return hasWorkloadOfPod(container) ? `${pod!.uid} ${pod!.containerName!}` : undefined;
}

function instanceOf({ id, life, pod }: Container): Instance | undefined {
  if (life === undefined) return undefined;
  const { startedAtMs, endedAtMs } = life;
  return { containerId: id, startedAtMs, endedAtMs, restartCount: pod?.restartCount };
}

/** A later one than all that were known. */
function succeed(kept: Kept, container: Container, instance: Instance, firstMs: number): Transition[] {
  const { workload, instances } = kept;
  const before = workload.newest!;
  workload.newest = instance;
  kept.present = container;
  const startedAtMs = beginOf(instance);
  if (startedAtMs < firstMs) return [];
  const previous = [...instances].find(({ id }) => id === before.containerId);
  return [restarted(container, previous, stepsBetween(before, instance) ?? 1)];
}

/**
 * An earlier one than the newest, told late. Where the kubelet's counts are known, the newest has brought with it the
 * restarts since the oldest one.
 */
function precede(kept: Kept, container: Container, instance: Instance, firstMs: number): Transition[] {
  const { workload, present } = kept;
  const oldest = workload.oldest!;
  const isOldest = isNewer(oldest, instance);
  if (isOldest) workload.oldest = instance;
  const restarts = isOldest ? (stepsBetween(instance, oldest) ?? 1) : instance.restartCount === undefined ? 1 : 0;
  const isOurs = beginOf(isOldest ? oldest : instance) >= firstMs;
  return isOurs && restarts > 0 ? [restarted(present, container, restarts)] : [];
}

function restarted(container: Container, previous: Container | undefined, restarts: number): WorkloadRestarted {
  const life = container.life!;
  const atMs = life.startedAtMs ?? life.endedAtMs ?? 0;
  return { kind: 'workload_restarted', container, atMs, life, previous: previous?.life, restarts };
}

/**
 * The kubelet's count goes up with each instance, but for when it has lost count and begins at 0 again; a clock can be
 * set back.
 */
function isNewer(one: Instance, other: Instance): boolean {
  const steps = stepsBetween(other, one);
  return steps !== undefined || beginOf(one) > beginOf(other);
}

/** How often it was restarted between two instances; undefined where that is not known, or the count has not gone up. */
function stepsBetween({ restartCount: from }: Instance, { restartCount: to }: Instance): number | undefined {
  return from !== undefined && to !== undefined && to > from ? Math.min(to - from, mostMissedRestarts) : undefined;
}

function beginOf({ startedAtMs, endedAtMs }: Instance): number {
  return startedAtMs ?? endedAtMs ?? -Infinity;
}
