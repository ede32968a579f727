import type { Logger, StateFile } from '../pipelines/component.ts';
import { describeError } from '../pipelines/errors.ts';
import type { Container, ContainerTable } from './container-table.ts';
import { encodeContainer, encodeLine, type ContainerState, type NodeState } from './state.ts';

/** What changed without a word to the world is written no later than this after it changed. */
const writesEveryMs = 1_000;

/** A file that has grown by more than this, and to more than twice of what it was, is written anew. */
const mostGrowthBytes = 64 * 1024;

/** More lines do not wait: where nobody answers for hours, what is told meanwhile is dropped, but its lines would stay. */
const mostWaiting = 1_000;

/** Who knows the state. */
export interface StateOwner {
  readonly table: ContainerTable;
  node(): NodeState;
  of(container: Container): ContainerState;
}

/**
 * Writes the state down, so that a later run goes on where this one ends, however that happens.
 *
 * A line is added with what has changed: at once when the pipelines have taken what was told, so that it is not told
 * again; else every second. A line holds the state of one moment, and nothing that was told by then and is not taken: it
 * waits for that, and those behind it wait for their turn.
 */
export class StateKeeper {
  readonly #file: StateFile;
  readonly #owner: StateOwner;
  readonly #logger: Logger;
  readonly #timer: NodeJS.Timeout;
  readonly #changed = new Set<Container>();
  /** What the file holds of each container, by id: to encode 250 anew takes more than a millisecond. */
  readonly #written = new Map<string, string>();
  #lastNode = '';
  #clockJumps = 0;
  /** Lines that wait, and what is to be taken without a line of its own. */
  #waiting = 0;
  /** Too much waits for lines to be made: all that is told meanwhile is written once nothing waits. */
  #overflows = false;
  #turn: Promise<void> = Promise.resolve();
  /** Something that was told must be told again by a later run. */
  #untaken = false;
  #replacing: Promise<void> | undefined;
  #wholeBytes = 0;
  #addedBytes = 0;
  /** The file does not hold what it should: it must be replaced. */
  #broken = true;
  #failed = false;

  constructor(file: StateFile, owner: StateOwner, logger: Logger) {
    this.#file = file;
    this.#owner = owner;
    this.#logger = logger;
    this.#timer = setInterval(() => this.#writeChanged(), writesEveryMs).unref();
    this.#changeAll();
    void this.#replace();
  }

  /** Something about the container has changed. */
  changed(container: Container): void {
    this.#changed.add(container);
  }

  #changeAll(): void {
    for (const container of this.#owner.table.all()) this.#changed.add(container);
  }

  /**
   * Something was told. The state of now is written as soon as that is settled: `taken` never rejects, and is false where
   * a later run must tell it again.
   */
  told(taken: Promise<boolean>): void {
    this.#overflows = this.#waiting >= mostWaiting || (this.#overflows && this.#waiting > 0);
    this.#waiting++;
    if (this.#overflows) void taken.then((isTaken) => (this.#waiting -= isTaken ? 1 : 0));
    else this.#turn = this.#appendAfter(taken, this.#turn, this.#takeLine([]));
  }

  async #appendAfter(taken: Promise<boolean>, turn: Promise<void>, line: Buffer): Promise<void> {
    const isTaken = await taken;
    await turn;
    if (!isTaken) this.#untaken = true;
    // It counts as waiting for ever, and so do those behind it, whose lines have it as told.
    if (this.#untaken) return;
    this.#waiting--;
    this.#append(line);
  }

  /**
   * Writes all that is left, so that it survives the machine's end. What was told and is not taken by now is left as if
   * it had not been told. Never rejects.
   */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#replacing;
    this.#changeAll();
    if (this.#waiting === 0) await this.#replace(true);
    await this.#file.close().catch(() => undefined);
  }

  #writeChanged(): void {
    // What waits must be written before.
    if (this.#waiting > 0 || this.#replacing !== undefined) return;
    const { table } = this.#owner;
    if (this.#broken || this.#addedBytes > Math.max(mostGrowthBytes, this.#wholeBytes)) {
      void this.#replace();
      return;
    }
    if (table.clockJumps !== this.#clockJumps) this.#changeAll();
    this.#clockJumps = table.clockJumps;
    const forgotten = [...this.#written.keys()].filter((id) => table.get(id) === undefined);
    const node = JSON.stringify(this.#owner.node());
    if (this.#changed.size === 0 && forgotten.length === 0 && node === this.#lastNode) return;
    this.#lastNode = node;
    this.#append(this.#takeLine(forgotten));
  }

  /** A line with all that has changed. */
  #takeLine(forgotten: readonly string[]): Buffer {
    const changed = this.#encodeChanged();
    for (const id of forgotten) this.#written.delete(id);
    return encodeLine(this.#owner.node(), changed, forgotten);
  }

  #encodeChanged(): string[] {
    const { table } = this.#owner;
    const encoded: string[] = [];
    for (const container of this.#changed) {
      if (table.get(container.id) !== container) continue;
      const text = encodeContainer(this.#owner.of(container));
      this.#written.set(container.id, text);
      encoded.push(text);
    }
    this.#changed.clear();
    return encoded;
  }

  /** The file's first line: all containers. */
  #takeWhole(): Buffer {
    this.#encodeChanged();
    for (const id of this.#written.keys()) if (this.#owner.table.get(id) === undefined) this.#written.delete(id);
    return encodeLine(this.#owner.node(), [...this.#written.values()], []);
  }

  #append(line: Buffer): void {
    if (this.#broken && this.#replacing === undefined) return;
    try {
      this.#file.append(line);
      this.#addedBytes += line.length;
    } catch (error) {
      this.#fail(error);
    }
  }

  #replace(durable: boolean = false): Promise<void> {
    const content = this.#takeWhole();
    this.#broken = false;
    this.#wholeBytes = content.length;
    this.#addedBytes = 0;
    const written = this.#file.replace(content, durable).then(
      () => this.#succeed(),
      (error: unknown) => this.#fail(error),
    );
    this.#replacing = written.finally(() => (this.#replacing = undefined));
    return this.#replacing;
  }

  #succeed(): void {
    if (this.#failed) this.#logger.info('the state is written again', { path: this.#file.path });
    this.#failed = false;
  }

  #fail(error: unknown): void {
    this.#broken = true;
    if (this.#failed) return;
    this.#failed = true;
    this.#logger.warn('the state cannot be written; tried again every second', { error: describeError(error) });
  }
}
