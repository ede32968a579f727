import { join } from 'node:path';
import { parseAmount, smallest } from './flat-keyed.ts';
import { KeptFile, type FileReader } from './kept-file.ts';
import type { CgroupNode } from './tree.ts';

/** memory.max of the groups above containers (v2), which hold for the containers as well. */
export class LimitsAbove {
  readonly #reader: FileReader;
  readonly #files = new Map<CgroupNode, KeptFile>();

  constructor(reader: FileReader) {
    this.#reader = reader;
  }

  /** The smallest limit in bytes on the way from a group's parent to the root; undefined where there is none. */
  read({ parent }: CgroupNode): number | undefined {
    if (parent?.parent === undefined) return undefined;
    let file = this.#files.get(parent);
    if (file === undefined)
      this.#files.set(parent, (file = new KeptFile(this.#reader, join(parent.dir, 'memory.max'))));
    const content = file.read();
    return smallest(content === undefined ? undefined : parseAmount(content), this.read(parent));
  }

  /** A group is gone. */
  forget(node: CgroupNode): void {
    this.#files.get(node)?.close();
    this.#files.delete(node);
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }
}
