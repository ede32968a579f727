import type { Logger, SignalKind } from '../../component.ts';
import { describeError } from '../../errors.ts';
import { ITEM_NAMES } from './telemetry.ts';

/** Errors that are told; what drops data at a shutdown is mostly one thing. */
const MOST_ERRORS = 3;

/** What one exporter drops while it shuts down. It is told when that is over, in one line with all of it. */
export class ShutdownDrops {
  #isOpen = false;
  readonly #items = new Map<SignalKind, number>();
  readonly #errors = new Set<string>();

  /** Whether the exporter shuts down: what it drops is gathered here, rather than told one by one. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The shutdown begins. */
  begin(): void {
    this.#isOpen = true;
  }

  add(kind: SignalKind, items: number, error: unknown): void {
    this.#items.set(kind, (this.#items.get(kind) ?? 0) + items);
    if (this.#errors.size < MOST_ERRORS) this.#errors.add(describeError(error));
  }

  /** The shutdown is over: logs what was dropped, if anything was. */
  tell(logger: Logger): void {
    this.#isOpen = false;
    if (this.#items.size === 0) return;
    const dropped = Array.from(this.#items, ([kind, items]) => [ITEM_NAMES[kind], items]);
    logger.error('dropped data at shutdown', {
      ...Object.fromEntries(dropped),
      error: [...this.#errors].join('; '),
    });
    this.#items.clear();
    this.#errors.clear();
  }
}
