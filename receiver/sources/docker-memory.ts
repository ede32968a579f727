import { printable, type OnBadInput } from './bad-input.ts';
import type { DockerEvent, LabelClash } from './docker-event.ts';

/** How far before the last event the next subscription begins: events of one moment can come in any order. */
const overlapMs = 1000;

const mostRecentEvents = 4096;
const mostContainers = 20_000;

/** What is remembered from one subscription to the next: what was told already. Bounded. */
export class DockerMemory {
  readonly #onBadInput: OnBadInput;
  readonly #containers = new Map<string, LabelClash>();
  /** Times of the events that the next subscription may tell again, by their keys. */
  readonly #recent = new Map<string, number>();
  #firstSubscribedAtMs: number | undefined;
  #lastEventAtMs: number | undefined;

  constructor(onBadInput: OnBadInput) {
    this.#onBadInput = onBadInput;
  }

  /** From when on events are asked for: those of the first subscription, later also those that were missed. */
  resumeAtMs(nowMs: number): number {
    this.#firstSubscribedAtMs ??= nowMs;
    const fromMs = Math.max(this.#firstSubscribedAtMs, (this.#lastEventAtMs ?? 0) - overlapMs);
    // The clock was set back. Podman sends no event at all before the time it was asked for.
    return Math.min(fromMs, nowMs);
  }

  /** Notes an event; false when it was noted before. */
  isNew({ key, atMs }: DockerEvent): boolean {
    if (key !== undefined) {
      if (this.#recent.has(key)) return false;
      this.#recent.set(key, atMs);
      this.#forgetEventsBefore(atMs - 2 * overlapMs);
    }
    this.#lastEventAtMs = atMs;
    return true;
  }

  /** The containers that were told and are not removed. */
  containers(): Set<string> {
    return new Set(this.#containers.keys());
  }

  get(containerId: string): LabelClash | undefined {
    return this.#containers.get(containerId);
  }

  /** Remembers a container; what is known of it already stays. */
  add(containerId: string): LabelClash {
    const known = this.#containers.get(containerId);
    if (known !== undefined) return known;
    if (this.#containers.size >= mostContainers) {
      const [oldest] = this.#containers.keys();
      this.#containers.delete(oldest!);
      this.#onBadInput(`more than ${mostContainers} containers`, printable(oldest));
    }
    const clash: LabelClash = { deceptive: false, incomplete: false };
    this.#containers.set(containerId, clash);
    return clash;
  }

  /** False when it was not remembered. */
  delete(containerId: string): boolean {
    return this.#containers.delete(containerId);
  }

  #forgetEventsBefore(beforeMs: number): void {
    for (const [key, atMs] of this.#recent) {
      if (atMs >= beforeMs && this.#recent.size <= mostRecentEvents) return;
      this.#recent.delete(key);
    }
  }
}
