import type { DescribedContainer } from './containerd-container.ts';
import { printable, type OnBadInput } from './bad-input.ts';

const mostContainers = 20_000;

/** A container that is not removed, as far as we know. */
export interface RememberedContainer {
  namespace?: string;
  /** What is not told yet, or is wanted again. */
  described?: DescribedContainer;
  /** Of what users wrote, to know what an update changed. */
  textKey?: string;
  /** Something of it was emitted. */
  told: boolean;
  /** Host pid of the main process, of the present life or the last one. */
  pid?: number;
  /** Begin of that life, as it was told. */
  startedAtMs?: number;
  /** End of that life; absent while it runs. */
  endedAtMs?: number;
  exitCode?: number;
}

/** A container as an earlier run knew it. */
export interface KnownContainer {
  id: string;
  pid?: number;
  startedAtMs?: number;
  endedAtMs?: number;
}

/** What is remembered from one subscription to the next: what was told already. Bounded. */
export class ContainerdMemory {
  readonly #onBadInput: OnBadInput;
  readonly #containers = new Map<string, RememberedContainer>();

  constructor(onBadInput: OnBadInput) {
    this.#onBadInput = onBadInput;
  }

  /** Before the first subscription: goes on where an earlier run stopped. */
  resume(containers: Iterable<KnownContainer>): void {
    for (const { id, pid, startedAtMs, endedAtMs } of containers) {
      Object.assign(this.add(id), { told: true, pid, startedAtMs, endedAtMs });
    }
  }

  /** The ids of all. */
  ids(): Set<string> {
    return new Set(this.#containers.keys());
  }

  get(containerId: string): RememberedContainer | undefined {
    return this.#containers.get(containerId);
  }

  /** Remembers a container; what is known of it already stays. */
  add(containerId: string, namespace?: string): RememberedContainer {
    const container = this.#containers.get(containerId) ?? this.#make(containerId);
    container.namespace ??= namespace;
    return container;
  }

  /** Returns what was forgotten. */
  delete(containerId: string): RememberedContainer | undefined {
    const container = this.#containers.get(containerId);
    this.#containers.delete(containerId);
    return container;
  }

  #make(containerId: string): RememberedContainer {
    if (this.#containers.size >= mostContainers) {
      const [oldest] = this.#containers.keys();
      this.#containers.delete(oldest!);
      this.#onBadInput(`more than ${mostContainers} containers`, printable(oldest));
    }
    const container: RememberedContainer = { told: false };
    this.#containers.set(containerId, container);
    return container;
  }
}
