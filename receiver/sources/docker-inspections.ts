/** How many calls at once are made by one `Inspections`, and by one `inspectAll`. */
const atOnce = 4;

/** Does `inspect` for each of them, a few at a time. Rejects as soon as one does. */
export async function inspectAll<T>(containers: Iterable<T>, inspect: (container: T) => Promise<void>): Promise<void> {
  const waiting = containers[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (let next = waiting.next(); !next.done; next = waiting.next()) await inspect(next.value);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

/**
 * Containers to inspect as soon as possible, a few at a time, each as often as it was added, but no oftener than needed:
 * one that waits already is not added again. Where more than `mostWaiting` wait the oldest is dropped and told.
 */
export class Inspections {
  readonly #inspect: (id: string) => Promise<void>;
  readonly #mostWaiting: number;
  readonly #dropped: (id: string) => void;
  /** In the order of their arrival. */
  readonly #waiting = new Set<string>();
  #running = 0;

  /** `inspect` must not reject. */
  constructor(inspect: (id: string) => Promise<void>, mostWaiting: number, dropped: (id: string) => void) {
    this.#inspect = inspect;
    this.#mostWaiting = mostWaiting;
    this.#dropped = dropped;
  }

  add(id: string): void {
    this.#waiting.add(id);
    if (this.#running < atOnce) {
      void this.#work();
      return;
    }
    if (this.#waiting.size <= this.#mostWaiting) return;
    const [oldest] = this.#waiting;
    this.#waiting.delete(oldest!);
    this.#dropped(oldest!);
  }

  async #work(): Promise<void> {
    this.#running++;
    for (const id of this.#waiting) {
      this.#waiting.delete(id);
      await this.#inspect(id);
    }
    this.#running--;
  }
}
