import { execFile } from 'node:child_process';
import { setImmediate } from 'node:timers/promises';
import { LogLineReader } from './log-line.ts';
import { isOld, type LogSink, type LogStart, type LogTap } from './log-tap.ts';

/** The buffer of a large machine is 16 MB, and each message gets a prefix. */
const mostBytes = 64 * 2 ** 20;
const timeoutMs = 5_000;

/** What was read last is found again by so much of its end. */
const tailCharacters = 2_048;

const linesPerTurn = 500;

/** Where dmesg is found, and how it is called: all of the log by syslog(2), as it is. */
const dmesg: readonly string[] = ['dmesg', '--syslog', '--raw'];

/**
 * Reads the kernel log by util-linux' `dmesg`, which asks syslog(2) for the whole of it and needs no device, only
 * CAP_SYSLOG. It can neither wait nor go on from somewhere (only /dev/kmsg can), so that it is run again and again, at
 * 2 to 10 ms of CPU, and what is new is found by what was last before. Lines of util-linux 2.38 on 6.18:
 *
 *     <3>[21801.513259] Memory cgroup out of memory: Killed process 3700 (tail) total-vm:19076kB, anon-rss:16256kB, …
 */
export class DmesgProcess implements LogTap {
  readonly from: string;
  readonly restMs = 200;
  readonly idleMs = 5_000;
  readonly silenceMs = 200;
  readonly #start: LogStart;
  readonly #command: readonly string[];
  readonly #lines = new LogLineReader(() => Date.now());
  #tail: string | undefined;
  #lastUs = -1;
  readonly #closing = new AbortController();

  constructor(start: LogStart, command: readonly string[] = dmesg) {
    this.#start = start;
    this.#command = command;
    this.from = command.join(' ');
  }

  /** Rejects where dmesg is missing, or the kernel refuses. */
  async read(sink: LogSink): Promise<boolean> {
    const output = await this.#run();
    const isFirstReading = this.#tail === undefined;
    const newFrom = this.#tail ? endOf(this.#tail, output) : -1;
    const fresh = newFrom === -1 ? output : output.slice(newFrom);
    // An emptied log has lost nothing that we can see.
    const lost = this.#tail !== undefined && this.#tail !== '' && newFrom === -1 && output !== '';
    if (output !== '' || isFirstReading) this.#tail = output.slice(-tailCharacters);
    await this.#take(fresh.split('\n'), isFirstReading, lost, sink);
    return false;
  }

  close(): void {
    this.#closing.abort();
  }

  async #take(lines: readonly string[], isFirstReading: boolean, lost: boolean, sink: LogSink): Promise<void> {
    const afterUs = this.#lastUs;
    let gap = lost;
    for (const [index, line] of lines.entries()) {
      if (index % linesPerTurn === linesPerTurn - 1) await setImmediate();
      const message = this.#lines.read(line);
      if (message === undefined || (message.facility ?? 0) !== 0) continue;
      // After a gap what is left of the log is read anew.
      if (lost && message.monotonicUs !== undefined && message.monotonicUs <= afterUs) continue;
      if (gap) sink.gap({ reason: 'lost' }, false, message);
      gap = false;
      this.#lastUs = Math.max(this.#lastUs, message.monotonicUs ?? -1);
      sink.message(message, isOld(this.#start, message, isFirstReading));
    }
  }

  #run(): Promise<string> {
    const [program, ...args] = this.#command;
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const options = { maxBuffer: mostBytes, timeout: timeoutMs, signal: this.#closing.signal };
    execFile(program!, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const said = stderr.trim();
      const cause = said === '' || error.code === 'ENOENT' ? error : new Error(said.slice(0, 200));
      reject(new Error(`cannot run "${this.from}"`, { cause }));
    });
    return promise;
  }
}

/** Where in the output what was last before ends, or where its last line does, if the rest is overwritten; else -1. */
function endOf(tail: string, output: string): number {
  const lastLine = tail.slice(tail.lastIndexOf('\n', tail.length - 2) + 1);
  for (const known of [tail, lastLine]) {
    const at = output.lastIndexOf(known);
    if (at !== -1) return at + known.length;
  }
  return -1;
}
