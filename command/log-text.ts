import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { TextDecoder } from 'node:util';
import { isJournal } from '../receiver/kernel/text-file.ts';

/** Longer lines are cut: no line of the kernel's is a tenth of it. */
const longestLine = 1024 * 1024;

const ofFile = 'journalctl --file=JOURNAL --output=short-iso-precise _TRANSPORT=kernel';
const ofJournal = 'journalctl --output=short-iso-precise _TRANSPORT=kernel';

/** With what files begin that hold a log but are no lines of text, and how its text is had. */
const otherForms: readonly { begins: string | RegExp; is: string; by: string }[] = [
  { begins: '\x1f\x8b', is: 'compressed by gzip', by: 'zcat FILE' },
  { begins: '\x28\xb5\x2f\xfd', is: 'compressed by zstd', by: 'zstdcat FILE' },
  { begins: '\xfd7zXZ', is: 'compressed by xz', by: 'xzcat FILE' },
  { begins: /^BZh\d/, is: 'compressed by bzip2', by: 'bzcat FILE' },
  { begins: '__CURSOR=', is: 'the export of a journal', by: ofJournal },
  { begins: /^\{\r?\n/, is: 'JSON of several lines', by: ofJournal },
  { begins: /^[A-Z][a-z]{2} \d{4}-[^\n]{1,64} \[s=[0-9a-f]/, is: 'the verbose form of a journal', by: ofJournal },
];

/**
 * Reads the lines of a log without their newlines: UTF-8, or UTF-16 with a mark of the byte order, as PowerShell
 * writes it. `-` is standard input.
 *
 * @throws where the file cannot be read or is no text, with its name and with how its text is had.
 */
export async function* readLogText(file: string, stdin: Readable): AsyncGenerator<string> {
  let decoder: TextDecoder | undefined;
  let held = '';
  for await (const chunk of file === '-' ? stdin : openFile(file)) {
    decoder ??= decoderOf(file, chunk as Buffer);
    const lines = `${held}${decoder.decode(chunk as Buffer, { stream: true })}`.split('\n');
    held = lines.pop()!.slice(0, longestLine);
    yield* lines;
  }
  if (held !== '') yield held;
}

async function* openFile(file: string): AsyncGenerator {
  try {
    yield* createReadStream(file);
  } catch (error) {
    throw new Error(`cannot read "${file}"`, { cause: error });
  }
}

function decoderOf(file: string, begin: Buffer): TextDecoder {
  if (isJournal(begin)) throw noText(file, 'a binary journal', ofFile);
  const first = begin.toString('latin1', 0, 256);
  const form = otherForms.find(({ begins }) =>
    typeof begins === 'string' ? first.startsWith(begins) : begins.test(first),
  );
  if (form !== undefined) throw noText(file, form.is, form.by);
  if (first.startsWith('\xff\xfe')) return new TextDecoder('utf-16le');
  return new TextDecoder(first.startsWith('\xfe\xff') ? 'utf-16be' : 'utf-8');
}

function noText(file: string, is: string, by: string): Error {
  const cause = new Error(`it is ${is}; read it by ${by} | exit137 replay`);
  return new Error(file === '-' ? 'cannot read standard input' : `cannot read "${file}"`, { cause });
}
