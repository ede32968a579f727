import { constants } from 'node:os';
import { isRunning, type Container } from './container-table.ts';
import type { ContainerExit, Evidence, ExitCause, Incident, OomKill } from './incident.ts';
import type { Instant } from './instant.ts';
import type { Ledger } from './ledger.ts';
import type { Life, Transition } from './life.ts';
import type { Observation, OomKillsCounted } from './observation.ts';
import type { ExitReason } from './workload.ts';

const { SIGINT, SIGQUIT, SIGTERM, SIGKILL } = constants.signals;

/** Signals that ask a process to end. Others, like SIGHUP, do so only where the process does not handle them. */
const endingSignals = new Set<number>([SIGINT, SIGQUIT, SIGTERM, SIGKILL]);

/** Exit code of a main process that a SIGKILL ended, or that exits so itself: the runtime does not tell them apart. */
const exitCodeOfSigkill = 128 + SIGKILL;

/** A signal that somebody asked for explains an exit within this time. */
const signalExplainsExitForMs = 10_000;

/** A runtime's OOM event belongs to a counted kill this close to it. */
const hintExplainsKillForMs = 2_000;

/**
 * How long a kill waits for the runtime to tell which process is the container's main one, or that it ended: a busy
 * Docker is seconds late. Without either, nobody could look whether it was spared.
 */
const mainProcessToldWithinMs = 5_000;

/** A container that a working runtime has not told of for so long is none of its own. */
const othersAfterMs = 60_000;

/** More cases than this are forgotten, oldest first. */
const mostCases = 10_000;

/** More signals than this in one life are forgotten, oldest first. */
const mostSignals = 8;

/** What is known so far of one life's death, or of kills in it, and is not told yet. */
interface Case {
  container: Container;
  /** Absent where no runtime has told of it. */
  life?: Life;
  /** Counted, but whether the main process is among them is open. */
  openKills: OomKillsCounted[];
  /** When the first of them is told at the latest, by the monotonic clock. */
  killsDueByMs?: number;
  hintedAtMs?: number;
  signals: { signal?: number; atMs: number }[];
  stopped: boolean;
  mainProcess?: { alive: boolean; atMs: number };
  /** The main process was the victim, on this evidence; already told. */
  initKilled?: Evidence[];
  /** Its main process ended. */
  ended?: { atMs: number; observedAtMs: number; life: Life };
  /** When it is judged on what there is, by the monotonic clock. */
  dueAtMs?: number;
}

/**
 * Joins what several witnesses saw of one death into one incident. Pure but for its memory: time is an argument, and
 * the same observations within the settle time give the same incidents in any order.
 *
 * It answers at once when the evidence is complete (the counter rose and /proc shows the main process dying, or alive)
 * and waits at most `settleMs` for the missing piece otherwise.
 */
export class Correlator {
  readonly #settleMs: number;
  readonly #ledger: Ledger;
  readonly #isRuntimeUp: () => boolean;
  /** The present life's case of each container that has one. */
  readonly #cases = new Map<string, Case>();
  /** Cases of lives that were followed by another before they were told. */
  #closing: Case[] = [];

  /** `isRuntimeUp`: whether a runtime can be expected to tell of containers now. */
  constructor(settleMs: number, ledger: Ledger, isRuntimeUp: () => boolean) {
    this.#settleMs = settleMs;
    this.#ledger = ledger;
    this.#isRuntimeUp = isRuntimeUp;
  }

  /** Evidence about a container that reached us `now`. */
  observe(observation: Observation, container: Container, now: Instant): Incident[] {
    const note = (take: (open: Case) => void): Incident[] => this.#note(container, take, now);
    switch (observation.kind) {
      case 'memcg_appeared':
        if (observation.fresh && !isRunning(container)) this.#close(container);
        return [];
      case 'container_removed':
        return this.#dropIfEmpty(container);
      case 'container_seen':
        // It may have brought the exit code.
        return this.#cases.has(container.id) ? note(() => {}) : [];
      case 'oom_kills_counted':
        return this.#countKills(observation, container, now);
      case 'oom_hinted':
        return note((open) => (open.hintedAtMs = observation.atMs));
      case 'container_signalled':
        return note((open) => (open.signals = [...open.signals.slice(1 - mostSignals), observation]));
      case 'container_stopped':
        return note((open) => (open.stopped = true));
      case 'main_process_seen':
        return note((open) => (open.mainProcess = observation));
      default:
        return [];
    }
  }

  /** A life began or ended. */
  turn(transition: Transition, now: Instant): Incident[] {
    const { container, atMs, life } = transition;
    if (transition.kind === 'life_restarted') {
      const open = this.#cases.get(container.id);
      if (open !== undefined && open.life === undefined && open.ended === undefined) open.life = life;
      else this.#close(container);
      return [{ kind: 'restart', container, atMs, observedAtMs: now.wallMs, previous: transition.previous }];
    }
    const ending = this.#caseOf(container);
    ending.life = life;
    ending.ended = { atMs, observedAtMs: now.wallMs, life };
    ending.dueAtMs = Math.min(ending.dueAtMs ?? Infinity, now.monotonicMs + this.#settleMs);
    return this.#judge(ending, now);
  }

  /** Judges what has waited long enough. Containers that the runtime called out of memory have the first claim. */
  settle(now: Instant): Incident[] {
    const due = this.#open()
      .filter(({ dueAtMs }) => dueAtMs !== undefined && dueAtMs <= now.monotonicMs)
      .toSorted((a, b) => Number(b.hintedAtMs !== undefined) - Number(a.hintedAtMs !== undefined));
    return due.flatMap((open) => this.#judge(open, now));
  }

  /** Whether it is open who the victim of a kill in this container was. */
  hasOpenKills({ id }: Container): boolean {
    return (this.#cases.get(id)?.openKills.length ?? 0) > 0;
  }

  /**
   * Whether the runtime is still to tell which process is the container's main one.
   */
  expectsMainProcess(container: Container, { wallMs }: Instant): boolean {
    const { life, memcgSinceMs, workload } = container;
    const unknown = isRunning(container) ? life?.pid === undefined : this.#isRuntimeUp();
    const sinceMs = Math.max(life?.startedAtMs ?? 0, memcgSinceMs ?? 0, workload.firstSeenAtMs);
    return unknown && wallMs - sinceMs < othersAfterMs;
  }

  /** When `settle` has something to do next, if ever, by the monotonic clock. */
  get dueAtMs(): number | undefined {
    const due = this.#open().flatMap(({ dueAtMs }) => dueAtMs ?? []);
    return due.length === 0 ? undefined : Math.min(...due);
  }

  #note(container: Container, take: (open: Case) => void, now: Instant): Incident[] {
    // A stop or a signal that comes after the end was told must not colour the next life.
    if (!isRunning(container) && !this.#cases.has(container.id)) return [];
    const open = this.#caseOf(container);
    take(open);
    return this.#judge(open, now);
  }

  #countKills(counted: OomKillsCounted, container: Container, now: Instant): Incident[] {
    this.#ledger.account(counted.oomKills);
    const open = this.#caseOf(container);
    const waitMs = this.expectsMainProcess(container, now)
      ? Math.max(this.#settleMs, mainProcessToldWithinMs)
      : this.#settleMs;
    // One kill after the other must not put off the first for good.
    if (open.openKills.length === 0) open.killsDueByMs = now.monotonicMs + 2 * waitMs;
    open.openKills.push(counted);
    open.dueAtMs = Math.min(now.monotonicMs + waitMs, open.killsDueByMs ?? Infinity);
    return this.#judge(open, now);
  }

  /** Tells what the evidence allows to tell, and forgets the case once its life's end is told. */
  #judge(open: Case, now: Instant): Incident[] {
    this.#adoptLife(open);
    const due = open.dueAtMs !== undefined && open.dueAtMs <= now.monotonicMs;
    const incidents: Incident[] = [...this.#judgeKills(open, now, due), ...this.#judgeEnd(open, now, due)];
    const told = open.ended === undefined || incidents.some(({ kind }) => kind === 'exit');
    if (open.openKills.length === 0 && told) {
      open.dueAtMs = undefined;
      // A runtime may tell of the life and its end only after its main process was killed.
      const endAwaited = open.initKilled !== undefined && this.#isRuntimeUp();
      if (open.ended !== undefined || (open.life === undefined && !endAwaited)) this.#forget(open);
    }
    return incidents;
  }

  /** The runtime can tell of a life after the kernel counted kills in it. */
  #adoptLife(open: Case): void {
    const { container } = open;
    if (isRunning(container) && this.#cases.get(container.id) === open) open.life ??= container.life;
  }

  #judgeKills(open: Case, now: Instant, due: boolean): OomKill[] {
    const counted = open.openKills;
    if (counted.length === 0) return [];
    const victim = decideVictim(open, due);
    if (victim === undefined) return [];
    const evidence = evidenceOf(open);
    open.openKills = [];
    const kills = counted.flatMap((rise) => tellRise(open, rise, now, evidence));
    for (const [index, kill] of kills.entries()) kill.victim = victim === 'init' && index > 0 ? 'child' : victim;
    const mainProcessAlive = victim === 'child' && open.ended === undefined;
    for (const kill of kills) kill.mainProcessAlive = mainProcessAlive;
    if (victim === 'init') open.initKilled = evidence;
    // The next kill has a hint of its own.
    open.hintedAtMs = undefined;
    return kills;
  }

  #judgeEnd(open: Case, now: Instant, due: boolean): Incident[] {
    if (open.ended === undefined) return [];
    const { exitCode } = open.ended.life;
    // Where an event did not tell it, an inspection may still do so.
    if (exitCode === undefined && !due) return [];
    const endedBySigkill = exitCode === exitCodeOfSigkill;
    if (open.initKilled !== undefined && (endedBySigkill || exitCode === undefined)) {
      return [tellEnd(open, 'oom_killed', 'oom_container', open.initKilled)];
    }
    const asked = decideAsked(open, due);
    if (asked === 'wait') return [];
    if (asked === 'stop') return [tellEnd(open, reasonOfStop(exitCode), 'stopped', ['runtime_event'])];
    if (!endedBySigkill) return [tellOwnEnd(open, exitCode)];
    if (!due) return [];
    if (asked === 'kill') return [tellEnd(open, 'killed', 'killed_externally', ['runtime_event'])];
    return this.#judgeUnexplained(open, now);
  }

  /**
   * Nobody asked for this SIGKILL and no counter explains it. Where the group went before its counter could be read,
   * the machine's own count decides; where that is not to be had either, the runtime's word.
   */
  #judgeUnexplained(open: Case, now: Instant): Incident[] {
    const { memcg, memcgSinceMs } = open.container;
    // A group that was made after the end is the next life's.
    const counterLost = memcg === undefined || (memcgSinceMs ?? -Infinity) >= open.ended!.atMs;
    if (!counterLost) return [tellEnd(open, 'killed', 'killed_externally', ['exit_status', 'memory_events'])];
    const hinted: Evidence[] = hintOf(open, open.ended!.atMs) === undefined ? [] : ['runtime_event'];
    if (this.#ledger.total === undefined) {
      return hinted.length === 0
        ? [tellEnd(open, 'killed', 'unknown', ['exit_status'])]
        : tellInferred(open, now, [...hinted, 'exit_status']);
    }
    return this.#ledger.takeOne()
      ? tellInferred(open, now, ['vmstat', ...hinted, 'exit_status'])
      : [tellEnd(open, 'killed', 'killed_externally', ['exit_status', 'vmstat'])];
  }

  #caseOf(container: Container): Case {
    const existing = this.#cases.get(container.id);
    if (existing !== undefined) return existing;
    const life = isRunning(container) ? container.life : undefined;
    const open: Case = { container, life, openKills: [], signals: [], stopped: false };
    if (this.#cases.size >= mostCases) this.#cases.delete(this.#cases.keys().next().value!);
    this.#cases.set(container.id, open);
    return open;
  }

  /** Another life begins: what this one left open is told when it is due. */
  #close(container: Container): void {
    const open = this.#cases.get(container.id);
    this.#cases.delete(container.id);
    if (open?.dueAtMs !== undefined) this.#closing.push(open);
  }

  #dropIfEmpty(container: Container): Incident[] {
    if (this.#cases.get(container.id)?.dueAtMs === undefined) this.#cases.delete(container.id);
    return [];
  }

  #forget(open: Case): void {
    if (this.#cases.get(open.container.id) === open) this.#cases.delete(open.container.id);
    this.#closing = this.#closing.filter((closing) => closing !== open);
  }

  #open(): Case[] {
    return [...this.#closing, ...this.#cases.values()];
  }
}

/** Whether the main process is among the counted victims; undefined while that may still show. */
function decideVictim(open: Case, due: boolean): OomKill['victim'] | undefined {
  const { container, ended, mainProcess, openKills, life = container.life, initKilled } = open;
  if (initKilled !== undefined) return 'child';
  if (ended?.life.exitCode !== undefined) return ended.life.exitCode === exitCodeOfSigkill ? 'init' : 'child';
  const looked = mainProcess !== undefined && mainProcess.atMs >= openKills.at(-1)!.atMs;
  if (looked) return mainProcess.alive ? 'child' : 'init';
  if (endedByItself(container, life)) return 'child';
  if (!due) return undefined;
  if (ended !== undefined) return 'init';
  return life !== undefined && life.endedAtMs === undefined ? 'child' : 'unknown';
}

/** Its end was told before the kill was counted; not so where the next life's group is there already. */
function endedByItself({ memcgSinceMs }: Container, life: Life | undefined): boolean {
  if (life?.endedAtMs === undefined || life.exitCode === undefined || life.exitCode === exitCodeOfSigkill) return false;
  return memcgSinceMs === undefined || memcgSinceMs < life.endedAtMs;
}

/**
 * Whether somebody asked the runtime to end this life: by a stop, or by a SIGKILL alone. `wait` while the runtime may
 * still say that it was a stop.
 */
function decideAsked({ container, ended, signals, stopped }: Case, due: boolean): 'stop' | 'kill' | 'wait' | undefined {
  if (stopped) return 'stop';
  const recent = signals.filter(({ atMs }) => ended !== undefined && ended.atMs - atMs <= signalExplainsExitForMs);
  const exitCode = ended?.life.exitCode;
  // Which signal it was Podman does not tell: the one that ended the process, then.
  const sent = recent.map(({ signal = exitCode === exitCodeOfSigkill ? SIGKILL : SIGTERM }) => signal);
  const ending = sent.filter((signal) => endingSignals.has(signal) || exitCode === 128 + signal);
  if (ending.some((signal) => signal !== SIGKILL)) return 'stop';
  // Podman tells of a stop by its event alone, which may come after the end.
  const stopMayCome = recent.length > 0 || container.runtime === 'podman';
  if (stopMayCome && !due) return 'wait';
  return ending.length > 0 ? 'kill' : undefined;
}

/** When the runtime called the container out of memory, if it did about that time. */
function hintOf({ hintedAtMs }: Case, atMs: number): number | undefined {
  return hintedAtMs !== undefined && Math.abs(atMs - hintedAtMs) <= hintExplainsKillForMs ? hintedAtMs : undefined;
}

function evidenceOf(open: Case): Evidence[] {
  const { openKills, ended, mainProcess } = open;
  const hinted = hintOf(open, openKills[0]!.atMs) !== undefined;
  const exited = ended !== undefined || mainProcess?.alive === false;
  return [
    'memory_events',
    ...(hinted ? (['runtime_event'] as const) : []),
    ...(exited ? (['exit_status'] as const) : []),
  ];
}

/** One record for each process that died; the kernel counts the first victim of a group kill twice. */
function tellRise(open: Case, rise: OomKillsCounted, now: Instant, evidence: Evidence[]): OomKill[] {
  const groupKills = rise.oomGroupKills ?? 0;
  const { container } = open;
  const atMs = Math.min(hintOf(open, rise.atMs) ?? rise.atMs, rise.atMs, open.ended?.atMs ?? Infinity);
  const group = rise.oomGroupKills === undefined ? undefined : groupKills > 0;
  return Array.from({ length: rise.oomKills - groupKills }, (_, index) => ({
    kind: 'oom_kill',
    container,
    atMs,
    observedAtMs: now.wallMs,
    incidentId: incidentIdOf(container, rise.atMs, groupKills > 0 ? index % groupKills : index),
    victim: 'unknown',
    scope: rise.ooms !== undefined && rise.ooms > 0 ? 'container' : 'unknown',
    group,
    evidence,
    limitBytes: rise.limitBytes ?? container.limitBytes,
  }));
}

function tellInferred(open: Case, now: Instant, evidence: Evidence[]): Incident[] {
  const { container, ended } = open;
  const atMs = hintOf(open, ended!.atMs) ?? ended!.atMs;
  const kill: OomKill = {
    kind: 'oom_kill',
    container,
    atMs,
    observedAtMs: now.wallMs,
    incidentId: incidentIdOf(container, atMs, 0),
    victim: 'init',
    scope: 'unknown',
    evidence,
    limitBytes: container.limitBytes,
  };
  return [kill, tellEnd(open, 'oom_killed', 'oom_container', evidence)];
}

function incidentIdOf(container: Container, atMs: number, index: number): string {
  return `${container.id.slice(0, 12)}-${Math.round(atMs * 1000).toString(36)}-${index}`;
}

/** Nobody asked and nobody killed: the main process ended by itself, or by a signal of its own making. */
function tellOwnEnd(open: Case, exitCode: number | undefined): ContainerExit {
  if (exitCode === undefined) return tellEnd(open, 'error', 'unknown', []);
  if (exitCode === 0) return tellEnd(open, 'completed', 'completed', ['exit_status']);
  return tellEnd(open, 'error', isSignalled(exitCode) ? 'app_signal' : 'app_error', ['exit_status']);
}

function reasonOfStop(exitCode: number | undefined): ExitReason {
  if (exitCode === 0) return 'completed';
  return exitCode === undefined || isSignalled(exitCode) ? 'killed' : 'error';
}

/** Runtimes report a main process that a signal ended as 128 + its number. */
function isSignalled(exitCode: number): boolean {
  return exitCode > 128 && exitCode <= 128 + 64;
}

function tellEnd(open: Case, reason: ExitReason, cause: ExitCause, evidence: readonly Evidence[]): ContainerExit {
  const { container, ended } = open;
  const { atMs, observedAtMs, life } = ended!;
  return {
    kind: 'exit',
    container,
    atMs,
    observedAtMs,
    life,
    exitCode: life.exitCode,
    reason,
    cause,
    evidence: life.exitCode === undefined ? [...evidence] : [...new Set<Evidence>([...evidence, 'exit_status'])],
  };
}
