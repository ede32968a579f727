import type { Container } from './container-table.ts';
import type { Life } from './life.ts';
import type { Workload } from './workload.ts';

/** When counters began, in milliseconds since the epoch. */
interface ContainerStarts {
  /** What we count ourselves. */
  workloadMs: number;
  /** What the kernel counts in the container's memory cgroup; absent until that was read. */
  memcgMs?: number;
}

interface Known {
  memcgMs?: number;
  /** What `memcgMs` was made of. */
  memcgSinceMs?: number;
  life?: Life;
}

/**
 * Start times of the cumulative series, as they were sent first: to whoever reads them, a start that moves says that
 * the counter began anew, and one that lies after its point is an error (OTLP's metrics.proto). So they move only when
 * the counter does begin anew, and where the clock was set back to before them.
 */
export class StartTimes {
  readonly #ofWorkloads = new WeakMap<Workload, number>();
  readonly #ofMemcgs = new WeakMap<Container, Known>();
  #bootedAtMs = Infinity;
  #startedAtMs = Infinity;

  /** For points of `nowMs`. `isMemoryRead`: the kernel's own counters are among them. */
  ofContainer(container: Container, isMemoryRead: boolean, nowMs: number): ContainerStarts {
    const { memcgSinceMs, life } = container;
    const workloadMs = this.#ofWorkload(container.workload, nowMs);
    let known = this.#ofMemcgs.get(container);
    if (known === undefined) this.#ofMemcgs.set(container, (known = {}));
    if (isMemoryRead) {
      known.memcgMs = Math.min(newStartOfMemcg(container, known) ?? known.memcgMs!, nowMs);
      known.memcgSinceMs = memcgSinceMs ?? known.memcgSinceMs;
      known.life = life;
    }
    return { workloadMs, memcgMs: known.memcgMs };
  }

  #ofWorkload(workload: Workload, nowMs: number): number {
    const startMs = Math.min(this.#ofWorkloads.get(workload) ?? workload.firstSeenAtMs, nowMs);
    this.#ofWorkloads.set(workload, startMs);
    return startMs;
  }

  /** Of the machine and of this process. */
  ofNode(bootedAtMs: number, startedAtMs: number, nowMs: number): { bootedAtMs: number; startedAtMs: number } {
    this.#bootedAtMs = Math.min(this.#bootedAtMs, bootedAtMs, nowMs);
    this.#startedAtMs = Math.min(this.#startedAtMs, startedAtMs, nowMs);
    return { bootedAtMs: this.#bootedAtMs, startedAtMs: this.#startedAtMs };
  }
}

/**
 * Undefined where the counters go on. Where we did not see the group being made, they began with the container's life;
 * to learn of that life only after they were sent first is no new beginning.
 */
function newStartOfMemcg({ memcgSinceMs, life, firstSeenAtMs }: Container, known: Known): number | undefined {
  if (known.memcgMs === undefined) return memcgSinceMs ?? life?.startedAtMs ?? firstSeenAtMs;
  if (memcgSinceMs !== undefined) return memcgSinceMs === known.memcgSinceMs ? undefined : memcgSinceMs;
  return known.life === undefined || life === known.life ? undefined : life?.startedAtMs;
}
