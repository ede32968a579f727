import { printable, type OnBadInput } from './bad-input.ts';
import type { DockerEvent, LabelClash } from './docker-event.ts';

/** How far before the last event the next subscription begins: events of one moment can come in any order. */
const overlapMs = 1000;

const mostRecentEvents = 4096;
const mostContainers = 20_000;

/** A container that is not removed, as far as we know. */
export interface RememberedContainer extends LabelClash {
  /** Something of it was emitted; else it is being looked at, to decide whether it concerns us. */
  told: boolean;
  /** When the last `start` that we were told of happened. */
  startedAtMs?: number;
  /** When its present life ended; absent while it runs. */
  endedAtMs?: number;
}

/** What is remembered from one subscription to the next: what was told already. Bounded. */
export class DockerMemory {
  readonly #onBadInput: OnBadInput;
  readonly #containers = new Map<string, RememberedContainer>();
  /** Times of the events that the next subscription may tell again, by their keys. */
  readonly #recent = new Map<string, number>();
  #firstSubscribedAtMs: number | undefined;
  #lastEventAtMs: number | undefined;

  constructor(onBadInput: OnBadInput) {
    this.#onBadInput = onBadInput;
  }

  /** Whether events were asked for before, so that some may come again, and some that were missed. */
  get resumes(): boolean {
    return this.#firstSubscribedAtMs !== undefined;
  }

  /** Before the first subscription: goes on where an earlier run stopped. */
  resume(sinceMs: number, containers: Iterable<{ id: string; startedAtMs?: number; endedAtMs?: number }>): void {
    this.#firstSubscribedAtMs = sinceMs;
    for (const { id, startedAtMs, endedAtMs } of containers) {
      Object.assign(this.add(id), { told: true, startedAtMs, endedAtMs });
    }
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

  /** The ids of all. */
  ids(): Set<string> {
    return new Set(this.#containers.keys());
  }

  get(containerId: string): RememberedContainer | undefined {
    return this.#containers.get(containerId);
  }

  /** Remembers a container; what is known of it already stays. */
  add(containerId: string): RememberedContainer {
    const known = this.#containers.get(containerId);
    if (known !== undefined) return known;
    if (this.#containers.size >= mostContainers) {
      const [oldest] = this.#containers.keys();
      this.#containers.delete(oldest!);
      this.#onBadInput(`more than ${mostContainers} containers`, printable(oldest));
    }
    const container: RememberedContainer = { told: false, deceptive: false, incomplete: false };
    this.#containers.set(containerId, container);
    return container;
  }

  /** False when it was not remembered. */
  delete(containerId: string): boolean {
    return this.#containers.delete(containerId);
  }

  /** Forgets the containers that ended before. */
  forgetEnded(beforeMs: number): void {
    for (const [containerId, { endedAtMs = Infinity }] of this.#containers) {
      if (endedAtMs < beforeMs) this.#containers.delete(containerId);
    }
  }

  #forgetEventsBefore(beforeMs: number): void {
    for (const [key, atMs] of this.#recent) {
      if (atMs >= beforeMs && this.#recent.size <= mostRecentEvents) return;
      this.#recent.delete(key);
    }
  }
}
