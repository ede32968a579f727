import { openCase, type Case } from './case.ts';
import { isRunning, type Container } from './container-table.ts';
import type { Life } from './life.ts';
import type { VictimLogged } from './observation.ts';

/** Which case evidence belongs to: that of a container's present life, or of the one before, which the log can tell of late. */
export class LifeCases {
  /** The present life's case of each container that has one. */
  readonly #present = new WeakMap<Container, Case>();
  /** The case of the life before, where the next one's group is there and nothing else is known of that life. */
  readonly #past = new WeakMap<Container, Case>();

  /** The present one, if there is one already. */
  known(container: Container): Case | undefined {
    return this.#present.get(container);
  }

  /** The present one. */
  of(container: Container): Case {
    const existing = this.#present.get(container);
    if (existing !== undefined) return existing;
    return this.#open(container, isRunning(container) ? container.life : undefined, this.#past.get(container));
  }

  /** That of the life in which the victim died: the log tells of it when it is read. */
  ofVictim({ victim, atMs }: VictimLogged, container: Container): Case {
    const open = this.of(container);
    const { before, life } = open;
    if (before === undefined || life?.pid === victim.pid) return open;
    const beganAtMs = life?.startedAtMs ?? container.memcgSinceMs;
    return before.life?.pid === victim.pid || (beganAtMs !== undefined && atMs < beganAtMs) ? before : open;
  }

  /** A life has ended and another one is about to begin: what comes is of that, but for what the log tells late. */
  setAside(container: Container): void {
    const last = this.#present.get(container);
    if (last === undefined) return;
    last.before = undefined;
    this.#past.set(container, last);
    this.#present.delete(container);
  }

  /** Another life begins: what the last one left open is told when it is due. */
  begin(container: Container, life: Life): void {
    const last = this.#present.get(container);
    if (last !== undefined && last.life === undefined && last.ended === undefined) {
      last.life = life;
      return;
    }
    if (last !== undefined) last.before = undefined;
    this.#open(container, life, last ?? this.#past.get(container));
  }

  /** The runtime can tell of a life after the kernel counted kills in it. */
  adoptLife(open: Case): void {
    const { container } = open;
    if (isRunning(container) && this.#present.get(container) === open) open.life ??= container.life;
  }

  /** Takes up the cases of an earlier run, the present one first. */
  resume(container: Container, present: Case, before?: Case): void {
    this.#present.set(container, present);
    present.before = before;
  }

  /** Host pid of the container's main process, if it runs as far as anybody knows. */
  mainPidOf(container: Container): number | undefined {
    const { life } = container;
    if (life?.pid !== undefined && isRunning(container)) return life.pid;
    const open = this.#present.get(container);
    return open?.ended === undefined ? open?.mainPid : undefined;
  }

  #open(container: Container, life: Life | undefined, before: Case | undefined): Case {
    const open = openCase(container, life, before);
    this.#past.delete(container);
    this.#present.set(container, open);
    return open;
  }
}
