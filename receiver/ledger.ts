import type { Instant } from './instant.ts';

/** How long a rise waits for the kill that explains it, which may itself wait 5 s for its evidence. */
const openForMs = 8_000;

/**
 * How long one that is accounted for waits until the total shows it. A kill that was in the first total raises it no
 * more: it must not be taken for a later one.
 */
const aheadForMs = 5_000;

/** A rise of the total, by the clocks of when it was read. */
interface Rise extends Instant {
  kills: number;
}

/** What a ledger knows, for a later run to go on with. */
export interface LedgerState {
  /** Of this boot; absent where it was never read. */
  total?: number;
  unattributed: number;
  ahead: number;
  open: readonly { wallMs: number; kills: number }[];
}

/**
 * What the kernel has counted on this machine (`oom_kill` of /proc/vmstat) against what was accounted for container
 * by container. A rise that nobody explains within `openForMs` is unattributed, for good.
 *
 * Both sides are in the kernel's raw counts, in which a `memory.oom.group` kill counts its first victim twice.
 */
export class Ledger {
  #total: number | undefined;
  /** Rises of the total that nothing has explained yet, oldest first. */
  #open: Rise[] = [];
  /** Kills accounted for before the total showed them: the two are read one after the other. */
  #ahead = 0;
  /** By the monotonic clock. */
  #aheadUntilMs = Infinity;
  #unattributed = 0;

  /** The kernel's count since boot; undefined until it was read. */
  get total(): number | undefined {
    return this.#total;
  }

  /** Kills since we started that nothing explained in time. Never falls. */
  get unattributed(): number {
    return this.#unattributed;
  }

  /** Whether all kills that the kernel has counted are accounted for, and no others. */
  get isBalanced(): boolean {
    return this.#total !== undefined && this.#open.length === 0 && this.#ahead === 0;
  }

  /** Kills that the kernel has counted and that nothing has explained yet. */
  get openKills(): number {
    return this.#open.reduce((sum, { kills }) => sum + kills, 0);
  }

  /** What is known now. */
  get state(): LedgerState {
    const open = this.#open.map(({ wallMs, kills }) => ({ wallMs, kills }));
    return { total: this.#total, unattributed: this.#unattributed, ahead: this.#ahead, open };
  }

  /** Before the first count: goes on where an earlier run stopped. */
  resume({ total, unattributed, ahead, open }: LedgerState, { monotonicMs }: Instant): void {
    this.#total = total;
    this.#unattributed = unattributed;
    this.#ahead = ahead;
    this.#aheadUntilMs = monotonicMs + aheadForMs;
    this.#open = open.map((rise) => ({ ...rise, monotonicMs }));
  }

  /** The kernel's total was read. Its first value is where we begin. */
  count(total: number, now: Instant): void {
    let rise = total - (this.#total ?? total);
    this.#total = total;
    this.#forgetAhead(now);
    const explained = Math.min(rise, this.#ahead);
    this.#ahead -= explained;
    rise -= explained;
    if (rise > 0) this.#open.push({ ...now, kills: rise });
  }

  /** So many kills were found in a container's own counter. */
  account(kills: number, now: Instant): void {
    const ahead = kills - this.#take(kills, () => true);
    if (this.#total === undefined || ahead === 0) return;
    this.#forgetAhead(now);
    this.#ahead += ahead;
    this.#aheadUntilMs = now.monotonicMs + aheadForMs;
  }

  /** So many kills that were accounted for are to be accounted for anew: for another container. */
  reopen(kills: number, now: Instant): void {
    if (this.#total === undefined) return;
    const ahead = Math.min(kills, this.#ahead);
    this.#ahead -= ahead;
    if (kills > ahead) this.#open.push({ wallMs: now.wallMs, monotonicMs: now.monotonicMs, kills: kills - ahead });
  }

  /**
   * Takes one kill that nothing has explained yet and that was counted between two moments of the wall clock, for a
   * container whose own counter is lost. False if there is none.
   */
  takeOne(fromMs: number, toMs: number): boolean {
    return this.#take(1, ({ wallMs }) => wallMs >= fromMs && wallMs <= toMs) === 1;
  }

  /** Gives up on rises that nobody explained in time. */
  settle(now: Instant): void {
    const { monotonicMs } = now;
    this.#forgetAhead(now);
    const expired = this.#open.filter((rise) => rise.monotonicMs + openForMs <= monotonicMs);
    this.#open = this.#open.filter((rise) => rise.monotonicMs + openForMs > monotonicMs);
    for (const { kills } of expired) this.#unattributed += kills;
  }

  /** When `settle` has something to do next, if ever, by the monotonic clock. */
  get dueAtMs(): number | undefined {
    const dueAtMs = Math.min(
      (this.#open[0]?.monotonicMs ?? Infinity) + openForMs,
      this.#ahead > 0 ? this.#aheadUntilMs : Infinity,
    );
    return dueAtMs === Infinity ? undefined : dueAtMs;
  }

  #forgetAhead({ monotonicMs }: Instant): void {
    // At a stop there is time left: a later run goes on with it.
    if (monotonicMs !== Infinity && monotonicMs >= this.#aheadUntilMs) this.#ahead = 0;
  }

  /** From the latest rise backwards: an earlier one that nobody explained must not be kept open by later kills. */
  #take(kills: number, fits: (rise: Rise) => boolean): number {
    let taken = 0;
    for (const rise of this.#open.filter(fits).toReversed()) {
      const part = Math.min(kills - taken, rise.kills);
      taken += part;
      rise.kills -= part;
    }
    this.#open = this.#open.filter((rise) => rise.kills > 0);
    return taken;
  }
}
