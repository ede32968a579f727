import { clockGrainMs, countToldUncounted, hasOpenKills, isCounted, isOpen, overAtMs, type Case } from './case.ts';
import { isRunning, type Container } from './container-table.ts';
import { explainEnd } from './exit-cause.ts';
import type { Incident, OomKill } from './incident.ts';
import type { Instant } from './instant.ts';
import type { Ledger } from './ledger.ts';
import { LifeCases } from './life-cases.ts';
import type { LifeTransition } from './life.ts';
import type {
  MainProcessSeen,
  Observation,
  OomKillsCounted,
  UserspaceKillerLogged,
  VictimLogged,
} from './observation.ts';
import { countProcesses, scopeOfNamed, tellKills } from './oom-kills.ts';
import { tellOutside, UnclaimedVictims } from './unclaimed-victims.ts';
import { explainSigkill } from './unexplained-sigkill.ts';
import { WaitingCases, type Witnesses } from './waiting-cases.ts';

/** More signals than this in one life are forgotten, oldest first. */
const mostSignals = 8;

/** A counter is read after no more than half of this: one that has not shown a kill by then has gone with its group. */
const countsComeWithinMs = 10_000;

/**
 * The open cases of all containers: evidence goes in, and what it proves comes out.
 *
 * It answers at once when the evidence is complete (the counter rose, the log named the victim, and /proc shows the
 * main process dying, or alive) and waits at most `settleMs` for the missing piece otherwise.
 */
export class Cases {
  readonly #ledger: Ledger;
  readonly #witnesses: Witnesses;
  readonly #lives = new LifeCases();
  readonly #waiting: WaitingCases;
  readonly #unclaimed: UnclaimedVictims;

  constructor(settleMs: number, ledger: Ledger, witnesses: Witnesses) {
    this.#ledger = ledger;
    this.#witnesses = witnesses;
    this.#waiting = new WaitingCases(settleMs, witnesses);
    this.#unclaimed = new UnclaimedVictims(settleMs, ledger, this.#waiting);
  }

  /** Evidence about a container that reached us `now`. */
  observe(observation: Observation, container: Container, now: Instant): Incident[] {
    const note = (take: (open: Case) => void): Incident[] => this.#note(container, take, now);
    switch (observation.kind) {
      case 'memcg_appeared':
        this.#lives.appear(observation, container);
        return this.#placeVictims(container, now);
      case 'memcg_gone':
        this.#lives.vanish(observation, container);
        return [];
      case 'container_started':
      case 'container_seen': {
        // It may have brought the name, or the exit code.
        const open = this.#lives.known(container);
        return open === undefined ? [] : [...this.#placeVictims(container, now), ...this.#judge(open, now)];
      }
      case 'oom_kills_counted':
        return this.#countKills(observation, container, now);
      case 'oom_victim':
        return this.#nameVictim(observation, container, now);
      case 'processes_seen':
        if (observation.mainPid === undefined) return [];
        this.#lives.ofGroup(container).mainPid ??= observation.mainPid;
        return this.#placeVictims(container, now);
      case 'oom_hinted':
        return note((open) => (open.hintedAtMs = observation.atMs));
      case 'container_signalled':
        return note((open) => (open.signals = [...open.signals.slice(1 - mostSignals), observation]));
      case 'container_stopped':
        return note((open) => (open.stopped = true));
      case 'main_process_seen':
        return this.#noteMainProcess(observation, container, now);
      default:
        return [];
    }
  }

  /** The log named a victim that is in no container we know of. */
  observeStray(logged: VictimLogged, now: Instant): Incident[] {
    // The kernel names the group in most reports; where it held the report back, a counter may tell whose it was.
    const outside = (logged.victim.memcg ?? logged.memcgSeen) !== undefined;
    if (!outside && this.#unclaimed.add(logged, now)) return this.judgeStrays(now);
    this.#ledger.account(timesCounted(logged), now);
    return [tellOutside(logged, now)];
  }

  /** The log named a victim in a container whose kill was told without: it may still explain an end. */
  noteTold(logged: VictimLogged, container: Container, now: Instant): Incident[] {
    const open = this.#lives.ofVictim(logged, container);
    const killed = { evidence: ['kernel_log' as const], scope: scopeOfNamed(logged, container.limitBytes) };
    const mainPid = open.life?.pid ?? open.mainPid;
    if (mainPid === logged.victim.pid) open.initKilled ??= killed;
    if (mainPid === undefined) open.maybeInitKilled = { ...killed, atMs: logged.atMs };
    return this.#judge(open, now);
  }

  /** The machine's count changed, or the log named a victim without its group: it may be certain whose it was. */
  judgeStrays(now: Instant): Incident[] {
    const open = this.#unclaimed.assign(now);
    return open === undefined ? [] : this.#judge(open, now);
  }

  /** A userspace OOM killer wrote that it killed the container, or its main process where it named one. */
  noteUserspaceKill({ killer, atMs, pid }: UserspaceKillerLogged, container: Container, now: Instant): Incident[] {
    const open = this.#lives.ofMainProcess(container, pid);
    if (pid !== undefined && (open.life?.pid ?? open.mainPid ?? pid) !== pid) return [];
    const told = pid === undefined && open.ended === undefined ? this.#lives.of(container) : open;
    for (const one of new Set([open, told])) one.userspaceKill = { killer, atMs };
    return this.#judge(open, now);
  }

  /** Whether a life's group is below this one, of which only the last component can be known. */
  isBelow(container: Container, memcg: string): boolean {
    return this.#lives.all(container).some(({ group }) => group?.memcg.includes(`${memcg}/`) === true);
  }

  /** A life began or ended. */
  turn(transition: LifeTransition, now: Instant): Incident[] {
    const { container, atMs, life } = transition;
    if (transition.kind === 'life_restarted') {
      this.#lives.begin(container, life);
      const restart = {
        kind: 'restart',
        container,
        atMs,
        observedAtMs: now.wallMs,
        previous: transition.previous,
      } as const;
      return [restart, ...this.#placeVictims(container, now)];
    }
    const ending = this.#lives.of(container);
    ending.life = life;
    ending.ended = { atMs, observedAtMs: now.wallMs, life };
    this.#lives.end(container);
    this.#waiting.add(ending, now);
    return [...this.#placeVictims(container, now), ...this.#judge(ending, now)];
  }

  /** Judges what has waited long enough. */
  settle(now: Instant): Incident[] {
    this.#unclaimed.assign(now);
    const due = this.#waiting.takeDue(now);
    return [...due.flatMap((open) => this.#judge(open, now)), ...this.#unclaimed.settle(now)];
  }

  /** All witnesses have begun: what waited for that alone is told. */
  begin(now: Instant): Incident[] {
    return this.#waiting.all.flatMap((open) => this.#judge(open, now));
  }

  /** When `settle` has something to do next, if ever, by the monotonic clock. */
  get dueAtMs(): number | undefined {
    const dueAtMs = Math.min(this.#waiting.dueAtMs ?? Infinity, this.#unclaimed.dueAtMs ?? Infinity);
    return dueAtMs === Infinity ? undefined : dueAtMs;
  }

  /** The cases of a container that may still matter, newest first: those of its present lives, and others that wait. */
  of(container: Container): Case[] {
    return [...new Set([...this.#lives.all(container), ...this.#waiting.of(container)])];
  }

  /** That of the life whose group is there, or was last; to which counted kills belong. */
  ofGroup(container: Container): Case | undefined {
    return this.#lives.knownOfGroup(container);
  }

  /** Takes up the cases of an earlier run: what was open waits as if it came now. */
  resume(container: Container, cases: readonly Case[], now: Instant): void {
    this.#lives.resume(container, cases);
    for (const open of cases) {
      open.uncountedUntilMs = now.monotonicMs + countsComeWithinMs;
      if (isOpen(open)) this.#waiting.add(open, now);
    }
  }

  /** Victims of whom it is open where they lived. */
  get strays(): VictimLogged[] {
    return this.#unclaimed.all;
  }

  /** Takes up those of an earlier run. */
  resumeStrays(strays: readonly VictimLogged[], now: Instant): void {
    for (const logged of strays) this.#unclaimed.add(logged, now);
  }

  /** Whether it is open who the victim of a kill in this container was. */
  hasOpenKills(container: Container): boolean {
    return this.#lives.all(container).some(hasOpenKills);
  }

  /** Host pid of the container's main process, if it runs as far as anybody knows. */
  mainPidOf(container: Container): number | undefined {
    return this.#lives.mainPidOf(container);
  }

  #note(container: Container, take: (open: Case) => void, now: Instant): Incident[] {
    // A stop or a signal that comes before the first start must not colour the life that it begins.
    if (!isRunning(container) && this.#lives.known(container) === undefined) return [];
    const open = this.#lives.of(container);
    take(open);
    return this.#judge(open, now);
  }

  #noteMainProcess(seen: MainProcessSeen, container: Container, now: Instant): Incident[] {
    const open = this.#lives.ofMainProcess(container, seen.pid);
    open.mainProcess = seen;
    return this.#judge(open, now);
  }

  /** More is known of the lives: what the log named, and is not told, may belong to another one of them. */
  #placeVictims(container: Container, now: Instant): Incident[] {
    const changed = new Set<Case>();
    for (const open of this.#lives.all(container)) {
      for (const logged of open.named) {
        const place = this.#lives.ofVictim(logged, container, open);
        if (place === open) continue;
        open.named = open.named.filter((other) => other !== logged);
        place.named.push(logged);
        this.#waiting.awaitKills(place, now);
        changed.add(open).add(place);
      }
    }
    return Array.from(changed).flatMap((open) => this.#judge(open, now));
  }

  #countKills(rise: OomKillsCounted, container: Container, now: Instant): Incident[] {
    const open = this.#lives.ofGroup(container);
    forgetFuture(open, now);
    const counted = countProcesses(rise);
    open.toldUncounted = countToldUncounted(open, now);
    const told = Math.min(open.toldUncounted, counted.processes);
    open.toldUncounted -= told;
    this.#ledger.account(rise.oomKills - told, now);
    open.counted.push({ ...counted, processes: counted.processes - told });
    this.#waiting.awaitKills(open, now);
    this.#unclaimed.assign(now);
    return [...this.#placeVictims(container, now), ...this.#judge(open, now)];
  }

  #nameVictim(logged: VictimLogged, container: Container, now: Instant): Incident[] {
    const open = this.#lives.ofVictim(logged, container);
    forgetFuture(open, now);
    const isOfTold = logged.atMs <= open.unnamedBeforeMs + clockGrainMs || logged.atMs > overAtMs(open);
    if (open.toldUnnamed > 0 && isOfTold) {
      open.toldUnnamed--;
      return [];
    }
    open.named.push(logged);
    this.#waiting.awaitKills(open, now);
    return this.#judge(open, now);
  }

  /** Tells what the evidence allows to tell. */
  #judge(open: Case, now: Instant): Incident[] {
    this.#lives.adoptLife(open);
    const due = open.dueAtMs !== undefined && open.dueAtMs <= now.monotonicMs;
    const { toldUncounted } = open;
    const kills = this.#judgeKills(open, now, due);
    const ends = this.#judgeEnd(open, now, due);
    if (open.toldUncounted > toldUncounted) open.uncountedUntilMs = now.monotonicMs + countsComeWithinMs;
    if (!isOpen(open)) this.#waiting.remove(open);
    return [...kills, ...ends];
  }

  #judgeKills(open: Case, now: Instant, due: boolean): Incident[] {
    // A kill can be known before the runtime has told whose it is, and that the container was started again.
    const { life, ended } = open;
    const isTold = ended !== undefined || (life !== undefined && life.endedAtMs === undefined);
    const isUntold = this.#witnesses.isBeginning() || (!isTold && this.#waiting.expectsRuntime(open, now));
    const isOpenWhose = isUntold || this.#lives.mayBeOfNext(open);
    const kills = isOpenWhose && !due ? [] : tellKills(open, now, due, this.#witnesses.isKernelLogUp());
    for (const kill of kills) this.#settleAccount(kill, open, now);
    if (kills.length > 0 && hasOpenKills(open)) this.#waiting.awaitKills(open, now);
    return kills;
  }

  /** What its counter has not shown, the machine's has; and of a kill that nobody named, one of the strays may be the victim. */
  #settleAccount(kill: OomKill, open: Case, now: Instant): void {
    const { named } = kill;
    if (!kill.evidence.includes('memory_events')) {
      // As long as its group is there, the group's counter will tell how often.
      const times = named !== undefined && !isCounted(open) ? timesCounted(named) : 1;
      this.#ledger.account(times, now);
    }
    if (named === undefined && this.#witnesses.isKernelLogUp()) this.#unclaimed.noteUnnamed(now);
  }

  #judgeEnd(open: Case, now: Instant, due: boolean): Incident[] {
    if (open.ended === undefined || open.endTold) return [];
    const end = explainEnd(open, due);
    if (end === 'wait') return [];
    open.endTold = true;
    return end === 'unexplained' ? explainSigkill(open, this.#ledger, now) : [end];
  }
}

/** How often the machine's count has this victim. */
function timesCounted({ victim: { countedTwice } }: VictimLogged): number {
  return countedTwice === true ? 2 : 1;
}

/** The clock was set back: what lies in the future now was seen before a kill that comes, not after it. */
function forgetFuture(open: Case, { wallMs }: Instant): void {
  if (open.mainProcess !== undefined && open.mainProcess.atMs > wallMs) open.mainProcess = undefined;
  if (open.unnamedBeforeMs > wallMs) Object.assign(open, { toldUnnamed: 0, unnamedBeforeMs: -Infinity });
}
