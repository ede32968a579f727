import { readFileSync } from 'node:fs';
import { endianness } from 'node:os';

/** AT_PAGESZ of getauxval(3). */
const pageSizeType = 6;

/** Bytes of a memory page: 4, 16 or 64 KiB. From /proc/self/auxv, 4096 where that cannot be read. */
export function readPageSize(): number {
  try {
    const vector = readFileSync('/proc/self/auxv');
    const words = Array.from({ length: Math.floor(vector.length / 8) }, (_, index) =>
      Number(endianness() === 'LE' ? vector.readBigUInt64LE(index * 8) : vector.readBigUInt64BE(index * 8)),
    );
    const found = words.findIndex((word, index) => index % 2 === 0 && word === pageSizeType);
    return found === -1 ? 4096 : words[found + 1]!;
  } catch {
    return 4096;
  }
}
