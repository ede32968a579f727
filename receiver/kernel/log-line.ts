import { maxTextLength, parseKmsgRecord, type KernelMessage } from './kmsg-record.ts';
import { readPrefix } from './log-prefix.ts';

/** How far a pasted log may be indented, or quoted. */
const indentation = /^[ \t>|]{1,32}/;

/** A line that only says who speaks, as a search through a syslog file leaves it. */
const nameAlone = /^(?:[^\s:]{1,255} )?kernel: (?=\S)/;

/**
 * Reads the kernel's messages from lines of text, whatever wrote them, with the forms of prefixes that `readPrefix`
 * knows. The form is found for each line anew.
 */
export class LogLineReader {
  readonly #nowMs: () => number;
  #before: 'none' | 'kmsg' | 'prefixed' | 'bare' = 'none';
  /** What stands before each prefix. */
  #indent = '';

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** The message of a line without its newline; undefined where it holds none of the kernel's. */
  read(line: string): KernelMessage | undefined {
    const text = this.#withoutIndent(line.length > maxTextLength ? line.slice(0, maxTextLength) : line);
    if (this.#before === 'kmsg' && text.startsWith(' ')) return undefined;
    if (text.trim() === '') return undefined;
    const record = parseKmsgRecord(text);
    if (record !== undefined) {
      this.#before = 'kmsg';
      return record;
    }
    const prefix = readPrefix(text, this.#nowMs());
    if (prefix === 'foreign') {
      this.#before = 'prefixed';
      return undefined;
    }
    if (prefix === undefined) return this.#bare(text);
    this.#before = 'prefixed';
    const { end, ...position } = prefix;
    return { ...position, text: text.slice(end).trimEnd() };
  }

  /** The first line that has a prefix tells how far all are indented. */
  #withoutIndent(line: string): string {
    if (this.#before === 'none' || this.#before === 'bare') {
      const [indent = ''] = indentation.exec(line) ?? [];
      const text = line.slice(indent.length);
      if (indent === '' || (readPrefix(text, this.#nowMs()) ?? parseKmsgRecord(text)) !== undefined)
        this.#indent = indent;
    }
    return line.startsWith(this.#indent) ? line.slice(this.#indent.length) : line;
  }

  /** A line without any prefix, among lines that have one, belongs to the message before it. */
  #bare(text: string): KernelMessage {
    if (this.#before === 'prefixed') return { text: text.trim(), joint: '\n' };
    this.#before = 'bare';
    const name = nameAlone.exec(text)?.[0].length ?? 0;
    const said = text.slice(name).trimEnd();
    const prefix = name === 0 ? undefined : readPrefix(said, this.#nowMs());
    if (prefix === undefined || prefix === 'foreign') return { text: said };
    const { end, ...position } = prefix;
    return { ...position, text: said.slice(end) };
  }
}
