import { isRunning, type Container, type ContainerTable } from './container-table.ts';
import type { ContainerRestart, CrashLoop, ExitCause, Incident } from './incident.ts';
import type { Instant } from './instant.ts';
import type { Workload } from './workload.ts';

/** What makes restarts a crash loop. */
export interface CrashLoopThreshold {
  /** So many of them within the window. */
  restarts: number;
  windowMs: number;
}

/**
 * The kubelet starts a container again at once, then after 10 s, 20 s and so on to 5 minutes: three restarts are there
 * after half a minute. Those of a loop that goes on since long are 5 minutes apart: a window of 15 minutes shows it, too.
 */
export const defaultThreshold: CrashLoopThreshold = { restarts: 3, windowMs: 900_000 };

/** The kubelet's back-off begins anew for a container that has run for so long: twice the longest back-off. */
const endsAfterRunningForMs = 600_000;

/** How often an open loop is looked at for its end. */
const looksEveryMs = 10_000;

/** What is known of a workload's restarts, as far as they may be a loop. */
export interface CrashLoopState {
  /** The latest restarts, no more than the threshold. */
  restartsAtMs: number[];
  /** When the loop that is told and has not ended began, and its restarts so far. */
  open?: { sinceMs: number; restarts: number };
}

/** Tells when the restarts of a workload become a crash loop, once, and when that has ended. */
export class CrashLoops {
  readonly #table: ContainerTable;
  readonly #threshold: CrashLoopThreshold;
  /** Those that are open, each with the instance that was there last. */
  readonly #open = new Map<Workload, Container>();
  readonly #lastCause = new WeakMap<Workload, ExitCause>();
  /** By the monotonic clock. */
  #looksAtMs = Infinity;

  constructor(table: ContainerTable, threshold: CrashLoopThreshold) {
    this.#table = table;
    this.#threshold = threshold;
  }

  /** What is about to be told; returns what that means. */
  take(incidents: readonly Incident[], now: Instant): CrashLoop[] {
    return incidents.flatMap((incident) => {
      if (incident.kind === 'exit') this.#lastCause.set(incident.container.workload, incident.cause);
      return incident.kind === 'restart' ? this.#countRestart(incident, now) : [];
    });
  }

  /** An earlier run has told that its loop began. */
  resume(container: Container, { monotonicMs }: Instant): void {
    if (container.workload.crashLoop?.open === undefined) return;
    this.#open.set(container.workload, container);
    this.#looksAtMs = Math.min(this.#looksAtMs, monotonicMs + looksEveryMs);
  }

  /** Tells which loops have ended. */
  settle(now: Instant): CrashLoop[] {
    if (this.#looksAtMs > now.monotonicMs) return [];
    const ended = Array.from(this.#open, ([workload, last]) => this.#judge(workload, last, now));
    this.#looksAtMs = this.#open.size === 0 ? Infinity : now.monotonicMs + looksEveryMs;
    return ended.filter((end) => end !== undefined);
  }

  /** When `settle` has something to do next, if ever, by the monotonic clock. */
  get dueAtMs(): number | undefined {
    return this.#looksAtMs === Infinity ? undefined : this.#looksAtMs;
  }

  #countRestart(
    { container, atMs, observedAtMs, previous, restarts = 1 }: ContainerRestart,
    now: Instant,
  ): CrashLoop[] {
    const { workload } = container;
    // Somebody asked for it, who is not the kubelet.
    if (container.pod === undefined && this.#lastCause.get(workload) === 'stopped') return [];
    const sinceMs = atMs - this.#threshold.windowMs;
    const loop = (workload.crashLoop ??= { restartsAtMs: [] });
    // Of those that nobody saw it is only known that they came after the life before.
    const recent = (previous?.endedAtMs ?? -Infinity) >= sinceMs ? Math.min(restarts, this.#threshold.restarts) : 1;
    const kept = loop.restartsAtMs.filter((restartedAtMs) => restartedAtMs >= sinceMs && restartedAtMs <= atMs);
    loop.restartsAtMs = [...kept, ...Array<number>(recent).fill(atMs)].slice(-this.#threshold.restarts);
    if (loop.open !== undefined) {
      loop.open.restarts += restarts;
      this.#open.set(workload, container);
      return [];
    }
    if (loop.restartsAtMs.length < this.#threshold.restarts) return [];
    loop.open = { sinceMs: loop.restartsAtMs[0]!, restarts: Math.max(restarts, loop.restartsAtMs.length) };
    this.#open.set(workload, container);
    this.#looksAtMs = Math.min(this.#looksAtMs, now.monotonicMs + looksEveryMs);
    return [{ kind: 'crash_loop', container, atMs, observedAtMs, state: 'begun', ...loop.open }];
  }

  #judge(workload: Workload, last: Container, { wallMs }: Instant): CrashLoop | undefined {
    const container = this.#table.tellerOf(last);
    const { life, removed, goneAtMs } = container;
    const open = workload.crashLoop?.open;
    const isGone = removed === true || this.#table.get(container.id) !== container;
    const stableAtMs = isRunning(container) ? (life?.startedAtMs ?? wallMs) + endsAfterRunningForMs : Infinity;
    if (open !== undefined && !isGone && stableAtMs > wallMs) return undefined;
    this.#open.delete(workload);
    workload.crashLoop = undefined;
    if (open === undefined) return undefined;
    const atMs = isGone ? (goneAtMs ?? wallMs) : stableAtMs;
    const state = isGone ? 'gone' : 'ended';
    return { kind: 'crash_loop', container, atMs, observedAtMs: wallMs, state, ...open };
  }
}
