import { countUnnamed } from './oom-kills.ts';
import type { Case } from './case.ts';
import type { Instant } from './instant.ts';
import type { VictimLogged } from './observation.ts';

/** More than this find no place: the log is forged, or the machine is past help. */
const mostStrays = 1_000;

/** They wait no longer for a counter that explains them: the machine's own count of them is given up soon after. */
const mostWaitMs = 4_000;

/** Times of the log and of a counter's reading are this exact. */
const clockGrainMs = 50;

interface Stray {
  logged: VictimLogged;
  dueAtMs: number;
  mostDueAtMs: number;
}

/** Victims whom the kernel log names without their group: it held the report back that tells where they lived. */
export class Strays {
  readonly #settleMs: number;
  /** Oldest first. */
  #waiting: Stray[] = [];

  constructor(settleMs: number) {
    this.#settleMs = settleMs;
  }

  get all(): VictimLogged[] {
    return this.#waiting.map(({ logged }) => logged);
  }

  /** When `takeDue` has something to give next, if ever, by the monotonic clock. */
  get dueAtMs(): number | undefined {
    return this.#waiting.length === 0 ? undefined : Math.min(...this.#waiting.map(({ dueAtMs }) => dueAtMs));
  }

  /** False where there is no place. */
  add(logged: VictimLogged, { monotonicMs }: Instant): boolean {
    if (this.#waiting.length >= mostStrays) return false;
    this.#waiting.push({ logged, dueAtMs: monotonicMs + this.#settleMs, mostDueAtMs: monotonicMs + mostWaitMs });
    return true;
  }

  /** Those that a case's unnamed kills can be of. None where they are more than those kills: who it was is open then. */
  takeFor(open: Case): VictimLogged[] {
    const lastAtMs = Math.max(...open.counted.map(({ atMs }) => atMs)) + clockGrainMs;
    const fitting = this.#waiting.filter(({ logged }) => logged.atMs <= lastAtMs);
    if (fitting.length > countUnnamed(open)) return [];
    this.#waiting = this.#waiting.filter((stray) => !fitting.includes(stray));
    return fitting.map(({ logged }) => logged);
  }

  /** A kill was told that one of them is of, whoever it is. */
  dropOldest(): void {
    this.#waiting.shift();
  }

  /** A counter may still explain them. */
  putOff({ monotonicMs }: Instant): void {
    for (const stray of this.#waiting) {
      stray.dueAtMs = Math.min(Math.max(stray.dueAtMs, monotonicMs + this.#settleMs), stray.mostDueAtMs);
    }
  }

  /** Those that have waited long enough. */
  takeDue({ monotonicMs }: Instant): VictimLogged[] {
    const due = this.#waiting.filter(({ dueAtMs }) => dueAtMs <= monotonicMs);
    this.#waiting = this.#waiting.filter(({ dueAtMs }) => dueAtMs > monotonicMs);
    return due.map(({ logged }) => logged);
  }
}
