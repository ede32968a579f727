import type { ContainerState } from '../grpc/generated/cri/cri_pb.ts';
import type { RuntimeName } from '../observation.ts';
import type { OnBadInput } from './bad-input.ts';

const mostContainers = 20_000;

/** What was told of a container last; the name of a runtime: nothing yet, but an earlier run knew it as one of that. */
type Told = ContainerState | 'sandbox' | RuntimeName;

/** A container of a pod as an earlier run knew it. */
export interface ResumedContainer {
  id: string;
  runtime: RuntimeName;
}

/** What is remembered from one poll to the next: what was told already. Bounded. */
export class CriMemory {
  readonly #onBadInput: OnBadInput;
  readonly #told = new Map<string, Told>();
  /** A life that began later than this, and is over when it is first seen, went by between two polls: it is to be told. */
  sinceMs: number | undefined;
  /** When the last poll began that went through. */
  polledAtMs: number | undefined;

  constructor(onBadInput: OnBadInput) {
    this.#onBadInput = onBadInput;
  }

  /** Before the first poll: goes on where an earlier run stopped. */
  resume(sinceMs: number, containers: Iterable<ResumedContainer>): void {
    this.sinceMs = sinceMs;
    for (const { id, runtime } of containers) this.note(id, runtime);
  }

  /** Another source tells: the next poll begins anew, and a later run does not go on from here. */
  forget(): void {
    this.#told.clear();
    this.sinceMs = undefined;
    this.polledAtMs = undefined;
  }

  /** Undefined for a container of which nothing was told. */
  get(containerId: string): Told | undefined {
    return this.#told.get(containerId);
  }

  /** Of all containers and sandboxes that are there as far as we know. */
  ids(): Iterable<string> {
    return this.#told.keys();
  }

  /** False, and told, where there is no room for another one. */
  hasRoom(containerId: string): boolean {
    if (this.#told.has(containerId) || this.#told.size < mostContainers) return true;
    this.#onBadInput(`runtime has more than ${mostContainers} containers`, containerId);
    return false;
  }

  note(containerId: string, told: Told): void {
    if (this.hasRoom(containerId)) this.#told.set(containerId, told);
  }

  /** Forgets one that `runtime` does not have; false where it was another runtime's, which may have it still. */
  remove(containerId: string, runtime: RuntimeName | undefined): boolean {
    const told = this.#told.get(containerId);
    this.#told.delete(containerId);
    return typeof told !== 'string' || told === 'sandbox' || told === runtime;
  }
}
