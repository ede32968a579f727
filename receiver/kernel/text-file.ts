import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** The beginning of each file of systemd's journal. Format: systemd.io/JOURNAL_FILE_FORMAT. */
const journalBegin = Buffer.from('LPKSHHRH');

const asText = 'journalctl --dmesg --follow --lines=all --output=short-iso-precise > /run/kernel.log';

/** Whether these are the first bytes of a binary journal, which no program but systemd's own can read. */
export function isJournal(begin: Buffer): boolean {
  return begin.subarray(0, journalBegin.length).equals(journalBegin);
}

/**
 * Opens a file that holds the kernel's messages as text.
 *
 * @throws where it is not there, not ours to read, a folder or a binary journal, with the reason as its cause.
 */
export function openTextFile(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    throw new Error(`cannot open "${path}"`, { cause });
  }
  const why = whyUnreadable(fd);
  if (why === undefined) return fd;
  closeSync(fd);
  throw new Error(`cannot read "${path}"`, { cause: new Error(`${why}; the text of a journal is had by ${asText}`) });
}

function whyUnreadable(fd: number): string | undefined {
  if (fstatSync(fd).isDirectory()) return 'it is a folder';
  const begin = Buffer.alloc(journalBegin.length);
  readSync(fd, begin, 0, begin.length, 0);
  return isJournal(begin) ? 'it is a binary journal' : undefined;
}
