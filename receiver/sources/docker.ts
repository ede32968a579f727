import type { Emit } from '../observation.ts';
import { runSubscription, type Source } from '../source.ts';
import type { OnBadInput } from './bad-input.ts';
import { DockerApi, type DockerApiOptions } from './docker-api.ts';
import type { EndpointSearch } from './docker-endpoint.ts';
import { DockerMemory } from './docker-memory.ts';
import { findDockerEndpoint } from './docker-probe.ts';
import { DockerSubscription } from './docker-subscription.ts';

/** How the `docker` source is set up. */
export interface DockerSourceOptions extends EndpointSearch, DockerApiOptions {
  /** A container that ended longer ago than this when it is first seen is nothing to us. Default: 5 minutes. */
  graceMs?: number;
  /** The present time in milliseconds since the epoch. */
  clock?: () => number;
  /** Told of everything that cannot be used, and of what is left out because a bound is reached. */
  onBadInput?: OnBadInput;
}

/**
 * The `docker` source: the lifecycle of containers by the API of Docker, or of Podman, which offers the same. Follows
 * the events; inspects a container when it starts and, after subscribing, all that may have changed unseen.
 *
 * An event is emitted in the tick in which its line arrives. What an inspection found may be older than events that
 * were emitted before it: it bears the time at which it was asked for.
 */
export class DockerSource implements Source {
  readonly name = 'docker';
  readonly #options: DockerSourceOptions;
  readonly #clock: () => number;
  readonly #onBadInput: OnBadInput;
  readonly #memory: DockerMemory;
  /** The one that answered first. While it restarts another may answer, but that has other containers. */
  #endpoint: string | undefined;

  constructor(options: DockerSourceOptions) {
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
    this.#onBadInput = options.onBadInput ?? (() => {});
    this.#memory = new DockerMemory(this.#onBadInput);
  }

  /**
   * Before it observes: tells what an earlier run has missed since, and what became of the containers that it knew. Their
   * times are of the present life, or of the last one.
   */
  resume(sinceMs: number, containers: Iterable<{ id: string; startedAtMs?: number; endedAtMs?: number }>): void {
    this.#memory.resume(sinceMs, containers);
  }

  /** From when on a later run is to ask for events; undefined where none were asked for. */
  get resumesAtMs(): number | undefined {
    return this.#memory.resumes ? this.#memory.resumeAtMs(this.#clock()) : undefined;
  }

  async observe(emit: Emit, up: () => void, signal: AbortSignal): Promise<void> {
    await runSubscription(signal, async (ended) => {
      const subscription = await this.#connect(emit, ended);
      await subscription.run(up);
    });
  }

  async #connect(emit: Emit, signal: AbortSignal): Promise<DockerSubscription> {
    const search = { ...this.#options, endpoint: this.#endpoint ?? this.#options.endpoint };
    const found = await findDockerEndpoint(search, this.#options, signal);
    if (!found.reachable) throw new Error(found.error);
    this.#endpoint = found.endpoint;
    return new DockerSubscription({
      api: new DockerApi(found.endpoint, this.#options),
      runtime: found.runtime,
      memory: this.#memory,
      graceMs: this.#options.graceMs ?? 300_000,
      clock: this.#clock,
      onBadInput: this.#onBadInput,
      emit,
      signal,
    });
  }
}
