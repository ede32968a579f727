import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, it, type TestContext } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describeError } from '../../pipelines/errors.ts';
import { readLogText } from '../../command/log-text.ts';

const log = '[    3.091534] hög\n[    3.091535] b';
const lines = log.split('\n');

function makeFile(t: TestContext, content: string | Buffer): string {
  const dir = mkdtempSync(join(tmpdir(), 'exit137-log-text-'));
  t.after(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, 'log'), content);
  return join(dir, 'log');
}

const read = (file: string, stdin: Readable = Readable.from([])): Promise<string[]> =>
  Readable.from(readLogText(file, stdin)).toArray();

describe('readLogText', () => {
  it('reads UTF-8 and UTF-16 of both byte orders', async (t) => {
    const marked = `\uFEFF${log}`;
    const utf16 = Buffer.from(marked, 'utf16le');
    for (const content of [log, marked, utf16, Buffer.from(utf16).swap16()]) {
      assert.deepEqual(await read(makeFile(t, content)), lines);
    }
  });

  it('says how the text is had of what is no lines of text', async (t) => {
    const others: [content: string | Buffer, why: RegExp][] = [
      ['LPKSHHRH\0\0\0\0\x0e', /: it is a binary journal; read it by journalctl --file=JOURNAL .*\| exit137 replay$/],
      [gzipSync(log), /: it is compressed by gzip; read it by zcat FILE \| exit137 replay$/],
      [zstdCompressSync(log), /: it is compressed by zstd; read it by zstdcat FILE/],
      [Buffer.from('\xfd7zXZ\0', 'latin1'), /: it is compressed by xz; read it by xzcat FILE/],
      ['BZh91AY', /: it is compressed by bzip2; read it by bzcat FILE/],
      ['__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1\n', /: it is the export of a journal; read it by journalctl /],
      ['{\n\t"MESSAGE" : "x"\n}\n', /: it is JSON of several lines; read it by journalctl /],
      [
        'Wed 2025-11-12 20:13:52.091534 CET [s=3a;i=1]\n',
        /: it is the verbose form of a journal; read it by journalctl /,
      ],
    ];
    for (const [content, why] of others) {
      await assert.rejects(read(makeFile(t, content)), (error: Error) => {
        assert.match(describeError(error), why);
        return true;
      });
      await assert.rejects(read('-', Readable.from([Buffer.from(content)])), /cannot read standard input/);
    }
  });

  it('cuts a line that never ends, and goes on with the next', async () => {
    const pieces = Readable.from([
      ...Array.from({ length: 40 }, () => Buffer.alloc(65_536, 'x')),
      Buffer.from('\nb\n'),
    ]);
    const [long, ...next] = await read('-', pieces);
    assert.ok(long!.length <= 1_200_000);
    assert.deepEqual(next, ['b']);
  });
});
