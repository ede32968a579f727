import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { openTextFile } from './text-file.ts';

/**
 * Where a line of a log file ends, and by what the file is known again, which may have been renamed, copied or emptied
 * since.
 */
export interface FilePlace {
  inode: number;
  /** Bytes up to the line's end, its newline included; 0 at the beginning of the file. */
  offset: number;
  /** Of the line without its newline. */
  lineBytes: number;
  /** Of the line, as in zlib. */
  lineCrc32: number;
}

/** Rotated files that are looked at, the newest first. */
const mostRotated = 16;

/**
 * Opens the files that hold what was logged after a place, oldest first: the one that holds the place, those that
 * logrotate put aside after it, and the file at the path itself. Undefined where no file holds the place any more.
 * Compressed files are not read.
 *
 * @throws where the file at the path cannot be opened.
 */
export function openFrom(path: string, place: FilePlace): number[] | undefined {
  const open = [openTextFile(path)];
  if (holds(open[0]!, place)) return open;
  for (const rotated of rotatedFrom(path)) {
    const fd = tryOpening(rotated);
    if (fd === undefined) continue;
    open.unshift(fd);
    if (holds(fd, place)) return open;
  }
  for (const fd of open) closeSync(fd);
  return undefined;
}

/** Whether the same line ends at the same place of the file. */
function holds(fd: number, { inode, offset, lineBytes, lineCrc32 }: FilePlace): boolean {
  if (offset === 0) return fstatSync(fd).ino === inode;
  const line = Buffer.alloc(Math.min(lineBytes, offset - 1) + 1);
  if (readSync(fd, line, 0, line.length, offset - line.length) < line.length) return false;
  return line.at(-1) === 0x0a && line.length === lineBytes + 1 && crc32(line.subarray(0, -1)) === lineCrc32;
}

/** `kern.log.1` or `messages-20261120`, the newest first. */
function rotatedFrom(path: string): string[] {
  const [folder, name] = [dirname(path), basename(path)];
  const rotated = readdirSync(folder).filter(
    (other) => other.startsWith(name) && suffix.test(other.slice(name.length)),
  );
  return rotated
    .map((other) => join(folder, other))
    .map((other) => ({ other, changedMs: statSync(other, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .toSorted((one, two) => two.changedMs - one.changedMs)
    .slice(0, mostRotated)
    .map(({ other }) => other);
}

const suffix = /^[.-]\d[\d.-]{0,30}$/;

function tryOpening(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch {
    return undefined;
  }
}
