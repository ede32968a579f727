import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** How SQLite says that another has the lock. */
const sqliteBusy = 5;

const triedEveryMs = 250;

/**
 * A directory that is one process's alone. The lock is the kernel's (fcntl), so that it ends with the process, however
 * that ends, and holds between containers, which do not know each other's pids. SQLite is the part of Node that takes
 * one: a transaction of a database in which nothing is ever written.
 */
export class DirectoryLock {
  readonly #ownerPath: string;
  readonly #database: { close(): void };

  private constructor(ownerPath: string, database: { close(): void }) {
    this.#ownerPath = ownerPath;
    this.#database = database;
  }

  /**
   * Resolves with undefined where another process has it: `ownerOf` tells which. Rejects where the directory cannot be
   * locked at all.
   */
  static async try(directory: string): Promise<DirectoryLock | undefined> {
    const { DatabaseSync } = await import('node:sqlite');
    const path = lockPathOf(directory);
    let database: InstanceType<typeof DatabaseSync> | undefined;
    try {
      database = new DatabaseSync(path);
      database.exec('PRAGMA journal_mode = OFF; BEGIN EXCLUSIVE');
      return new DirectoryLock(ownerPathOf(directory), database);
    } catch (cause) {
      database?.close();
      if ((cause as { errcode?: number }).errcode === sqliteBusy) return undefined;
      // SQLite speaks of a database, which tells nobody what is wrong.
      throw new Error(`cannot lock "${path}"`, { cause });
    }
  }

  /**
   * Waits up to `waitMs` for another process to end; `onWait` is told once, with who that is. Rejects
   * where it does not.
   */
  static async take(directory: string, waitMs: number, onWait: (owner: string) => void): Promise<DirectoryLock> {
    const untilMs = performance.now() + waitMs;
    for (let tries = 0; ; tries++) {
      const lock = await DirectoryLock.try(directory);
      if (lock !== undefined) {
        lock.#sign();
        return lock;
      }
      const owner = ownerOf(directory);
      if (tries === 0) onWait(owner);
      if (performance.now() >= untilMs) throw new Error(`it is in use by ${owner}`);
      await sleep(triedEveryMs);
    }
  }

  release(): void {
    rmSync(this.#ownerPath, { force: true });
    this.#database.close();
  }

  /** For people to read: the lock itself tells nobody whose it is. */
  #sign(): void {
    // In a pod, the host's name is the pod's.
    writeFileSync(this.#ownerPath, `${hostname()}, pid ${process.pid}, since ${new Date().toISOString()}\n`);
  }
}

/**
 * Whether a process has the directory. Leaves nothing there: a lock that somebody else has made, root say, is not to be
 * locked by whoever the directory is for. Rejects where it cannot be locked at all.
 */
export async function isInUse(directory: string): Promise<boolean> {
  if (!existsSync(lockPathOf(directory))) return false;
  const lock = await DirectoryLock.try(directory);
  lock?.release();
  return lock === undefined;
}

/** Who has the directory, as far as that is known. */
export function ownerOf(directory: string): string {
  try {
    return readFileSync(ownerPathOf(directory), 'utf8').slice(0, 300).trimEnd();
  } catch {
    return 'another process';
  }
}

function lockPathOf(directory: string): string {
  return join(directory, 'lock');
}

function ownerPathOf(directory: string): string {
  return join(directory, 'lock.owner');
}
