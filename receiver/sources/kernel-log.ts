import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { identifyMemcg } from '../cgroup/identity.ts';
import { readMemcgOf } from '../cgroup/process-memcg.ts';
import { readBootId } from '../kernel/boot-id.ts';
import { LogClock, processClocks, type ProcessClocks } from '../kernel/log-clock.ts';
import type { KernelMessage, LogPosition } from '../kernel/kmsg-record.ts';
import { isLater, positionOf } from '../kernel/log-position.ts';
import type { LogGap, LogResumption, LogSink, LogStart, LogTap, LogWay } from '../kernel/log-tap.ts';
import type { NothingKillable, OomEvent, OomVictim } from '../kernel/oom-event.ts';
import { OomReports } from '../kernel/oom-report.ts';
import { readPageSize } from '../kernel/page-size.ts';
import { parseUserspaceKill } from '../kernel/userspace-killer.ts';
import type { Emit, KernelLogGap } from '../observation.ts';
import { notingTelling, type Source } from '../source.ts';
import { printable, type OnBadInput } from './bad-input.ts';
import { CountersTold, type TimeSpan } from './counters-told.ts';
import { openKernelLog, type KernelLogSearch } from './kernel-log-tap.ts';

export interface KernelLogOptions extends KernelLogSearch {
  /** How often the log is read where nothing hints at a kill. */
  pollIntervalMs: number;
  /** Where an earlier run stopped, as in `resume`. */
  resumeAfter?: LogResumption;
  /**
   * Where the log cannot be read, the counters have told of a kill so long after it, in milliseconds, and a line that
   * comes later is no longer known for the same; undefined while they are not read.
   */
  countersTellWithinMs?(): number | undefined;
  /** Told which way is taken each time that the log was opened. */
  onOpen(from: string, refused: readonly string[], way: LogWay): void;
  /** Told of each part of the log that was lost. */
  onGap(gap: KernelLogGap): void;
  onBadInput: OnBadInput;
  /** Clocks of this process; the real ones where not given. */
  clocks?: ProcessClocks;
  /** Opens the log; given only where a test must make it fail. */
  open?: typeof openKernelLog;
}

/** Where so many records came at once, the ring may be overwritten before the next look, so that it comes soon. */
const floodRecords = 100;
const floodMs = 10;

/** When to look again after a hint: the runtime or the counter can be ahead of the log. */
const looksAgainAfterMs = [2, 10, 30, 100, 300];

/** Whoever must know what the log has by now waits no longer for it. */
const catchesUpWithinMs = 100;

/** Later a pid can be another process's. */
const pidIsSameForMs = 5_000;

/** Groups of victims that wait for the rest of their report; more than one or two only if the log is forged. */
const mostGroups = 1_000;

/** A log file that gives whole seconds, and is written a little later, means the same moment. */
const sameTimeMs = 2_000;

/** That nothing can be killed is told of one group only so often. */
const stuckAgainAfterMs = 1_000;
const mostStuck = 64;

/** The kernel's log: who was killed, in which group, and by whose limit. */
export class KernelLogSource implements Source {
  readonly name = 'kernel_log';
  readonly #options: KernelLogOptions;
  readonly #clocks: ProcessClocks;
  readonly #clock: LogClock;
  /** Empty where it cannot be read. */
  readonly #bootId: string;
  readonly #pageBytes = readPageSize();
  readonly #startUs: number;
  #resumeAfter: LogResumption | undefined;
  readonly #countersTold: CountersTold;
  readonly #stuck = new Map<string, number>();
  #reports: OomReports;
  /** Groups that /proc showed of victims, by their pid. */
  readonly #groups = new Map<number, string>();
  #emit: Emit = () => {};
  #tap: LogTap | undefined;
  /** As it was told last. */
  #opened = '';
  #wake: () => void = () => {};
  /** The next of the looks after a hint. */
  #look = looksAgainAfterMs.length;
  /** How many records the last reading brought. */
  #records = 0;
  #last: LogPosition | undefined;
  /** When a message was last read that the parser may still hold, by CLOCK_MONOTONIC. */
  #unsettledSinceUs: number | undefined;
  /** When the log was last read to its end, by CLOCK_MONOTONIC, until a message follows. */
  #endSeenUs: number | undefined;
  /** The last message that was not to be told. */
  #lastOld: LogPosition | undefined;
  #readsOld = false;
  /** What an earlier run has told is passed. */
  #caughtUp = false;
  /** Somebody takes what is told right now, and may ask for more of it meanwhile. */
  #isTelling = false;
  /** Catching up took too long: only a reading that lets others have their turns goes on. */
  #isBehind = false;
  /** All up to here is told. */
  #told: LogPosition = {};

  constructor(options: KernelLogOptions) {
    this.#options = options;
    this.#resumeAfter = options.resumeAfter;
    this.#clocks = options.clocks ?? processClocks;
    this.#clock = new LogClock(this.#clocks);
    this.#startUs = this.#clocks.monotonicUs();
    this.#bootId = readBootId(options.hostRoot) ?? '';
    this.#countersTold = new CountersTold(this.#startUs);
    this.#reports = new OomReports(this.#pageBytes);
  }

  async observe(emit: Emit, up: () => void, signal: AbortSignal): Promise<void> {
    const stop = (): void => this.#wake();
    signal.addEventListener('abort', stop);
    this.#begin(emit);
    this.#reachTold();
    try {
      const { open = openKernelLog } = this.#options;
      const { tap, refused, more } = await open(this.#options, this.#start(), this.#sink);
      this.#tap = tap;
      this.#tellOpened(tap, refused);
      await this.#readOn(tap, more, signal);
      up();
      while (!signal.aborted) {
        // What is read by catching up meanwhile is a part of the flood, if there is one.
        const before = tap.lastSequence ?? 0;
        await this.#wait(tap, signal);
        await this.#readOn(tap, await tap.read(this.#sink), signal);
        this.#records = (tap.lastSequence ?? 0) - before;
      }
    } finally {
      signal.removeEventListener('abort', stop);
      this.#end();
    }
  }

  /** Before it observes: where an earlier run stopped. What was logged since is told, but not what the counters told. */
  resume(after: LogResumption, countersTold: readonly TimeSpan[] = []): void {
    this.#resumeAfter = after;
    this.#countersTold.resume(countersTold);
  }

  /** Reads the log at once, and again shortly after. */
  lookAt(): void {
    this.#look = 0;
    this.#wake();
  }

  /**
   * Tells what the log has by now, where it can be read without waiting: on a node that is short of CPU a kill can be
   * due to be judged before the next look has come. Not again before all was read once, where that takes too long.
   */
  catchUp(): void {
    const tap = this.#tap;
    if (tap?.way !== 'kernel_log' || !this.#caughtUp || this.#isTelling || this.#isBehind) return;
    const untilMs = performance.now() + catchesUpWithinMs;
    try {
      while (tap.read(this.#sink) === true) {
        if (performance.now() < untilMs) continue;
        this.#isBehind = true;
        return this.#wake();
      }
    } catch {
      // The next look meets it as well, and ends this reading.
      return;
    }
    this.#reachEnd();
    const isWhole = this.#last !== undefined && this.#clocks.wallMs() - this.#timeOf(this.#last) >= tap.silenceMs;
    if (isWhole) this.#settle();
  }

  /** Up to where the log is told, to go on from there after a restart; undefined where that cannot be said. */
  position(): LogResumption | undefined {
    if (this.#bootId === '') return undefined;
    return (this.#caughtUp ? this.#position() : undefined) ?? this.#resumeAfter;
  }

  /** When the counters alone told of kills, as far as the log was not read there since. */
  get countersTold(): readonly TimeSpan[] {
    return this.#countersTold.spans;
  }

  #position(): LogResumption | undefined {
    const { lastSequence, place } = (this.#unsettledSinceUs === undefined ? this.#tap : undefined) ?? {};
    const { monotonicUs, wallTimeMs } = this.#told;
    const sequence = lastSequence ?? this.#told.sequence;
    const file = place ?? this.#told.place;
    if (sequence === undefined && monotonicUs === undefined && file === undefined) return undefined;
    return { bootId: this.#bootId, sequence, monotonicUs, wallTimeMs, file };
  }

  #start(): LogStart {
    const after = this.position();
    const resumeAfter = after === undefined ? undefined : this.#withBothTimes(after);
    return { bootId: this.#bootId, startUs: this.#startUs, resumeAfter };
  }

  /** One way to read the log tells the time since the boot, another the date; this run's need not be the earlier one's. */
  #withBothTimes(after: LogResumption): LogResumption {
    const { monotonicUs, wallTimeMs } = after;
    if (after.bootId !== this.#bootId) return after;
    if (monotonicUs !== undefined) return { ...after, wallTimeMs: wallTimeMs ?? this.#clock.wallMsOf(monotonicUs) };
    if (wallTimeMs === undefined) return after;
    // A date is cut off, most often to whole seconds.
    const upToMs = wallTimeMs + (wallTimeMs % 1000 === 0 ? 1000 : 1);
    return { ...after, monotonicUs: this.#usOf(upToMs) };
  }

  #begin(emit: Emit): void {
    this.#emit = notingTelling(emit, (isTelling) => (this.#isTelling = isTelling));
    this.#reports = new OomReports(this.#pageBytes);
    this.#unsettledSinceUs = undefined;
    this.#endSeenUs = undefined;
    this.#last = undefined;
    this.#lastOld = undefined;
    this.#readsOld = false;
    this.#caughtUp = false;
    this.#isBehind = false;
    this.#told = {};
  }

  /** What happens while the log cannot be read is told without it. */
  #reachTold(): void {
    const withinMs = this.#options.countersTellWithinMs?.();
    const nowUs = this.#clocks.monotonicUs();
    if (withinMs === undefined) this.#countersTold.begin(nowUs);
    else this.#countersTold.reach(nowUs - withinMs * 1000);
  }

  #end(): void {
    this.#settle();
    this.#resumeAfter = this.position();
    if (this.#tap !== undefined) this.#countersTold.begin(this.#clocks.monotonicUs());
    this.#caughtUp = false;
    this.#tap?.close();
    this.#tap = undefined;
    this.#emit = () => {};
  }

  #tellOpened({ from, way }: LogTap, refused: readonly string[]): void {
    const opened = [from, ...refused].join();
    if (opened !== this.#opened) this.#options.onOpen(from, refused, way);
    this.#opened = opened;
  }

  /** Reads to the end, others having their turns, and gives out what the parser held for long enough. */
  async #readOn(tap: LogTap, hasMore: boolean, signal: AbortSignal): Promise<void> {
    let more = hasMore;
    while (more && !signal.aborted) {
      await setImmediate();
      more = await tap.read(this.#sink);
    }
    const nowUs = this.#reachEnd();
    if (this.#unsettledSinceUs !== undefined && nowUs - this.#unsettledSinceUs >= tap.silenceMs * 1000) this.#settle();
    if (!more && this.#unsettledSinceUs === undefined) this.#countersTold.clear();
  }

  /** Returns the time by CLOCK_MONOTONIC. */
  #reachEnd(): number {
    this.#endSeenUs = this.#clocks.monotonicUs();
    this.#isBehind = false;
    this.#endOld();
    return this.#endSeenUs;
  }

  /** Until the next look is due, or somebody hints. */
  async #wait({ restMs, idleMs, silenceMs }: LogTap, signal: AbortSignal): Promise<void> {
    if (restMs > 0) await sleep(restMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    const heldMs = (this.#clocks.monotonicUs() - (this.#unsettledSinceUs ?? -Infinity)) / 1000;
    const settleMs = this.#unsettledSinceUs === undefined ? Infinity : silenceMs - heldMs;
    const againMs = looksAgainAfterMs[this.#look++] ?? Infinity;
    const soonMs = this.#records >= floodRecords ? floodMs : Infinity;
    const delayMs = Math.min(Math.max(idleMs, this.#options.pollIntervalMs), soonMs, againMs, settleMs);
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.max(1, Math.ceil(delayMs)));
    this.#wake = resolve;
    await promise;
    clearTimeout(timer);
  }

  readonly #sink: LogSink = {
    message: (message, old) => this.#take(message, old),
    gap: (gap, old, next) => this.#lose(gap, old, next),
    malformed: (what, value) => this.#options.onBadInput(what, printable(value)),
  };

  #take(message: KernelMessage, isOld: boolean): void {
    if ((message.facility ?? 0) !== 0) return isOld ? undefined : this.#tellUserspaceKill(message);
    // The rest of a message whose beginning was told is no message: a process's name can be it.
    const old = isOld || (this.#readsOld && message.joint !== undefined);
    this.#last = positionOf(message);
    if (old) {
      this.#readsOld = true;
      this.#lastOld = this.#last;
      this.#told = this.#last;
      this.#reports.feed(message);
      return;
    }
    this.#endOld();
    this.#calibrate(this.#last);
    this.#unsettledSinceUs = this.#clocks.monotonicUs();
    this.#seeGroup(message);
    this.#tell(this.#reports.feed(message));
  }

  /** A victim is soon gone from /proc: by the time that its report is whole, it may be too late to ask for its group. */
  #seeGroup({ text, facility = 0, ...at }: KernelMessage): void {
    const isNew = this.#clocks.wallMs() - this.#timeOf(at) < pidIsSameForMs;
    const pid = isNew && facility === 0 ? /\bKilled process (\d{1,10}) \(/.exec(text)?.[1] : undefined;
    if (pid === undefined) return;
    // A line that was told twice has left the group of an earlier process.
    this.#groups.delete(Number(pid));
    const memcg = readMemcgOf(this.#options.hostRoot, Number(pid));
    if (memcg === undefined) return;
    if (this.#groups.size >= mostGroups) this.#groups.clear();
    this.#groups.set(Number(pid), memcg);
  }

  /** What comes from now on is to be told; victims of the time before that wait for the next message are not. */
  #endOld(): void {
    this.#caughtUp = true;
    if (!this.#readsOld) return;
    this.#readsOld = false;
    this.#reports.settle();
  }

  #calibrate({ sequence, monotonicUs }: LogPosition): void {
    // Only /dev/kmsg, which alone has numbers, is read where a message appears.
    if (this.#endSeenUs !== undefined && sequence !== undefined && monotonicUs !== undefined) {
      this.#clock.calibrate(monotonicUs, this.#endSeenUs);
    }
    this.#endSeenUs = undefined;
  }

  #settle(): void {
    if (this.#unsettledSinceUs === undefined) return;
    this.#tell(this.#reports.settle());
    this.#unsettledSinceUs = undefined;
    this.#told = this.#last ?? this.#told;
  }

  #lose({ reason, lostRecords }: LogGap, old: boolean, next?: LogPosition): void {
    const events = this.#reports.flush();
    if (old) return;
    if (!this.#readsOld) this.#tell(events);
    const atMs = this.#clocks.wallMs();
    const fromMs = this.#last === undefined ? undefined : this.#timeOf(this.#last);
    const toMs = next === undefined ? atMs : this.#timeOf(next);
    const gap: KernelLogGap = { kind: 'kernel_log_gap', source: this.name, atMs, fromMs, toMs, lostRecords, reason };
    this.#options.onGap(gap);
    this.#emit(gap);
  }

  #tell(events: readonly OomEvent[]): void {
    for (const event of events) {
      if (event.kind === 'oom_victim') this.#tellVictim(event);
      if (event.kind === 'oom_nothing_killable') this.#tellStuck(event);
    }
  }

  #tellVictim(victim: OomVictim): void {
    const { at, confirmed } = victim;
    // Chosen long ago, and the line that says that it was killed is lost: that was before the time to be told.
    if (!confirmed && this.#lastOld !== undefined && !isLater(this.#lastOld, at, 0)) return;
    const memcgSeen = victim.memcg === undefined ? this.#groups.get(victim.pid) : undefined;
    this.#groups.delete(victim.pid);
    const [atMs, bootId] = [this.#timeOf(at), this.#bootIdOf(at)];
    // Before it is told: who takes it may write down at once how far the log is told.
    if (confirmed) this.#told = positionOf(at);
    if (this.#countersTold.has(this.#usOf(atMs)) && !isOutside(victim.memcg ?? memcgSeen)) return;
    this.#emit({ kind: 'oom_victim', source: this.name, atMs, victim, memcgSeen, bootId });
  }

  #tellUserspaceKill({ text, ...at }: KernelMessage): void {
    const kill = parseUserspaceKill(text);
    if (kill === undefined) return;
    this.#emit({ kind: 'userspace_killer_logged', source: this.name, atMs: this.#timeOf(at), ...kill });
  }

  #tellStuck({ at, invocation }: NothingKillable): void {
    const atMs = this.#timeOf(at);
    if (this.#countersTold.has(this.#usOf(atMs))) return;
    const memcg = invocation?.oomMemcg ?? '';
    const toldMs = this.#stuck.get(memcg);
    if (toldMs !== undefined && Math.abs(atMs - toldMs) < stuckAgainAfterMs) return;
    if (this.#stuck.size >= mostStuck) this.#stuck.clear();
    this.#stuck.set(memcg, atMs);
    this.#emit({ kind: 'nothing_killable', source: this.name, atMs, invocation, bootId: this.#bootIdOf(at) });
  }

  #bootIdOf(at: LogPosition): string | undefined {
    return this.#kernelMsOf(at) === undefined ? undefined : this.#bootId || undefined;
  }

  #timeOf(at: LogPosition): number {
    return this.#kernelMsOf(at) ?? at.wallTimeMs ?? this.#clocks.wallMs();
  }

  #usOf(wallMs: number): number {
    return this.#clocks.monotonicUs() - (this.#clocks.wallMs() - wallMs) * 1000;
  }

  /** By the kernel's own time, which is finer than that of most log files, as long as it is of this boot. */
  #kernelMsOf({ monotonicUs, wallTimeMs }: LogPosition): number | undefined {
    const kernelMs = monotonicUs === undefined ? undefined : this.#clock.wallMsOf(monotonicUs);
    if (kernelMs === undefined || wallTimeMs === undefined) return kernelMs;
    return Math.abs(kernelMs - wallTimeMs) < sameTimeMs ? kernelMs : undefined;
  }
}

/** Whether a group is neither a container's nor a pod's: of a kill in it no counter tells where it happened. */
function isOutside(memcg: string | undefined): boolean {
  if (memcg === undefined) return false;
  const { containerId, podMemcg, kubepodsMemcg } = identifyMemcg(memcg);
  return containerId === undefined && podMemcg === undefined && kubepodsMemcg === undefined;
}
