import type { Logger, SignalKind } from '../../component.ts';
import { describeError } from '../../errors.ts';
import type { RefusalReason } from './queue.ts';
import type { DropReason } from './telemetry.ts';

/** A destination that fails again within this time after it recovered is flapping: nothing new is said of it. */
const FLAPPING_MS = 60_000;

/** Drops of one kind that are further apart than this are told anew. */
const DROPS_GO_ON_MS = 300_000;

/** Kinds of drops told apart; what comes after them is lumped together. */
const MAX_DROP_KINDS = 32;

/** Drops of one kind: the reason, and the code the destination gave. */
interface Drops {
  lastAtMs: number;
  /** Dropped since they were last told. */
  untoldItems: number;
}

/** Tells how one destination does with one signal: a line when that changes, none per attempt. */
export class DestinationLog {
  readonly #logger: Logger;
  readonly #signal: SignalKind;
  readonly #destination: string;
  readonly #now: () => number;
  #failingSinceMs: number | undefined;
  #failedAttempts = 0;
  #droppedItems = 0;
  #told = false;
  #recoveredAtMs = -Infinity;
  #warned = false;
  readonly #drops = new Map<string, Drops>();

  /** `now` gives milliseconds of a clock that never goes back. */
  constructor(logger: Logger, signal: SignalKind, destination: string, now: () => number = () => performance.now()) {
    this.#logger = logger;
    this.#signal = signal;
    this.#destination = destination;
    this.#now = now;
  }

  /** An attempt failed in a way that another attempt may mend. */
  failed(error: unknown): void {
    const nowMs = this.#now();
    this.#failingSinceMs ??= nowMs;
    this.#failedAttempts++;
    if (this.#told) return;
    const flapping = nowMs - this.#recoveredAtMs < FLAPPING_MS && nowMs - this.#failingSinceMs < FLAPPING_MS;
    if (flapping) return;
    this.#told = true;
    this.#logger.warn('cannot send, will try again', { ...this.#who(), error: describeError(error) });
  }

  /** A request was taken. */
  sent(): void {
    if (this.#failingSinceMs === undefined) return;
    const nowMs = this.#now();
    if (this.#told) {
      this.#recoveredAtMs = nowMs;
      this.#logger.info('sending again', {
        ...this.#who(),
        failed_for_s: Math.round((nowMs - this.#failingSinceMs) / 1000),
        failed_attempts: this.#failedAttempts,
        dropped_items: this.#droppedItems,
      });
    }
    this.#failingSinceMs = undefined;
    this.#failedAttempts = 0;
    this.#droppedItems = 0;
    this.#told = false;
  }

  /** Data was dropped. `code` tells kinds of one reason apart and must not vary with the data. */
  dropped(items: number, reason: DropReason | RefusalReason, code: string, error: unknown): void {
    if (this.#failingSinceMs !== undefined) this.#droppedItems += items;
    const drops = this.#dropsOf(`${reason} ${code}`);
    const nowMs = this.#now();
    const goesOn = nowMs - drops.lastAtMs < DROPS_GO_ON_MS;
    drops.lastAtMs = nowMs;
    drops.untoldItems += items;
    if (goesOn) return;
    const fields = { ...this.#who(), reason, items: drops.untoldItems, error: describeError(error) };
    drops.untoldItems = 0;
    this.#logger.error('dropped data', fields);
  }

  /** The destination took everything and had something to say all the same. */
  warned(message: string): void {
    if (this.#warned) return;
    this.#warned = true;
    this.#logger.warn('the destination warns', { ...this.#who(), message });
  }

  #dropsOf(kind: string): Drops {
    const key = this.#drops.has(kind) || this.#drops.size < MAX_DROP_KINDS ? kind : 'other';
    let drops = this.#drops.get(key);
    if (drops === undefined) {
      drops = { lastAtMs: -Infinity, untoldItems: 0 };
      this.#drops.set(key, drops);
    }
    return drops;
  }

  #who(): Record<string, unknown> {
    return { signal: this.#signal, destination: this.#destination };
  }
}
