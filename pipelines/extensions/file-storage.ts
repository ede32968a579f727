import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import * as z from 'zod';
import type { Extension, ExtensionFactory, Finding, Logger, StateFile, Storage } from '../component.ts';
import { describeError } from '../errors.ts';
import { DirectoryLock, isInUse, ownerOf } from './directory-lock.ts';

const configSchema = z.strictObject({
  /** Of this process alone: no other starts with it. */
  directory: z.string().min(1).default('/var/lib/exit137'),
  /** Whether the directory is made where it is missing; its mode is 0700. */
  create_directory: z.boolean().default(true),
});

type Config = z.infer<typeof configSchema>;

/**
 * How long another process is waited for: one that stops takes 10 s to send what it holds, and a pod can begin before
 * the one that it replaces has ended.
 */
const longestWaitMs = 12_000;

/** Keeps the state of components in the files of a directory, one for each. Named as the Collector's extension. */
export const fileStorage: ExtensionFactory<Config> = {
  type: 'file_storage',
  configSchema,
  isStorage: true,
  probe: async (config) => [await probe(config)],
  create: (config, { logger }) => new FileStorage(config, logger),
};

class FileStorage implements Extension {
  readonly #config: Config;
  readonly #logger: Logger;
  #lock: DirectoryLock | undefined;

  constructor(config: Config, logger: Logger) {
    this.#config = config;
    this.#logger = logger;
  }

  /**
   * Rejects where another process goes on using the directory. To go on in memory instead would hide for good that two
   * processes tell of one node, each kill twice; and a pod that began a moment too early would never have its state.
   */
  async start(): Promise<void> {
    const { directory, create_directory } = this.#config;
    try {
      if (create_directory) mkdirSync(directory, { recursive: true, mode: 0o700 });
      checkUsable(directory);
      this.#lock = await DirectoryLock.take(directory, longestWaitMs, (owner) => {
        this.#logger.warn('waits for another process to end, which keeps its state here', { directory, owner });
      });
    } catch (cause) {
      throw new Error(`cannot keep state in "${directory}"`, { cause });
    }
  }

  async shutdown(): Promise<void> {
    this.#lock?.release();
    this.#lock = undefined;
  }

  storageOf(owner: string): Storage {
    return {
      // An id has a slash, and may hold anything but ends in no suffix of ours.
      open: (name) => new ReplacedFile(join(this.#config.directory, `${encodeURIComponent(owner)}_${name}`)),
    };
  }
}

function checkUsable(directory: string): void {
  accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
}

async function probe({ directory, create_directory }: Config): Promise<Finding> {
  const what = 'state directory';
  if (create_directory && !existsSync(directory)) return { what, state: 'found', detail: `${directory}, to be made` };
  try {
    checkUsable(directory);
    const use = (await isInUse(directory)) ? `, in use by ${ownerOf(directory)}` : '';
    return { what, state: 'found', detail: `${directory}${use}` };
  } catch (error) {
    const detail = `cannot keep state in "${directory}": ${describeError(error)}`;
    return { what, state: 'missing', detail, grant: 'let this process write there, or set another directory' };
  }
}

/** So many unusable files of one component are kept for people to look at. */
const mostSetAside = 3;

/** A `StateFile`: written beside and renamed, as rename(2) replaces in one step. */
class ReplacedFile implements StateFile {
  readonly path: string;
  readonly kept: Buffer | undefined;
  /** The file as it is now; absent until it was replaced once. */
  #handle: FileHandle | undefined;
  /** What is added while the next content is being written. */
  #addedMeanwhile: Uint8Array[] | undefined;

  constructor(path: string) {
    this.path = path;
    this.kept = readIfThere(path);
  }

  append(piece: Uint8Array): void {
    this.#addedMeanwhile?.push(piece);
    if (this.#handle !== undefined) writeWhole(this.#handle.fd, piece, this.path);
    else if (this.#addedMeanwhile === undefined) throw new Error(`cannot add to "${this.path}" before it is replaced`);
  }

  async replace(content: Uint8Array, durable: boolean = false): Promise<void> {
    const beside = `${this.path}.tmp`;
    const added: Uint8Array[] = (this.#addedMeanwhile = []);
    let next: FileHandle | undefined;
    try {
      next = await open(beside, 'w', 0o600);
      await next.writeFile(content);
      if (durable) await next.sync();
      // Nothing can be added between these two.
      for (const piece of added) writeWhole(next.fd, piece, beside);
      renameSync(beside, this.path);
    } catch (cause) {
      await next?.close().catch(() => undefined);
      throw new Error(`cannot write "${this.path}"`, { cause });
    } finally {
      this.#addedMeanwhile = undefined;
    }
    const before = this.#handle;
    this.#handle = next;
    await before?.close();
    if (durable) await syncDirectory(dirname(this.path));
  }

  setAside(): string {
    const moved = `${this.path}.corrupt-${new Date().toISOString().replaceAll(/[-:]/g, '')}`;
    renameSync(this.path, moved);
    const prefix = `${basename(this.path)}.corrupt-`;
    const old = readdirSync(dirname(this.path)).filter((name) => name.startsWith(prefix));
    for (const name of old.toSorted().slice(0, -mostSetAside)) rmSync(join(dirname(this.path), name), { force: true });
    return moved;
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`cannot read "${path}"`, { cause: error });
  }
}

/** A disk that is nearly full takes a part of a piece. */
function writeWhole(fd: number, piece: Uint8Array, path: string): void {
  const length = writeSync(fd, piece);
  if (length < piece.length) throw new Error(`cannot write more than ${length} of ${piece.length} bytes to "${path}"`);
}

/** So that the new name survives as well. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
