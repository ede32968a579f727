import type { Emit } from '../observation.ts';
import { runSubscription, type Source } from '../source.ts';
import type { OnBadInput } from './bad-input.ts';
import { ContainerdApi } from './containerd-api.ts';
import { ContainerdMemory, type KnownContainer } from './containerd-memory.ts';
import { ContainerdSubscription } from './containerd-subscription.ts';
import {
  containerdSockets,
  findSocket,
  socketsOf,
  unreachableError,
  type SocketProbe,
  type SocketSearch,
} from './runtime-sockets.ts';

/** How the `containerd` source is set up. */
export interface ContainerdSourceOptions extends SocketSearch {
  /** For one question; the stream of events has no limit. */
  timeoutMs: number;
  /** Whose containers are watched: `k8s.io` holds the kubelet's. */
  namespaces: readonly string[];
  /** A container that ended longer ago than this when it is first seen is nothing to us. Default: 5 minutes. */
  graceMs?: number;
  /**
   * How long the end of a container that was missed waits for its exit code: until the CRI plugin has begun, or a shim
   * tells again, which it tries five times, after 1 to 5 seconds (containerd, runtime/v2/shim/publisher.go). Default: 6 s.
   */
  retoldWithinMs?: number;
  /** After how long a listing that shims have held up is tried again. Default: 10 s. */
  listsAgainAfterMs?: number;
  /** The present time in milliseconds since the epoch. */
  clock?: () => number;
  /** Told of everything that cannot be used, and of what is left out because a bound is reached. */
  onBadInput?: OnBadInput;
}

/**
 * Finds the containerd that is asked for, or the first of the usual ones that answers, with its version. Rejects only for
 * an endpoint that is no unix socket.
 */
export async function findContainerd(
  search: SocketSearch,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<SocketProbe<string>> {
  return findSocket(socketsOf(search, containerdSockets), async (socket) => {
    const api = new ContainerdApi(socket, timeoutMs);
    try {
      return await api.version(signal);
    } finally {
      api.close();
    }
  });
}

/**
 * The `containerd` source: the lifecycle of containers by containerd's own API, 1.6 to 2.x. Follows the events of its
 * namespaces, and lists containers and tasks after subscribing. An event is emitted in the tick in which it arrives.
 *
 * A stalled subscriber harms neither containerd nor others, unlike one of the CRI's events.
 */
export class ContainerdSource implements Source {
  readonly name = 'containerd';
  readonly #options: ContainerdSourceOptions;
  readonly #memory: ContainerdMemory;
  /** The one that answered first. While it restarts another may answer, but that has other containers. */
  #socket: string | undefined;

  constructor(options: ContainerdSourceOptions) {
    this.#options = options;
    this.#memory = new ContainerdMemory(options.onBadInput ?? (() => {}));
  }

  /** Before it observes: tells what became of the containers that an earlier run knew. */
  resume(containers: Iterable<KnownContainer>): void {
    this.#memory.resume(containers);
  }

  /** Where containerd answered; undefined before the first answer. */
  get socket(): string | undefined {
    return this.#socket;
  }

  /** Containers that it remembers. */
  get remembered(): number {
    return this.#memory.ids().size;
  }

  async observe(emit: Emit, up: () => void, signal: AbortSignal): Promise<void> {
    await runSubscription(signal, (ended) => this.#observe(emit, up, ended));
  }

  async #observe(emit: Emit, up: () => void, signal: AbortSignal): Promise<void> {
    const { timeoutMs, hostRoot } = this.#options;
    const endpoint = this.#socket ?? this.#options.endpoint;
    const found = await findContainerd({ hostRoot, endpoint }, timeoutMs, signal);
    if (!found.reachable) throw unreachableError(found, endpoint !== undefined);
    this.#socket = found.socket;
    const api = new ContainerdApi(found.socket, timeoutMs);
    try {
      await this.#subscribe(api, emit, signal).run(up);
    } finally {
      api.close();
    }
  }

  #subscribe(api: ContainerdApi, emit: Emit, signal: AbortSignal): ContainerdSubscription {
    const { namespaces, hostRoot, graceMs = 300_000, retoldWithinMs = 6_000, clock = Date.now } = this.#options;
    const { onBadInput = () => {}, listsAgainAfterMs = 10_000 } = this.#options;
    const memory = this.#memory;
    return new ContainerdSubscription({
      api,
      namespaces,
      memory,
      hostRoot,
      graceMs,
      retoldWithinMs,
      listsAgainAfterMs,
      clock,
      onBadInput,
      emit,
      signal,
    });
  }
}
