import type { Case } from './case.ts';
import { idOfNamed } from './incident-id.ts';
import type { NodeOomKill } from './incident.ts';
import type { Instant } from './instant.ts';
import type { Ledger } from './ledger.ts';
import type { VictimLogged } from './observation.ts';
import { scopeOfNamed } from './oom-kills.ts';
import { Strays } from './strays.ts';
import type { WaitingCases } from './waiting-cases.ts';

/** What the log names of a kill that was told without it comes no later. */
const straysComeWithinMs = 5_000;

/** Victims that the log named without their group: gives them to the container whose they must be, or to none. */
export class UnclaimedVictims {
  readonly #strays: Strays;
  readonly #ledger: Ledger;
  readonly #waiting: WaitingCases;
  /** When a kill was told last that the log should have named, by the monotonic clock. */
  #unnamedAtMs = -Infinity;

  constructor(settleMs: number, ledger: Ledger, waiting: WaitingCases) {
    this.#strays = new Strays(settleMs);
    this.#ledger = ledger;
    this.#waiting = waiting;
  }

  get all(): VictimLogged[] {
    return this.#strays.all;
  }

  /** When `settle` has something to do next, if ever, by the monotonic clock. */
  get dueAtMs(): number | undefined {
    return this.#strays.dueAtMs;
  }

  /** False where there is no place. */
  add(logged: VictimLogged, now: Instant): boolean {
    return this.#strays.add(logged, now);
  }

  /** A kill was told that the log should have named: one of them may be its victim. */
  noteUnnamed({ monotonicMs }: Instant): void {
    // Where the machine's kills are counted, those that are left over tell which strays are told.
    if (this.#ledger.total === undefined) this.#strays.dropOldest();
    this.#unnamedAtMs = monotonicMs;
  }

  /**
   * Where only one container has kills that nobody named, they are those of the victims whose group nobody named: once
   * all kills of the machine are found in some counter, or the container's can wait no longer. Not while some can be
   * those of kills that were told unnamed. Returns its case.
   */
  assign({ monotonicMs }: Instant): Case | undefined {
    if (this.#strays.dueAtMs === undefined || monotonicMs - this.#unnamedAtMs < straysComeWithinMs) return undefined;
    const [open, ...others] = this.#waiting.unnamed;
    if (open === undefined || others.length > 0) return undefined;
    if (!this.#ledger.isBalanced && (open.dueAtMs ?? Infinity) > monotonicMs) return undefined;
    open.named.push(...this.#strays.takeFor(open));
    return open;
  }

  /** A victim of whom no counter tells lived outside of containers, or in one that is gone with its counter. */
  settle(now: Instant): NodeOomKill[] {
    if (this.#waiting.unnamed.length > 0 && now.monotonicMs !== Infinity) this.#strays.putOff(now);
    // Where the machine has counted no kill that is not told yet, this one is told already.
    const untold = this.#strays
      .takeDue(now)
      .filter(() => this.#ledger.total === undefined || this.#ledger.takeOne(-Infinity, Infinity));
    return untold.map((logged) => tellOutside(logged, now));
  }
}

/** The record of a victim that lived in no container we know of. */
export function tellOutside(named: VictimLogged, now: Instant): NodeOomKill {
  return {
    kind: 'node_oom_kill',
    atMs: named.atMs,
    observedAtMs: now.wallMs,
    incidentId: idOfNamed(named),
    scope: scopeOfNamed(named),
    named,
  };
}
