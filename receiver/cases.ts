import { hintOf, openCase, type Case } from './case.ts';
import { isRunning, type Container } from './container-table.ts';
import { causeOfScope, explainEnd, tellEnd } from './exit-cause.ts';
import type { Evidence, Incident, NodeOomKill, OomKill } from './incident.ts';
import type { Instant } from './instant.ts';
import type { OomInvocation } from './kernel/oom-dump.ts';
import type { Ledger } from './ledger.ts';
import type { Transition } from './life.ts';
import type { Observation, OomKillsCounted, VictimLogged } from './observation.ts';
import { countProcesses, countUnnamed, idOfNamed, scopeOfNamed, tellKills } from './oom-kills.ts';
import { Strays } from './strays.ts';

/**
 * A kill that only the machine's count shows belongs to an end this close to it, unless the runtime called the
 * container out of memory. The count is polled, and a main process is told to have ended only after its memory is freed.
 */
const countExplainsEndWithinMs = 1_000;

/**
 * How long a kill waits for the runtime to tell which process is the container's main one, or that it ended: a busy
 * Docker is seconds late. Without either, nobody could look whether it was spared.
 */
const mainProcessToldWithinMs = 5_000;

/** One kill after the other must not put off the first for longer. */
const mostWaitMs = 5_000;

/** A container that a working runtime has not told of for so long is none of its own. */
const othersAfterMs = 60_000;

/** More signals than this in one life are forgotten, oldest first. */
const mostSignals = 8;

/** A counter is read after no more than half of this: one that has not shown a kill by then has gone with its group. */
const countsComeWithinMs = 10_000;

/** What the log names of a kill that was told without it comes no later. */
const straysComeWithinMs = 5_000;

/** Times of the log and of a counter's reading are this exact. */
const clockGrainMs = 50;

/** Which witnesses can be expected to speak now. */
export interface Witnesses {
  /** A runtime that tells of containers. */
  isRuntimeUp(): boolean;
  /** The kernel log, which names each victim. */
  isKernelLogUp(): boolean;
  /** One of them is about to begin: what it saw of the time before is not told yet. */
  isBeginning(): boolean;
}

/**
 * The open cases of all containers: evidence goes in, and what it proves comes out.
 *
 * It answers at once when the evidence is complete (the counter rose, the log named the victim, and /proc shows the
 * main process dying, or alive) and waits at most `settleMs` for the missing piece otherwise.
 */
export class Cases {
  readonly #settleMs: number;
  readonly #ledger: Ledger;
  readonly #witnesses: Witnesses;
  /** The present life's case of each container that has one. */
  readonly #cases = new WeakMap<Container, Case>();
  /** The case of the life before, where the next one's group is there and nothing else is known of that life. */
  readonly #past = new WeakMap<Container, Case>();
  /** Cases in which something is open, also of lives that were followed by another. */
  readonly #waiting = new Set<Case>();
  readonly #strays: Strays;
  /** Group kills whose first victim is accounted for twice, as the machine's count has it. */
  readonly #groupKills = new WeakSet<OomInvocation>();
  /** When a kill was told last that the log should have named, by the monotonic clock. */
  #unnamedAtMs = -Infinity;

  constructor(settleMs: number, ledger: Ledger, witnesses: Witnesses) {
    this.#settleMs = settleMs;
    this.#strays = new Strays(settleMs);
    this.#ledger = ledger;
    this.#witnesses = witnesses;
  }

  /** Evidence about a container that reached us `now`. */
  observe(observation: Observation, container: Container, now: Instant): Incident[] {
    const note = (take: (open: Case) => void): Incident[] => this.#note(container, take, now);
    switch (observation.kind) {
      case 'memcg_appeared':
        if (observation.fresh && !isRunning(container)) this.#setAside(container);
        return [];
      case 'container_started':
      case 'container_seen': {
        // It may have brought the name, or the exit code.
        const open = this.#cases.get(container);
        return open === undefined ? [] : this.#judge(open, now);
      }
      case 'oom_kills_counted':
        return this.#countKills(observation, container, now);
      case 'oom_victim':
        return this.#nameVictim(observation, container, now);
      case 'processes_seen':
        if (observation.mainPid !== undefined) this.#caseOf(container).mainPid ??= observation.mainPid;
        return [];
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

  /** The log named a victim that is in no container we know of. */
  observeStray(logged: VictimLogged, now: Instant): Incident[] {
    // The kernel names the group in most reports; where it held the report back, a counter may tell whose it was.
    const outside = (logged.victim.memcg ?? logged.memcgSeen) !== undefined;
    if (!outside && this.#strays.add(logged, now)) return this.judgeStrays(now);
    this.#ledger.account(this.#timesCounted(logged), now);
    return [tellOutside(logged, now)];
  }

  /** The machine's count changed, or the log named a victim without its group: it may be certain whose it was. */
  judgeStrays(now: Instant): Incident[] {
    const open = this.#assignStrays(now);
    return open === undefined ? [] : this.#judge(open, now);
  }

  /** A life began or ended. */
  turn(transition: Transition, now: Instant): Incident[] {
    const { container, atMs, life } = transition;
    if (transition.kind === 'life_restarted') {
      this.#begin(container, life);
      return [{ kind: 'restart', container, atMs, observedAtMs: now.wallMs, previous: transition.previous }];
    }
    const ending = this.#caseOf(container);
    ending.life = life;
    ending.ended = { atMs, observedAtMs: now.wallMs, life };
    this.#wait(ending, now.monotonicMs + this.#settleMs);
    return this.#judge(ending, now);
  }

  /** Judges what has waited long enough. Containers that the runtime called out of memory have the first claim. */
  settle(now: Instant): Incident[] {
    this.#assignStrays(now);
    const due = [...this.#waiting]
      .filter(({ dueAtMs }) => dueAtMs !== undefined && dueAtMs <= now.monotonicMs)
      .filter((open) => !this.#waitsForBeginning(open, now))
      .toSorted((a, b) => Number(b.hintedAtMs !== undefined) - Number(a.hintedAtMs !== undefined));
    return [...due.flatMap((open) => this.#judge(open, now)), ...this.#settleStrays(now)];
  }

  #waitsForBeginning(open: Case, { monotonicMs }: Instant): boolean {
    if (!this.#witnesses.isBeginning() || (open.killsDueByMs ?? -Infinity) <= monotonicMs) return false;
    open.dueAtMs = monotonicMs + this.#settleMs;
    return true;
  }

  /** The cases of a container that may still matter: the present one, the one before it, others that wait. */
  of(container: Container): Case[] {
    const present = this.#cases.get(container);
    const waiting = [...this.#waiting].filter((open) => open.container === container);
    return [...new Set([present, present?.before, ...waiting])].filter((open) => open !== undefined);
  }

  /** Takes up the cases of an earlier run, the present one first: what was open waits as if it came now. */
  resume(container: Container, [present, ...others]: readonly Case[], { monotonicMs }: Instant): void {
    if (present === undefined) return;
    this.#cases.set(container, present);
    present.before = others[0];
    for (const open of [present, ...others]) {
      open.uncountedUntilMs = monotonicMs + countsComeWithinMs;
      if (isOpen(open)) this.#wait(open, monotonicMs + this.#settleMs);
    }
  }

  /** Victims of whom it is open where they lived. */
  get strays(): VictimLogged[] {
    return this.#strays.all;
  }

  /** Takes up those of an earlier run. */
  resumeStrays(strays: readonly VictimLogged[], now: Instant): void {
    for (const logged of strays) this.#strays.add(logged, now);
  }

  /** Whether it is open who the victim of a kill in this container was. */
  hasOpenKills(container: Container): boolean {
    const open = this.#cases.get(container);
    return open !== undefined && hasOpenKills(open);
  }

  /** Host pid of the container's main process, if it runs as far as anybody knows. */
  mainPidOf(container: Container): number | undefined {
    const { life } = container;
    if (life?.pid !== undefined && isRunning(container)) return life.pid;
    const open = this.#cases.get(container);
    return open?.ended === undefined ? open?.mainPid : undefined;
  }

  /** Whether the runtime is still to tell that the container runs, which brings its name, or its main process. */
  #expectsRuntime(container: Container, { wallMs }: Instant): boolean {
    const { life, memcgSinceMs, workload } = container;
    const mayTell = isRunning(container) || this.#witnesses.isRuntimeUp();
    const isTold = isRunning(container) && this.mainPidOf(container) !== undefined;
    const sinceMs = Math.max(life?.startedAtMs ?? 0, memcgSinceMs ?? 0, workload.firstSeenAtMs);
    return mayTell && !isTold && wallMs - sinceMs < othersAfterMs;
  }

  /** When `settle` has something to do next, if ever, by the monotonic clock. */
  get dueAtMs(): number | undefined {
    const due = [...this.#waiting, this.#strays].flatMap(({ dueAtMs }) => dueAtMs ?? []);
    return due.length === 0 ? undefined : Math.min(...due);
  }

  #note(container: Container, take: (open: Case) => void, now: Instant): Incident[] {
    // A stop or a signal that comes before the first start must not colour the life that it begins.
    if (!isRunning(container) && !this.#cases.has(container)) return [];
    const open = this.#caseOf(container);
    take(open);
    return this.#judge(open, now);
  }

  #countKills(rise: OomKillsCounted, container: Container, now: Instant): Incident[] {
    const open = this.#caseOf(container);
    const counted = countProcesses(rise);
    if (now.monotonicMs > (open.uncountedUntilMs ?? Infinity)) open.toldUncounted = 0;
    const told = Math.min(open.toldUncounted, counted.processes);
    open.toldUncounted -= told;
    this.#ledger.account(rise.oomKills - told, now);
    open.counted.push({ ...counted, processes: counted.processes - told });
    this.#awaitKills(open, now);
    this.#assignStrays(now);
    return this.#judge(open, now);
  }

  #nameVictim(logged: VictimLogged, container: Container, now: Instant): Incident[] {
    const open = this.#caseOfVictim(logged, container);
    if (open.toldUnnamed > 0 && logged.atMs <= open.unnamedBeforeMs + clockGrainMs) {
      open.toldUnnamed--;
      return [];
    }
    open.named.push(logged);
    this.#awaitKills(open, now);
    return this.#judge(open, now);
  }

  #awaitKills(open: Case, now: Instant): void {
    const awaitsRuntime = this.#expectsRuntime(open.container, now);
    const waitMs = awaitsRuntime ? Math.max(this.#settleMs, mainProcessToldWithinMs) : this.#settleMs;
    open.killsDueByMs ??=
      now.monotonicMs + Math.max(waitMs, this.#witnesses.isBeginning() ? mostWaitMs : Math.min(2 * waitMs, mostWaitMs));
    open.dueAtMs = undefined;
    this.#wait(open, Math.min(now.monotonicMs + waitMs, open.killsDueByMs));
  }

  #wait(open: Case, untilMs: number): void {
    open.dueAtMs = Math.min(open.dueAtMs ?? Infinity, untilMs);
    this.#waiting.add(open);
  }

  /** Tells what the evidence allows to tell. */
  #judge(open: Case, now: Instant): Incident[] {
    this.#adoptLife(open);
    const due = open.dueAtMs !== undefined && open.dueAtMs <= now.monotonicMs;
    // A kill can be known before the runtime has told whose it is, and that the container was started again.
    const { container, ended } = open;
    const isUntold = !isRunning(container) && ended === undefined && this.#expectsRuntime(container, now);
    const uncounted = open.toldUncounted;
    const kills = isUntold && !due ? [] : tellKills(open, now, due, this.#witnesses.isKernelLogUp());
    if (open.toldUncounted > uncounted) open.uncountedUntilMs = now.monotonicMs + countsComeWithinMs;
    for (const kill of kills) this.#settleAccount(kill, now);
    if (kills.length > 0 && hasOpenKills(open)) this.#awaitKills(open, now);
    const ends = this.#judgeEnd(open, now, due);
    if (!isOpen(open)) {
      open.dueAtMs = undefined;
      this.#waiting.delete(open);
    }
    return [...kills, ...ends];
  }

  /** What its counter has not shown, the machine's has; and of a kill that nobody named, one of the strays may be the victim. */
  #settleAccount(kill: OomKill, now: Instant): void {
    const { named, container } = kill;
    if (!kill.evidence.includes('memory_events')) {
      // As long as its group is there, the group's counter will tell how often.
      const times = named !== undefined && container.memcg === undefined ? this.#timesCounted(named) : 1;
      this.#ledger.account(times, now);
    }
    if (named !== undefined || !this.#witnesses.isKernelLogUp()) return;
    // Where the machine's kills are counted, those that are left over tell which strays are told.
    if (this.#ledger.total === undefined) this.#strays.dropOldest();
    this.#unnamedAtMs = now.monotonicMs;
  }

  /** How often the machine's count has this victim: that of a `memory.oom.group` kill has the first one twice. */
  #timesCounted({ victim: { invocation } }: VictimLogged): number {
    if (invocation?.oomGroup === undefined || this.#groupKills.has(invocation)) return 1;
    this.#groupKills.add(invocation);
    return 2;
  }

  /** The runtime can tell of a life after the kernel counted kills in it. */
  #adoptLife(open: Case): void {
    const { container } = open;
    if (isRunning(container) && this.#cases.get(container) === open) open.life ??= container.life;
  }

  #judgeEnd(open: Case, now: Instant, due: boolean): Incident[] {
    if (open.ended === undefined || open.endTold) return [];
    const end = explainEnd(open, due);
    if (end === 'wait') return [];
    open.endTold = true;
    return end === 'unexplained' ? this.#explainSigkill(open, now) : [end];
  }

  /**
   * Nobody asked for this SIGKILL and no counter explains it. Where the group went before its counter could be read,
   * the machine's own count decides; where that is not to be had either, the runtime's word.
   */
  #explainSigkill(open: Case, now: Instant): Incident[] {
    const { memcg, memcgSinceMs } = open.container;
    const { atMs } = open.ended!;
    // A group that was made after the end is the next life's.
    const counterLost = memcg === undefined || (memcgSinceMs ?? -Infinity) >= atMs;
    if (!counterLost) return [tellEnd(open, 'killed', 'killed_externally', ['exit_status', 'memory_events'])];
    const hinted: Evidence[] = hintOf(open, atMs) === undefined ? [] : ['runtime_event'];
    if (this.#ledger.total === undefined) {
      return hinted.length === 0
        ? [tellEnd(open, 'killed', 'unknown', ['exit_status'])]
        : tellInferred(open, now, [...hinted, 'exit_status']);
    }
    const withinMs = hinted.length === 0 ? countExplainsEndWithinMs : Infinity;
    return this.#ledger.takeOne(atMs - withinMs, atMs + withinMs)
      ? tellInferred(open, now, ['vmstat', ...hinted, 'exit_status'])
      : [tellEnd(open, 'killed', 'killed_externally', ['exit_status', 'vmstat'])];
  }

  #caseOf(container: Container): Case {
    const existing = this.#cases.get(container);
    if (existing !== undefined) return existing;
    const open = openCase(container, isRunning(container) ? container.life : undefined, this.#past.get(container));
    this.#past.delete(container);
    this.#cases.set(container, open);
    return open;
  }

  /** A life has ended and another one is about to begin: what comes is of that, but for what the log tells late. */
  #setAside(container: Container): void {
    const last = this.#cases.get(container);
    if (last === undefined) return;
    last.before = undefined;
    this.#past.set(container, last);
    this.#cases.delete(container);
  }

  /** The victim may have died in the life before: the log tells of it when it is read. */
  #caseOfVictim({ victim, atMs }: VictimLogged, container: Container): Case {
    const open = this.#caseOf(container);
    const { before, life } = open;
    if (before === undefined || life?.pid === victim.pid) return open;
    const beganAtMs = life?.startedAtMs ?? container.memcgSinceMs;
    return before.life?.pid === victim.pid || (beganAtMs !== undefined && atMs < beganAtMs) ? before : open;
  }

  /** Another life begins: what the last one left open is told when it is due. */
  #begin(container: Container, life: Case['life']): void {
    const last = this.#cases.get(container);
    if (last !== undefined && last.life === undefined && last.ended === undefined) {
      last.life = life;
      return;
    }
    if (last !== undefined) last.before = undefined;
    this.#cases.set(container, openCase(container, life, last ?? this.#past.get(container)));
    this.#past.delete(container);
  }

  /**
   * Where only one container has kills that nobody named, they are those of the victims whose group nobody named: once
   * all kills of the machine are found in some counter, or the container's can wait no longer. Not while some can be
   * those of kills that were told unnamed. Returns its case.
   */
  #assignStrays(now: Instant): Case | undefined {
    if (this.#strays.dueAtMs === undefined || now.monotonicMs - this.#unnamedAtMs < straysComeWithinMs)
      return undefined;
    const unnamed = [...this.#waiting].filter((open) => countUnnamed(open) > 0);
    const [open] = unnamed;
    if (open === undefined || unnamed.length > 1) return undefined;
    if (!this.#ledger.isBalanced && (open.dueAtMs ?? Infinity) > now.monotonicMs) return undefined;
    open.named.push(...this.#strays.takeFor(open));
    return open;
  }

  /** A victim of whom no counter tells lived outside of containers, or in one that is gone with its counter. */
  #settleStrays(now: Instant): Incident[] {
    const unnamedWait = [...this.#waiting].some((open) => countUnnamed(open) > 0);
    if (unnamedWait && now.monotonicMs !== Infinity) this.#strays.putOff(now);
    // Where the machine has counted no kill that is not told yet, this one is told already.
    const untold = this.#strays
      .takeDue(now)
      .filter(() => this.#ledger.total === undefined || this.#ledger.takeOne(-Infinity, Infinity));
    return untold.map((logged) => tellOutside(logged, now));
  }
}

/** Something of it is to be told. */
function hasOpenKills({ counted, named }: Case): boolean {
  return counted.length + named.length > 0;
}

function isOpen({ counted, named, ended, endTold }: Case): boolean {
  return counted.length + named.length > 0 || (ended !== undefined && !endTold);
}

function tellOutside(named: VictimLogged, now: Instant): NodeOomKill {
  return {
    kind: 'node_oom_kill',
    atMs: named.atMs,
    observedAtMs: now.wallMs,
    incidentId: idOfNamed(named),
    scope: scopeOfNamed(named),
    named,
  };
}

function tellInferred(open: Case, now: Instant, evidence: Evidence[]): Incident[] {
  const { container, ended } = open;
  const atMs = hintOf(open, ended!.atMs) ?? ended!.atMs;
  const kill: OomKill = {
    kind: 'oom_kill',
    container,
    atMs,
    observedAtMs: now.wallMs,
    incidentId: `${container.id.slice(0, 12)}-${Math.round(atMs * 1000).toString(36)}-0`,
    victim: 'init',
    scope: 'unknown',
    evidence,
    limitBytes: container.limitBytes,
  };
  return [kill, tellEnd(open, 'oom_killed', causeOfScope.unknown, evidence)];
}
