import { setTimeout as sleep } from 'node:timers/promises';
import type { Emit } from './observation.ts';

/** One witness of what happens on the node. It reports and never judges. */
export interface Source {
  /** As in the configuration and in the `source` attribute of self-telemetry. */
  readonly name: string;

  /**
   * Runs one subscription: subscribes first, then lists what exists, so that nothing falls between. Calls `up` once
   * both are done. Resolves when `signal` is aborted; rejects when the connection breaks, and leaves nothing open.
   * Called again after a rejection, it makes up for what it missed as far as its peer remembers.
   */
  observe(emit: Emit, up: () => void, signal: AbortSignal): Promise<void>;

  /**
   * Another source saw a sign of a kill in this container: read what you have of it now. Cheap, synchronous, and
   * without effect where the source has nothing to look at.
   */
  lookAt?(containerId: string): void;
}

/** There is nothing on this node for a source to observe, and nobody asked for it: no fault, and it is looked for again. */
export class NothingToObserveError extends Error {
  override readonly name = 'NothingToObserveError';
}

/**
 * Runs one subscription with a signal of its own, which is aborted when it is over: whatever was the end of it, nothing
 * that belongs to it goes on. Resolves where `signal` was aborted, else rejects as `run` does.
 */
export async function runSubscription(signal: AbortSignal, run: (signal: AbortSignal) => Promise<void>): Promise<void> {
  if (signal.aborted) return;
  const ended = new AbortController();
  const end = (): void => ended.abort();
  signal.addEventListener('abort', end, { once: true });
  try {
    await run(ended.signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener('abort', end);
    end();
  }
}

/** Told when a source begins to work, and each time it fails. */
export interface SourceWatcher {
  up(): void;
  down(error: unknown): void;
}

const firstDelayMs = 100;
const longestDelayMs = 10_000;

/** What comes back is noticed within a fifth of the time for which it was away: what a peer tells again it does not tell for long. */
const delayGrowth = 1.2;

/**
 * Observes until `signal` is aborted: whenever the subscription breaks, subscribes again, after a delay that grows
 * from 100 ms to 10 s and begins anew once a subscription has worked. The only retry loop of the sources. Never
 * rejects.
 */
export async function keepObserving(
  source: Source,
  emit: Emit,
  watcher: SourceWatcher,
  signal: AbortSignal,
): Promise<void> {
  let delayMs = firstDelayMs;
  const up = (): void => {
    delayMs = firstDelayMs;
    watcher.up();
  };
  while (!signal.aborted) {
    try {
      await source.observe(emit, up, signal);
    } catch (error) {
      if (!signal.aborted) watcher.down(error);
    }
    await sleep(delayMs, undefined, { signal }).catch(() => undefined);
    delayMs = Math.min(delayMs * delayGrowth, longestDelayMs);
  }
}

/**
 * Emits, and notes meanwhile that somebody takes what a source tells: who takes it may ask the source for more at once,
 * which must neither begin in the midst of a reading nor go one call deeper for each thing told.
 */
export function notingTelling(emit: Emit, note: (isTelling: boolean) => void): Emit {
  return (observation) => {
    note(true);
    try {
      emit(observation);
    } finally {
      note(false);
    }
  };
}
