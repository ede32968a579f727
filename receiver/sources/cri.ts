import { setTimeout as sleep } from 'node:timers/promises';
import { GrpcClient } from '../grpc/client.ts';
import type { Emit, RuntimeName } from '../observation.ts';
import { runSubscription, type Source } from '../source.ts';
import type { OnBadInput } from './bad-input.ts';
import { findCriRuntime } from './cri-endpoint.ts';
import { CriMemory, type ResumedContainer } from './cri-memory.ts';
import { PollPace } from './cri-pace.ts';
import { poll } from './cri-poll.ts';
import { unreachableError, type SocketSearch } from './runtime-sockets.ts';

/** How the `cri` source is set up. */
export interface CriSourceOptions extends SocketSearch {
  /** For one call. */
  timeoutMs: number;
  /** How often the runtime is asked where nothing hints at a change. */
  pollIntervalMs: number;
  /** A container that ended longer ago than this when it is first seen is nothing to us. Default: 5 minutes. */
  graceMs?: number;
  /**
   * Whether another source tells what the runtime at this socket does; undefined: it may do so in a moment. Where no
   * endpoint was asked for, the runtime is not asked until that is false. Default: it always is.
   */
  isServed?: (runtime: RuntimeName | undefined, socket: string) => boolean | undefined;
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
  #socket: string | undefined;

  constructor(options: CriSourceOptions) {
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
    this.#onBadInput = options.onBadInput ?? (() => {});
    this.#memory = new CriMemory(this.#onBadInput);
    this.#pace = new PollPace(options.pollIntervalMs);
  }

  /** Before it observes: tells what an earlier run has missed since, and which of the containers that it knew are gone. */
  resume(sinceMs: number, containers: Iterable<ResumedContainer>): void {
    this.#memory.resume(sinceMs, containers);
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
    await runSubscription(signal, (ended) => this.#observe(emit, up, ended));
  }

  async #observe(emit: Emit, up: () => void, signal: AbortSignal): Promise<void> {
    const { hostRoot, timeoutMs, graceMs = 300_000 } = this.#options;
    const endpoint = this.#socket ?? this.#options.endpoint;
    const found = await findCriRuntime({ hostRoot, endpoint }, timeoutMs, signal);
    if (!found.reachable) throw unreachableError(found, endpoint !== undefined);
    const { runtime } = found.answer;
    const socket = (this.#socket = found.socket);
    const isServed = (): boolean | undefined => this.#isServed(runtime, socket);
    const client = new GrpcClient(socket);
    const [memory, clock, onBadInput] = [this.#memory, this.#clock, this.#onBadInput];
    const settings = { client, runtime, memory, timeoutMs, graceMs, clock, onBadInput, emit, signal };
    try {
      for (let polls = 0; !signal.aborted; polls++) {
        await this.#whileServed(isServed, polls === 0 ? up : () => {}, signal);
        await this.#pace.time(() => poll(settings));
        if (polls === 0) up();
        await this.#pace.untilDue(signal);
      }
    } finally {
      client.close();
    }
  }

  #isServed(runtime: RuntimeName | undefined, socket: string): boolean | undefined {
    const { endpoint, isServed } = this.#options;
    return endpoint === undefined && isServed !== undefined ? isServed(runtime, socket) : false;
  }

  /** Does nothing as long as another source tells the same, or may do so in a moment. */
  async #whileServed(isServed: () => boolean | undefined, up: () => void, signal: AbortSignal): Promise<void> {
    if (isServed() === false) return;
    up();
    for (let served = isServed(); served !== false; served = isServed()) {
      if (served === true) this.#memory.forget();
      await sleep(idleCheckMs, undefined, { signal });
    }
  }
}
