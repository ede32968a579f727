import { setTimeout as sleep } from 'node:timers/promises';
import { GrpcClient } from '../grpc/client.ts';
import type { Emit, RuntimeName } from '../observation.ts';
import type { Source } from '../source.ts';
import type { OnBadInput } from './bad-input.ts';
import { findCriRuntime, type CriRuntime, type CriSearch } from './cri-endpoint.ts';
import { CriMemory } from './cri-memory.ts';
import { PollPace } from './cri-pace.ts';
import { poll } from './cri-poll.ts';

/** How the `cri` source is set up. */
export interface CriSourceOptions extends CriSearch {
  /** How often the runtime is asked where nothing hints at a change. */
  pollIntervalMs: number;
  /** A container that ended longer ago than this when it is first seen is nothing to us. Default: 5 minutes. */
  graceMs?: number;
  /**
   * Whether another source tells what a runtime does. Where no endpoint was asked for, the runtime is not asked as long
   * as that is so. Default: it never is.
   */
  isServed?: (runtime: RuntimeName | undefined) => boolean;
  /** The present time in milliseconds since the epoch. */
  clock?: () => number;
  /** Told of everything that cannot be used, and of what is left out because a bound is reached. */
  onBadInput?: OnBadInput;
}

/** How often it is looked whether the other source still tells. */
const idleCheckMs = 500;

/**
 * The `cri` source: the lifecycle of containers by the Container Runtime Interface, version 1, as CRI-O, containerd and
 * cri-dockerd serve it to the kubelet. Polls, and never asks for GetContainerEvents: containerd 1.7 hands each event to
 * one of its subscribers, so that the kubelet would miss it, and a subscriber that stalls stops containerd 2.1 from
 * making containers.
 *
 * A container of the CRI lives once. All is told as what was found, `container_seen`, so that a source that tells the
 * same begin or end as an event makes no second one of it.
 */
export class CriSource implements Source {
  readonly name = 'cri';
  readonly #options: CriSourceOptions;
  readonly #clock: () => number;
  readonly #onBadInput: OnBadInput;
  readonly #memory: CriMemory;
  readonly #pace: PollPace;
  /** The one that answered first. While it restarts another may answer, but that has other containers. */
  #found: CriRuntime | undefined;

  constructor(options: CriSourceOptions) {
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
    this.#onBadInput = options.onBadInput ?? (() => {});
    this.#memory = new CriMemory(this.#onBadInput);
    this.#pace = new PollPace(options.pollIntervalMs);
  }

  /** Before it observes: tells what an earlier run has missed since, and which of the containers that it knew are gone. */
  resume(sinceMs: number, containerIds: Iterable<string>): void {
    this.#memory.resume(sinceMs, containerIds);
  }

  /** From when on a later run is to tell; undefined where the runtime was not asked. */
  get polledAtMs(): number | undefined {
    return this.#memory.polledAtMs;
  }

  /** Something has happened on this node: asks soon, however many say so. */
  lookAt(): void {
    this.#pace.sign();
  }

  async observe(emit: Emit, up: () => void, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    // Calls under way end with the subscription, whatever was the end of it.
    const ended = new AbortController();
    const end = (): void => ended.abort();
    signal.addEventListener('abort', end, { once: true });
    try {
      await this.#observe(emit, up, ended.signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      signal.removeEventListener('abort', end);
      end();
    }
  }

  async #observe(emit: Emit, up: () => void, signal: AbortSignal): Promise<void> {
    const { endpoint, timeoutMs, graceMs = 300_000 } = this.#options;
    const search = { ...this.#options, endpoint: this.#found?.socket ?? endpoint };
    this.#found = await findCriRuntime(search, signal);
    const { socket, runtime } = this.#found;
    const client = new GrpcClient(socket);
    const [memory, clock, onBadInput] = [this.#memory, this.#clock, this.#onBadInput];
    const settings = { client, runtime, memory, timeoutMs, graceMs, clock, onBadInput, emit, signal };
    try {
      for (let polls = 0; !signal.aborted; polls++) {
        await this.#whileServed(runtime, polls === 0 ? up : () => {}, signal);
        await this.#pace.time(() => poll(settings));
        if (polls === 0) up();
        await this.#pace.untilDue(signal);
      }
    } finally {
      client.close();
    }
  }

  /** Does nothing as long as another source tells the same. */
  async #whileServed(runtime: RuntimeName | undefined, up: () => void, signal: AbortSignal): Promise<void> {
    const { endpoint, isServed } = this.#options;
    const isIdle = (): boolean => endpoint === undefined && isServed?.(runtime) === true;
    if (!isIdle()) return;
    up();
    while (isIdle()) await sleep(idleCheckMs, undefined, { signal });
    this.#memory.resume(this.#clock(), []);
  }
}
