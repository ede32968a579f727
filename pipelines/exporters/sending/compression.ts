import { promisify } from 'node:util';
import * as zlib from 'node:zlib';

/** How bodies are compressed. */
export type Compression = 'gzip' | 'zstd' | 'none';

/** A body below this size is compressed on the spot: that takes less time than handing it to another thread. */
const SMALL_BYTES = 16 * 1024;

const gzip = promisify<zlib.InputType, zlib.ZlibOptions, Buffer>(zlib.gzip);

/** Whether this Node has zstd: it came with 22.15. */
export const hasZstd = 'zstdCompress' in zlib;

/** Compresses `body`. `level` is the algorithm's own. */
export async function compress(body: Uint8Array, compression: Compression, level?: number): Promise<Uint8Array> {
  switch (compression) {
    case 'none':
      return body;
    case 'gzip': {
      const options = level === undefined ? {} : { level };
      return body.byteLength < SMALL_BYTES ? zlib.gzipSync(body, options) : gzip(body, options);
    }
    case 'zstd': {
      const options = level === undefined ? {} : { params: { [zlib.constants.ZSTD_c_compressionLevel]: level } };
      const zstd = promisify<zlib.InputType, zlib.ZstdOptions, Buffer>(zlib.zstdCompress);
      return body.byteLength < SMALL_BYTES ? zlib.zstdCompressSync(body, options) : zstd(body, options);
    }
  }
}
