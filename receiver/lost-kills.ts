import { clockGrainMs, countToldUncounted, type Case } from './case.ts';
import type { Cases } from './cases.ts';
import { identifyMemcg } from './cgroup/identity.ts';
import type { Container, ContainerTable } from './container-table.ts';
import { GroupPlaces, isBelow } from './group-places.ts';
import type { Incident } from './incident.ts';
import type { Instant } from './instant.ts';
import type { Ledger } from './ledger.ts';
import {
  findLikeliest,
  readRise,
  podUidOf,
  takeKills,
  tellOfPod,
  type CountedAround,
  type LostRise,
} from './lost-rise.ts';
import type { LostOomKillsCounted, MemcgAppeared, OomKillsCounted, PodFacts, VictimLogged } from './observation.ts';
import { countProcesses, countUnnamed } from './oom-kills.ts';
import type { Witnesses } from './waiting-cases.ts';

/** They wait no longer for a source that begins: the machine's own count of them is given up soon after. */
const mostWaitMs = 7_000;

/** What the log names of a kill that was told without it is known for the same for so long. */
export const namesComeWithinMs = 10_000;

/** More of either are not kept: the oldest make room. */
const mostKept = 1_000;

/** Kills that were told because a slice's counter shows them: what the log says late of a group below it may be one of them. */
interface ToldLost {
  memcg: string;
  /** To whom they were given; absent where to none. */
  containerId?: string;
  processes: number;
  /** When they were counted. */
  atMs: number;
}

/** What is known of lost kills, for a later run to go on with. */
export interface LostKillsState {
  rises: LostRise[];
  told: ToldLost[];
}

interface Waiting extends LostRise {
  /** By the monotonic clock, as `mostDueAtMs`. */
  dueAtMs: number;
  mostDueAtMs: number;
}

/**
 * Kills in groups that went before their own counter was read, and that the counters of groups around them show (v2):
 * those of slices, or of a container in which another one ran. Gives each to the container in which it happened, as
 * precisely as anybody told, and once: what the log has told by name must not be told again by a counter around it, nor
 * the other way round.
 */
export class LostKills {
  readonly #settleMs: number;
  readonly #table: ContainerTable;
  readonly #cases: Cases;
  readonly #ledger: Ledger;
  readonly #witnesses: Witnesses;
  readonly #places: GroupPlaces;
  /** Counters of groups have the kills of those below (v2). */
  #countsBelow = false;
  #waiting: Waiting[] = [];
  #told: (ToldLost & { untilMs: number })[] = [];
  #given: (container: Container) => void = () => {};

  constructor(settleMs: number, table: ContainerTable, cases: Cases, ledger: Ledger, witnesses: Witnesses) {
    this.#settleMs = settleMs;
    this.#table = table;
    this.#places = new GroupPlaces(table);
    this.#cases = cases;
    this.#ledger = ledger;
    this.#witnesses = witnesses;
  }

  /** `told` of each container that a kill is given to or taken from, which nothing else may show. */
  onGive(told: (container: Container) => void): void {
    this.#given = told;
  }

  /** A container's group was seen. */
  learn({
    containerId,
    memcg,
    countsBelow = this.#countsBelow,
  }: Pick<MemcgAppeared, 'containerId' | 'memcg' | 'countsBelow'>): void {
    this.#places.learn(containerId, memcg);
    this.#countsBelow = countsBelow;
  }

  /** A slice's counter shows kills that no container's own counter did. */
  take(counted: LostOomKillsCounted, now: Instant): Incident[] {
    const rise = readRise(counted);
    const isCertain = !this.#witnesses.isKernelLogUp() && this.#likeliest(rise).length === 1;
    const dueAtMs = now.monotonicMs + (isCertain ? 0 : Math.min(this.#settleMs, mostWaitMs));
    this.#waiting.push({ ...rise, dueAtMs, mostDueAtMs: now.monotonicMs + mostWaitMs });
    const crowded = this.#waiting.length > mostKept ? this.#tell(this.#waiting.shift()!, now) : [];
    return [...crowded, ...(isCertain ? this.settle(now) : this.#match(now))];
  }

  /**
   * A container's own counter rose. Kills of containers inside it that are told or named, and whose own counters went
   * with their groups, are given to those; returns what is left for it.
   */
  split(rise: OomKillsCounted, now: Instant): { left?: OomKillsCounted; incidents: Incident[] } {
    if (!this.#countsBelow) return { left: rise, incidents: [] };
    const { memcg, atMs, oomKills } = rise;
    const { processes, group = false } = countProcesses(rise);
    const left: CountedAround = { memcg, atMs, oomKills, processes, group };
    const incidents = this.#giveUncounted(left, this.#findUncounted(now), now);
    if (left.processes === 0 && processes > 0) return { incidents };
    const oomGroupKills = rise.oomGroupKills && left.oomKills - left.processes;
    return { left: { ...rise, oomKills: left.oomKills, oomGroupKills }, incidents };
  }

  /**
   * Whether a victim that the log names is told already, because a counter around its group showed it. `container`: in
   * which it lived, where that is one.
   */
  takeTold(logged: VictimLogged, container: Container | undefined, now: Instant): boolean {
    const memcg = this.#placeOf(logged, container);
    if (memcg === undefined || (container !== undefined && !this.#isLost(container))) return false;
    if (this.#outerOf(memcg).some((outer) => takeUnnamed(this.#caseOf(outer), logged))) return true;
    this.#told = this.#told.filter(({ untilMs, processes }) => untilMs > now.monotonicMs && processes > 0);
    const told = this.#told.find(
      (one) => isBelow(memcg, one.memcg) && logged.atMs <= one.atMs + clockGrainMs && this.#takeGiven(one, logged),
    );
    if (told === undefined) return false;
    told.processes--;
    return true;
  }

  /** The log named a victim in a container: a counter around it may have shown that kill. */
  named(logged: VictimLogged, container: Container, now: Instant): Incident[] {
    const memcg = this.#placeOf(logged, container);
    if (memcg === undefined || container.memcg !== undefined) return [];
    this.#places.learn(container.id, memcg);
    return [...this.#takeBack(memcg, container, now), ...this.#match(now)];
  }

  /** Tells what has waited long enough, or gives it to its container. */
  settle(now: Instant): Incident[] {
    const matched = this.#match(now);
    const { monotonicMs } = now;
    if (this.#witnesses.isBeginning()) this.#putOff(now);
    const due = this.#waiting.filter(({ dueAtMs }) => dueAtMs <= monotonicMs);
    this.#waiting = this.#waiting.filter(({ dueAtMs }) => dueAtMs > monotonicMs);
    return [...matched, ...due.flatMap((rise) => this.#tell(rise, now))];
  }

  /** When `settle` has something to do next, if ever, by the monotonic clock. */
  get dueAtMs(): number | undefined {
    return this.#waiting.length === 0 ? undefined : Math.min(...this.#waiting.map(({ dueAtMs }) => dueAtMs));
  }

  /** What is known now. */
  get state(): LostKillsState {
    return {
      rises: this.#waiting.map(({ dueAtMs: _dueAtMs, mostDueAtMs: _mostDueAtMs, ...rise }) => rise),
      told: this.#told.map(({ untilMs: _untilMs, ...told }) => told),
    };
  }

  /** Goes on where an earlier run stopped. */
  resume({ rises, told }: LostKillsState, { monotonicMs }: Instant): void {
    const due = { dueAtMs: monotonicMs + Math.min(this.#settleMs, mostWaitMs), mostDueAtMs: monotonicMs + mostWaitMs };
    this.#waiting = rises.map((rise) => ({ ...rise, ...due }));
    this.#told = told.map((one) => ({ ...one, untilMs: monotonicMs + namesComeWithinMs }));
  }

  /** A source is about to begin: what it saw of the time before is not told yet. */
  #putOff({ monotonicMs }: Instant): void {
    for (const rise of this.#waiting) {
      if (rise.dueAtMs > monotonicMs) continue;
      rise.dueAtMs = Math.min(monotonicMs + this.#settleMs, rise.mostDueAtMs);
    }
  }

  /** Gives lost kills to the containers below whose deaths are told, or named, and were in no counter. */
  #match(now: Instant): Incident[] {
    if (this.#waiting.length === 0) return [];
    const uncounted = this.#findUncounted(now);
    const incidents = this.#waiting.flatMap((rise) => this.#giveUncounted(rise, uncounted, now));
    this.#waiting = this.#waiting.filter(({ processes }) => processes > 0);
    return incidents;
  }

  #giveUncounted(rise: CountedAround, uncounted: readonly Container[], now: Instant): Incident[] {
    return uncounted.flatMap((container) => {
      if (!this.#shows(rise.memcg, container)) return [];
      const count = Math.min(rise.processes, this.#countUncounted(container, now));
      return count === 0 ? [] : this.#give(rise, container, count, now);
    });
  }

  /** What was counted around the container, and given to another there that is not told yet, was this one's. */
  #takeBack(memcg: string, container: Container, now: Instant): Incident[] {
    if (this.#countUncounted(container, now) === 0) return [];
    const around = this.#told.filter((one) => isBelow(memcg, one.memcg));
    const guessed = around.flatMap(({ containerId = '' }) => this.#table.get(containerId) ?? []);
    const other = [...this.#outerOf(memcg), ...guessed].find((one) => this.#hasUnnamed(one));
    if (other === undefined) return [];
    this.#given(other);
    const atMs = takeCounted(this.#caseOf(other)!);
    this.#ledger.reopen(1, now);
    return this.#give({ memcg: other.memcg ?? '', atMs, oomKills: 1, processes: 1, group: false }, container, 1, now);
  }

  /** Nobody has told whose they are. What the machine's count has not left over is told already. */
  #tell(rise: LostRise, now: Instant): Incident[] {
    const left = this.#ledger.total === undefined ? Infinity : this.#ledger.openKills;
    rise.oomKills = Math.min(rise.oomKills, left);
    rise.processes = Math.min(rise.processes, left);
    if (rise.processes === 0) return [];
    const likeliest = this.#likeliest(rise);
    const incidents = likeliest.flatMap((container) => {
      const count = likeliest.length === 1 ? rise.processes : 1;
      this.#noteTold(rise, count, now, container.id);
      return this.#give(rise, container, count, now);
    });
    if (rise.oomKills === 0) return incidents;
    this.#ledger.account(rise.oomKills, now);
    this.#noteTold(rise, rise.processes, now);
    return [...incidents, ...tellOfPod(rise, this.#podOf(rise), now)];
  }

  /** As its containers tell it. */
  #podOf(rise: LostRise): PodFacts | undefined {
    const uid = podUidOf(rise, this.#places);
    if (uid === undefined) return undefined;
    const { namespace, name } = Array.from(this.#table.all()).find(({ pod }) => pod?.uid === uid)?.pod ?? {};
    return { uid, namespace, name };
  }

  #likeliest(rise: LostRise): Container[] {
    const gone = this.#goneOf(rise.goneContainerIds);
    return findLikeliest(
      rise,
      gone.map((container) => ({ container, open: this.#caseOf(container) })),
    );
  }

  #noteTold({ memcg, atMs }: LostRise, processes: number, { monotonicMs }: Instant, containerId?: string): void {
    this.#told.push({ memcg, containerId, processes, atMs, untilMs: monotonicMs + namesComeWithinMs });
    if (this.#told.length > mostKept) this.#told.shift();
  }

  /** Some of the kills happened in this container. */
  #give(rise: CountedAround, container: Container, processes: number, now: Instant): Incident[] {
    const { memcg, atMs } = rise;
    // Who was told of by name is accounted for as often as the kernel has counted it.
    const open = this.#caseOf(container);
    const isTold = open !== undefined && countToldUncounted(open, now) > 0;
    const oomKills = takeKills(rise, processes, !isTold);
    this.#given(container);
    const { id: containerId } = container;
    const oomGroupKills = oomKills - processes;
    const counted = { kind: 'oom_kills_counted', containerId, atMs, memcg, oomKills, oomGroupKills } as const;
    return this.#cases.observe(counted, container, now);
  }

  /** Containers of whose deaths some are told, or named, and were in no counter. */
  #findUncounted(now: Instant): Container[] {
    return Array.from(this.#table.all()).filter((container) => this.#countUncounted(container, now) > 0);
  }

  /** Whether a group's counter is the next one that has a container's kills: those of groups between them are gone. */
  #shows(memcg: string, { id }: Container): boolean {
    const place = this.#places.of(id) ?? '';
    if (!isBelow(place, memcg)) return false;
    return !this.#outerOf(place).some((outer) => outer.memcg !== undefined && isBelow(outer.memcg, memcg));
  }

  #goneOf(ids: readonly string[]): Container[] {
    return ids.flatMap((id) => this.#table.get(id) ?? []).filter(({ memcg }) => memcg === undefined);
  }

  /** The containers in which a group lies, its own one among them, and whose counters have its kills (v2). */
  #outerOf(memcg: string): Container[] {
    if (!this.#countsBelow) return [];
    return identifyMemcg(memcg).containerIds.flatMap((id) => this.#table.get(id) ?? []);
  }

  /** Where a victim lived. */
  #placeOf({ victim, memcgSeen }: VictimLogged, container: Container | undefined): string | undefined {
    return victim.memcg ?? memcgSeen ?? (container && this.#places.of(container.id));
  }

  /** Its own counter will never show what the log names, and did not. */
  #isLost(container: Container): boolean {
    if (container.memcg !== undefined) return false;
    const open = this.#caseOf(container);
    return open === undefined || countUnnamed(open) <= 0;
  }

  /** Where it was given to a container that is not told yet, it can still be given to the right one. */
  #takeGiven({ containerId = '' }: ToldLost, logged: VictimLogged): boolean {
    const other = this.#table.get(containerId);
    return other === undefined || takeUnnamed(this.#caseOf(other), logged);
  }

  /** Whether kills of a container are counted that are neither told nor named. */
  #hasUnnamed(container: Container): boolean {
    const open = this.#caseOf(container);
    return open !== undefined && countUnnamed(open) > 0;
  }

  /** Its deaths that are told or named, and that no counter has shown. */
  #countUncounted(container: Container, now: Instant): number {
    const open = this.#caseOf(container);
    return open === undefined ? 0 : countToldUncounted(open, now) + Math.max(0, -countUnnamed(open));
  }

  /** To which its counted kills belong. */
  #caseOf(container: Container): Case | undefined {
    return this.#cases.ofGroup(container);
  }
}

/** A kill of this case was told that the log has not named: it is this one's. */
function takeUnnamed(open: Case | undefined, { atMs }: VictimLogged): boolean {
  if (open === undefined || open.toldUnnamed === 0 || atMs > open.unnamedBeforeMs + clockGrainMs) return false;
  open.toldUnnamed--;
  return true;
}

/** Takes the latest kill that was counted, and is neither told nor named, out of a case; returns when it was counted. */
function takeCounted(open: Case): number {
  const last = open.counted.findLast(({ processes }) => processes > 0)!;
  last.processes--;
  return last.atMs;
}
