import type { Case } from './case.ts';
import type { Container } from './container-table.ts';
import type { Instant } from './instant.ts';
import { countUnnamed, lacksMainProcess } from './oom-kills.ts';

/**
 * How long a kill waits for the runtime to tell which process is the container's main one, or that it ended: a busy
 * Docker is seconds late. Without either, nobody could look whether it was spared.
 */
const mainProcessToldWithinMs = 5_000;

/** One kill after the other must not put off the first for longer. */
const mostWaitMs = 5_000;

/** A look at the main process comes no later after kills that are due. */
const lookComesWithinMs = 3_000;

/** What is found at the start waits this long for the witnesses that begin later: each gives up on its own before. */
const mostBeginMs = 10_000;

/** A container that a working runtime has not told of for so long is none of its own. */
const othersAfterMs = 60_000;

/** Which witnesses can be expected to speak now. */
export interface Witnesses {
  /** A runtime that tells of containers. */
  isRuntimeUp(): boolean;
  /** The kernel log, which names each victim. */
  isKernelLogUp(): boolean;
  /** One of them is about to begin: what it saw of the time before is not told yet. */
  isBeginning(): boolean;
}

/** The cases in which something is open, also of lives that were followed by another, and when each is judged on what there is. */
export class WaitingCases {
  readonly #settleMs: number;
  readonly #witnesses: Witnesses;
  readonly #waiting = new Set<Case>();
  /** When the first case began to wait for a witness to begin, by the monotonic clock. */
  #heldSinceMs: number | undefined;

  constructor(settleMs: number, witnesses: Witnesses) {
    this.#settleMs = settleMs;
    this.#witnesses = witnesses;
  }

  /** Those of one container. */
  of(container: Container): Case[] {
    return [...this.#waiting].filter((open) => open.container === container);
  }

  get all(): Case[] {
    return [...this.#waiting];
  }

  /** Those with kills that nobody named. */
  get unnamed(): Case[] {
    return [...this.#waiting].filter((open) => countUnnamed(open) > 0);
  }

  /** When the first of them is due, if any is, by the monotonic clock. */
  get dueAtMs(): number | undefined {
    const due = [...this.#waiting].flatMap(({ dueAtMs }) => dueAtMs ?? []);
    return due.length === 0 ? undefined : Math.min(...due);
  }

  /** Those that have waited long enough. Containers that the runtime called out of memory have the first claim. */
  takeDue(now: Instant): Case[] {
    return [...this.#waiting]
      .filter(({ dueAtMs }) => dueAtMs !== undefined && dueAtMs <= now.monotonicMs)
      .filter((open) => !this.#waitsForBeginning(open, now) && !this.#waitsForLook(open, now))
      .toSorted((a, b) => Number(b.hintedAtMs !== undefined) - Number(a.hintedAtMs !== undefined));
  }

  /** Something of it is open; it is due after the settle time, or when it was due before. */
  add(open: Case, { monotonicMs }: Instant): void {
    this.#add(open, monotonicMs + this.#settleMs);
  }

  /** A kill of it is open, which may wait longer for the runtime; one after the other must not put off the first. */
  awaitKills(open: Case, now: Instant): void {
    const awaitsRuntime = this.expectsRuntime(open, now);
    const waitMs = awaitsRuntime ? Math.max(this.#settleMs, mainProcessToldWithinMs) : this.#settleMs;
    open.killsDueByMs ??= now.monotonicMs + Math.max(waitMs, Math.min(2 * waitMs, mostWaitMs));
    open.dueAtMs = undefined;
    this.#add(open, Math.min(now.monotonicMs + waitMs, open.killsDueByMs));
  }

  /** Nothing of it is open any more. */
  remove(open: Case): void {
    open.dueAtMs = undefined;
    this.#waiting.delete(open);
  }

  /** Whether the runtime is still to tell of this life, which brings the container's name, or of its main process. */
  expectsRuntime({ container, life, group, mainPid }: Case, { wallMs }: Instant): boolean {
    const isRunning = life !== undefined && life.endedAtMs === undefined;
    const mayTell = isRunning || this.#witnesses.isRuntimeUp();
    const isTold = isRunning && (life.pid ?? mainPid) !== undefined;
    const groupSinceMs = group?.fresh === true ? group.atMs : 0;
    const sinceMs = Math.max(container.life?.startedAtMs ?? 0, groupSinceMs, container.firstSeenAtMs);
    return mayTell && !isTold && wallMs - sinceMs < othersAfterMs;
  }

  #add(open: Case, untilMs: number): void {
    open.dueAtMs = Math.min(open.dueAtMs ?? Infinity, untilMs);
    this.#waiting.add(open);
  }

  #waitsForBeginning(open: Case, { monotonicMs }: Instant): boolean {
    if (!this.#witnesses.isBeginning()) return false;
    this.#heldSinceMs ??= monotonicMs;
    if (monotonicMs - this.#heldSinceMs >= mostBeginMs) return false;
    open.dueAtMs = monotonicMs + this.#settleMs;
    return true;
  }

  /** Where no runtime tells of it, only a look at the main process does, and on a busy node that comes late. */
  #waitsForLook(open: Case, { monotonicMs }: Instant): boolean {
    const { life, mainPid, killsDueByMs = -Infinity } = open;
    if (life !== undefined || mainPid === undefined || !lacksMainProcess(open)) return false;
    if (killsDueByMs + lookComesWithinMs <= monotonicMs) return false;
    open.dueAtMs = Math.min(killsDueByMs + lookComesWithinMs, monotonicMs + this.#settleMs);
    return true;
  }
}
