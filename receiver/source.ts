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
