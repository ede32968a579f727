import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { LineSplitter } from '../sources/line-splitter.ts';
import { maxTextLength } from './kmsg-record.ts';
import { KnownLines } from './known-lines.ts';
import { LogLineReader } from './log-line.ts';
import { mayTellUserspaceKill } from './userspace-killer.ts';
import { isOld, type LogSink, type LogStart, type LogTap } from './log-tap.ts';

const timeoutMs = 5_000;

/** So much of what the program says of its failure is told. */
const mostSaidCharacters = 200;

/** Where dmesg is found, and how it is called: all of the log by syslog(2), as it is. */
const dmesg: readonly string[] = ['dmesg', '--syslog', '--raw'];

/**
 * Reads the kernel log by util-linux' `dmesg`, which asks syslog(2) for the whole of it and needs no device, only
 * CAP_SYSLOG. It can neither wait nor go on from somewhere (only /dev/kmsg can), so that it is run again and again, at
 * 2 to 10 ms of CPU, and what is new is found by what was there before. Lines of util-linux 2.38 on 6.18:
 *
 *     <3>[21801.513259] Memory cgroup out of memory: Killed process 3700 (tail) total-vm:19076kB, anon-rss:16256kB, …
 */
export class DmesgProcess implements LogTap {
  readonly way = 'dmesg';
  readonly from: string;
  readonly restMs = 200;
  readonly idleMs = 5_000;
  readonly silenceMs = 200;
  readonly #start: LogStart;
  readonly #command: readonly string[];
  readonly #lines = new LogLineReader(() => Date.now());
  readonly #known = new KnownLines();
  readonly #closing = new AbortController();
  #isFirstReading = true;
  #lastUs = -1;

  constructor(start: LogStart, command: readonly string[] = dmesg) {
    this.#start = start;
    this.#command = command;
    this.from = command.join(' ');
  }

  /** Rejects where dmesg is missing, or the kernel refuses. */
  async read(sink: LogSink): Promise<boolean> {
    const [program, ...args] = this.#command;
    // With three pipes, because a container without devices may lack /dev/null, too.
    const child = spawn(program!, args, { timeout: timeoutMs, signal: this.#closing.signal });
    child.stdin.end();
    const ended = endOf(child);
    try {
      // A failure to start it ends its output, too.
      await this.#takeAll(child.stdout, sink);
      await ended;
    } catch (cause) {
      throw new Error(`cannot run "${this.from}"`, { cause });
    }
    this.#isFirstReading = false;
    return false;
  }

  close(): void {
    this.#closing.abort();
  }

  /** Line by line, as they come: the whole of it can be many megabytes. */
  async #takeAll(output: Readable, sink: LogSink): Promise<void> {
    const splitter = new LineSplitter(2 * maxTextLength, (start) => sink.malformed('line is too long', start));
    const told = { upToUs: this.#lastUs, gap: false };
    const takeEach = (lines: readonly string[]): void => {
      for (const line of lines) this.#take(line, told, sink);
    };
    this.#known.begin();
    for await (const chunk of output) splitter.push(chunk as Buffer, (line) => takeEach(this.#known.feed(line)));
    takeEach(this.#known.end());
  }

  #take(line: string, told: { upToUs: number; gap: boolean }, sink: LogSink): void {
    const message = this.#lines.read(line);
    if (message === undefined || ((message.facility ?? 0) !== 0 && !mayTellUserspaceKill(message.text))) return;
    const { isUnsure, isLost } = this.#known;
    if (isUnsure && message.monotonicUs !== undefined && message.monotonicUs <= told.upToUs) return;
    if (isLost && !told.gap) sink.gap({ reason: 'lost' }, false, message);
    told.gap = isLost;
    this.#lastUs = Math.max(this.#lastUs, message.monotonicUs ?? -1);
    sink.message(message, isOld(this.#start, message, this.#isFirstReading));
  }
}

/** Resolves once the program has ended well; rejects with what it said, if it did not. Nobody must wait for it. */
function endOf(child: ChildProcessWithoutNullStreams): Promise<void> {
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    if (said.length < mostSaidCharacters) said += chunk.toString();
  });
  const ended = once(child, 'close').then(([code, signal]: (number | string | null)[]) => {
    if (code === 0) return;
    throw new Error(said.trim().slice(0, mostSaidCharacters) || `it ended with ${signal ?? code}`);
  });
  ended.catch(() => undefined);
  return ended;
}
