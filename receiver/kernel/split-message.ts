import { maxTextLength, type KernelMessage } from './kmsg-record.ts';

/** Messages that carry a cgroup path or a process name. */
interface Splittable {
  begins: string;
  /** How it looks when it is whole. */
  whole: RegExp;
  /** No cgroup's name can hold a newline (the kernel refuses it), but that of a process. */
  hasName: boolean;
}

const splittable: readonly Splittable[] = [
  { begins: 'oom-kill:', whole: /,pid=\d+,uid=-?\d+$/, hasName: true },
  { begins: 'Task in ', whole: / killed as a result of limit of \//, hasName: false },
  { begins: 'Tasks in ', whole: / memory\.oom\.group set$/, hasName: false },
  { begins: 'Memory cgroup stats for ', whole: /:/, hasName: false },
  { begins: 'Killed process ', whole: /\)/, hasName: true },
  { begins: 'Kill process ', whole: /\)/, hasName: true },
  { begins: 'Memory cgroup out of memory', whole: /\)/, hasName: true },
  { begins: 'Out of memory', whole: /\)|no killable/, hasName: true },
];

/** An incomplete message is given up after so many others: a storm of the others must not delay it for long. */
const maxWait = 64;
const maxPieces = 64;

/**
 * Joins messages that were split: long cgroup paths make the kernel write a record in pieces, with records of other
 * CPUs between them, and a newline in a process's name splits a line of text. Only messages that tell of kills are held
 * back, until the next one shows that they are whole; all others pass at once.
 */
export class SplitMessageJoiner {
  #held: { message: KernelMessage; form: Splittable; wholeText?: string; pieces: number; waited: number } | undefined;

  /** Takes the next message and gives those that are known to be whole. */
  feed(message: KernelMessage): KernelMessage[] {
    const form = formOf(message.text);
    if (this.#goesOn(message, form !== undefined)) {
      this.#append(message);
      return [];
    }
    const out: KernelMessage[] = [];
    const held = this.#held;
    if (
      held !== undefined &&
      (form !== undefined || held.form.whole.test(held.message.text) || ++held.waited > maxWait)
    ) {
      out.push(...this.flush());
    }
    if (form === undefined) out.push(message);
    else this.#held = { message, form, pieces: 1, waited: 0 };
    return out;
  }

  /** Gives up what is held back. */
  flush(): KernelMessage[] {
    const held = this.#held;
    this.#held = undefined;
    if (held === undefined) return [];
    const { message, form, wholeText } = held;
    // What followed it was no part of it, if it was whole only before.
    return [form.whole.test(message.text) ? message : { ...message, text: wholeText ?? message.text }];
  }

  #goesOn({ joint, sequence, monotonicUs, wallTimeMs }: KernelMessage, beginsAnew: boolean): boolean {
    const held = this.#held;
    if (held === undefined || held.pieces >= maxPieces) return false;
    if (joint === '\n' && !held.form.hasName) return !held.form.whole.test(held.message.text);
    if (joint !== undefined) return !beginsAnew || !held.form.whole.test(held.message.text);
    // Text without any prefix: a line that follows an unfinished one can only be its rest.
    const bare = sequence === undefined && monotonicUs === undefined && wallTimeMs === undefined;
    return bare && !beginsAnew && held.waited === 0 && !held.form.whole.test(held.message.text);
  }

  #append({ text, joint = '\n' }: KernelMessage): void {
    const held = this.#held!;
    held.pieces++;
    if (held.form.whole.test(held.message.text)) held.wholeText = held.message.text;
    const room = maxTextLength - held.message.text.length;
    // Where the name of a group goes on in a new line, a terminal wrapped it.
    const glue = held.form.hasName ? joint : '';
    held.message = { ...held.message, text: held.message.text + `${glue}${text}`.slice(0, Math.max(0, room)) };
  }
}

function formOf(text: string): Splittable | undefined {
  const first = text.charCodeAt(0);
  // O, T, K, M, o: a look at one character spares most messages the rest.
  if (first !== 0x6f && first !== 0x4d && first !== 0x4b && first !== 0x54 && first !== 0x4f) return undefined;
  return splittable.find(({ begins }) => text.startsWith(begins));
}
