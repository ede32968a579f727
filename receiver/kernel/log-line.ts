import { unwrapJson } from './json-line.ts';
import { maxTextLength, parseKmsgRecord, type KernelMessage } from './kmsg-record.ts';
import { readPrefix } from './log-prefix.ts';

/**
 * How far a pasted log may be indented, or quoted: not as far as journalctl indents the later lines of a message, into
 * which anyone can put what looks like the kernel's, and which stand after an empty line, too.
 */
const indentation = /^(?:[\t>|]| {1,16}(?! )){1,32}/;

/** A line that only says who speaks, as a search through a syslog file leaves it. */
const nameAlone = /^(?:[^\s:]{1,255} )?kernel: (?=\S)/;

/**
 * Nothing but marks of quoting: what follows can be indented in its own way. A fence bears a language at most: a line
 * can begin with the rest of a process's name, too, and behind that is the rest of its kill.
 */
const betweenPastes = /^(?:[>|] ?)*(?:```[\w+-]{0,16})?$/;

/** `\x1b[31m` and so on, as dmesg, journalctl and grep write them to show parts in colour. */
const colours = new RegExp(String.raw`\u001b\[[\d;]*[A-Za-z]`, 'g');

/** Dates hold the marks that end a file's name, too. */
const mostLeads = 8;

/**
 * Reads the kernel's messages from lines of text, whatever wrote them, with the forms of prefixes that `readPrefix`
 * knows. The form is found for each line anew.
 */
export class LogLineReader {
  readonly #nowMs: () => number;
  #before: 'none' | 'kmsg' | 'prefixed' | 'bare' = 'none';
  /** What stands before each prefix: an indentation, or the name of a file. */
  #lead = '';

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** The message of a line without its newline; undefined where it holds none of the kernel's. */
  read(line: string): KernelMessage | undefined {
    const unwrapped = line.startsWith('{"') ? unwrapJson(line) : undefined;
    if (unwrapped !== undefined && unwrapped.line === undefined) return unwrapped.message;
    const whole = clean(unwrapped?.line ?? line);
    if (betweenPastes.test(whole)) {
      this.#before = 'none';
      this.#lead = '';
      return undefined;
    }
    const text = whole.startsWith(this.#lead) ? whole.slice(this.#lead.length) : whole;
    if (this.#before === 'kmsg' && text.startsWith(' ')) return undefined;
    if (text.trim() === '') return undefined;
    const read = this.#readPrefixed(text) ?? this.#readAfterLead(whole);
    return read === undefined ? this.#bare(text) : read.message;
  }

  #readPrefixed(text: string): { message?: KernelMessage } | undefined {
    const record = parseKmsgRecord(text);
    if (record !== undefined) {
      this.#before = 'kmsg';
      return { message: record };
    }
    const prefix = readPrefix(text, this.#nowMs());
    if (prefix === undefined) return undefined;
    this.#before = 'prefixed';
    if (prefix === 'foreign') return {};
    const { end, ...position } = prefix;
    return { message: { ...position, text: text.slice(end).trimEnd() } };
  }

  /**
   * The first line of a paste that has a prefix tells how far all are indented: further in, journalctl writes what
   * anyone put into the later lines of a message.
   */
  #readAfterLead(line: string): { message?: KernelMessage } | undefined {
    const isOpen = this.#before === 'none' || this.#before === 'bare';
    if (!isOpen && (line.startsWith(' ') || line.startsWith('\t'))) return undefined;
    for (const lead of leadsOf(line)) {
      const read = this.#readPrefixed(line.slice(lead.length));
      if (read === undefined) continue;
      this.#lead = lead;
      return read;
    }
    return undefined;
  }

  /** A line without any prefix, among lines that have one, belongs to the message before it. */
  #bare(text: string): KernelMessage {
    if (this.#before === 'prefixed') return { text: text.trim(), joint: '\n' };
    this.#before = 'bare';
    const unindented = text.replace(indentation, '');
    const name = nameAlone.exec(unindented)?.[0].length ?? 0;
    const said = unindented.slice(name).trimEnd();
    const prefix = name === 0 ? undefined : readPrefix(said, this.#nowMs());
    if (prefix === undefined || prefix === 'foreign') return { text: said };
    const { end, ...position } = prefix;
    return { ...position, text: said.slice(end) };
  }
}

/** A file that was not written to its end at a crash has NULs there. */
function clean(line: string): string {
  const written = line.charCodeAt(0) === 0 ? line.replace(/^\0+/, '') : line;
  const text = written.slice(0, maxTextLength);
  const plain = text.includes('\u001B[') ? text.replaceAll(colours, '') : text;
  return plain.endsWith('\r') ? plain.slice(0, -1) : plain;
}

/**
 * What can stand before the prefix of a line: how it is indented, what grep writes before a line of a file, and
 * `docker compose logs` before that of a container:
 *
 *     /var/log/kern.log:Nov 12 20:13:52 node-7 kernel: …
 *     /var/log/kern.log-1234-Nov 12 20:13:52 node-7 kernel: …
 *     dmesg-1  | [    3.091534] hog invoked …
 */
function leadsOf(line: string): string[] {
  const [indent = ''] = indentation.exec(line) ?? [];
  const named = /^[\w./~@+:-]{1,256}/.exec(line.slice(indent.length))?.[0] ?? '';
  const ends = [...named.matchAll(/[:-](?=[\dA-Z]|$)/g)].slice(0, mostLeads);
  const leads = ends.map(({ index }) => indent + named.slice(0, index + 1));
  const [composed] = /^[\w.-]{1,255} {1,64}\| /.exec(line) ?? [];
  return [indent, composed ?? '', ...leads].filter((lead) => lead !== '');
}
