import { open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';

/** When a file is put aside and how many of those are kept. */
export interface Rotation {
  maxBytes: number;
  /** Files put aside longer ago than this are removed; 0 is never. */
  maxDays: number;
  /** More files than this are not kept; 0 is no bound. */
  maxBackups: number;
}

const DAY_MS = 86_400_000;

/** `data-2026-11-21T10-42-07.123.json`: what stands between the name and its extension. In UTC. */
const BACKUP_TIME = /^-(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d\.\d{3})$/;

/**
 * A file that grows at its end, is put aside under a dated name when it is full, and comes back when somebody took it
 * away. One call at a time.
 */
export class RotatingFile {
  readonly #path: string;
  readonly #rotation: Rotation | undefined;
  #handle: FileHandle | undefined;
  #inode = 0;
  #size = 0;

  constructor(path: string, rotation?: Rotation) {
    this.#path = path;
    this.#rotation = rotation;
  }

  /** Opens or makes the file; empties it unless `append`. */
  async open(append: boolean): Promise<void> {
    await this.close();
    try {
      const handle = await open(this.#path, 'a');
      this.#handle = handle;
      if (!append) await handle.truncate(0);
      const { size, ino } = await handle.stat();
      this.#size = size;
      this.#inode = ino;
    } catch (error) {
      throw new Error(`cannot open "${this.#path}"`, { cause: error });
    }
  }

  /** Writes all of `bytes` or nothing. Rejects when the disk is full or the file cannot be made anew. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#handle === undefined || (await this.#wasTakenAway())) await this.open(true);
    if (this.#isFullWith(bytes.byteLength)) await this.#rotate();
    const handle = this.#handle!;
    try {
      for (let written = 0; written < bytes.byteLength;) {
        const { bytesWritten } = await handle.write(bytes, written);
        written += bytesWritten;
      }
      this.#size += bytes.byteLength;
    } catch (error) {
      // Half a line would spoil the one that comes after it.
      await handle.truncate(this.#size).catch(() => {});
      throw new Error(`cannot write to "${this.#path}"`, { cause: error });
    }
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close().catch(() => {});
  }

  async #wasTakenAway(): Promise<boolean> {
    const present = await stat(this.#path).catch(() => undefined);
    return present?.ino !== this.#inode;
  }

  #isFullWith(bytes: number): boolean {
    return this.#rotation !== undefined && this.#size > 0 && this.#size + bytes > this.#rotation.maxBytes;
  }

  async #rotate(): Promise<void> {
    await rename(this.#path, await this.#freeBackupPath());
    await this.open(true);
    await this.#removeOldBackups().catch(() => {});
  }

  /** Named after the present time, or the next millisecond that has no file yet. */
  async #freeBackupPath(): Promise<string> {
    const { folder, stem, extension } = this.#parts();
    for (let atMs = Date.now(); ; atMs++) {
      const time = new Date(atMs).toISOString().replaceAll(':', '-').replace('Z', '');
      const path = join(folder, `${stem}-${time}${extension}`);
      if ((await stat(path).catch(() => undefined)) === undefined) return path;
    }
  }

  async #removeOldBackups(): Promise<void> {
    const { maxBackups, maxDays } = this.#rotation!;
    const { folder, stem, extension } = this.#parts();
    const backups = (await readdir(folder))
      .flatMap((name) => {
        const atMs = backupTime(name, stem, extension);
        return atMs === undefined ? [] : [{ name, atMs }];
      })
      .toSorted((a, b) => b.atMs - a.atMs);
    for (const [index, { name, atMs }] of backups.entries()) {
      const tooMany = maxBackups > 0 && index >= maxBackups;
      const tooOld = maxDays > 0 && atMs < Date.now() - maxDays * DAY_MS;
      if (tooMany || tooOld) await rm(join(folder, name), { force: true });
    }
  }

  #parts(): { folder: string; stem: string; extension: string } {
    const extension = extname(this.#path);
    return { folder: dirname(this.#path), stem: basename(this.#path, extension), extension };
  }
}

/** When a file of this name was put aside, in milliseconds since the epoch, if it is one of ours. */
function backupTime(name: string, stem: string, extension: string): number | undefined {
  if (!name.startsWith(stem) || !name.endsWith(extension)) return undefined;
  const [, date, hours, minutes, seconds] =
    BACKUP_TIME.exec(name.slice(stem.length, name.length - extension.length)) ?? [];
  if (date === undefined) return undefined;
  const atMs = Date.parse(`${date}T${hours}:${minutes}:${seconds}Z`);
  return Number.isNaN(atMs) ? undefined : atMs;
}
