import { clockGrainMs, exitCodeOfSigkill, isCounted, openCase, overAtMs, type Case, type Group } from './case.ts';
import { isRunning, type Container } from './container-table.ts';
import type { Life } from './life.ts';
import type { MemcgAppeared, MemcgGone, VictimLogged } from './observation.ts';
import { countUnnamed } from './oom-kills.ts';

/** Lives of one container that begin before the runtime tells of the first of them; more are forgotten, oldest first. */
const mostCases = 8;

/** The clock of a log that cannot be waited for is not corrected: what it tells may seem to have happened when it was read. */
const logClockErrorMs = 1_000;

/** The cases of one container's lives. */
interface Lives {
  /** Oldest first: the one before `told`, and those that followed. */
  cases: Case[];
  /** That of the life which the runtime told of last. */
  told: Case;
  /** That of the life whose group is there, or was last: the kernel can be ahead of the runtime. */
  grouped: Case;
}

/**
 * Which life's case evidence belongs to. Each witness tells of a container's lives one after the other, but one can be
 * ahead of the other: the group of the next life can be there, with kills in it, before the runtime has told of the end
 * of the last; and the log tells of a victim when it is read, be that late or early.
 */
export class LifeCases {
  readonly #lives = new WeakMap<Container, Lives>();

  /** That of the life which the runtime told of last, if there is one already. */
  known(container: Container): Case | undefined {
    return this.#lives.get(container)?.told;
  }

  /** That of the life whose group is there, or was last, if there is one already. */
  knownOfGroup(container: Container): Case | undefined {
    return this.#lives.get(container)?.grouped;
  }

  /** That of the life which the runtime told of last. */
  of(container: Container): Case {
    return this.#livesOf(container).told;
  }

  /** That of the life whose group is there, or was last. */
  ofGroup(container: Container): Case {
    return this.#livesOf(container).grouped;
  }

  /** That of the life with this main process, else of the one whose group is there. */
  ofMainProcess(container: Container, pid: number | undefined): Case {
    const { cases, grouped } = this.#livesOf(container);
    return (pid !== undefined && cases.findLast((open) => mainPidIn(open) === pid)) || grouped;
  }

  /** That of the life in which the victim died, which can be one that nobody else has told of. `present`: where it is now. */
  ofVictim({ victim, atMs }: VictimLogged, container: Container, present?: Case): Case {
    const lives = this.#livesOf(container);
    const { cases } = lives;
    const byPid = cases.findLast((open) => mainPidIn(open) === victim.pid);
    if (byPid !== undefined) return byPid;
    const byTime = cases.findLast((open, index) => !isBefore(atMs, open, cases[index - 1])) ?? cases[0]!;
    const lacks = (open: Case): boolean => lacksVictim(open, open === present ? 1 : 0);
    if (lacks(byTime)) return byTime;
    const lacking = cases.findLast((open) => lacks(open) && isNear(atMs, open));
    if (lacking !== undefined) return lacking;
    return atMs > overAtMs(cases.at(-1)!) + clockGrainMs ? this.#push(lives, container) : byTime;
  }

  /**
   * Whether a victim of a life that is over, in which nobody is missing, can be the present one's: the log's clock can
   * be early by so much, and the present group's counter shows it soon.
   */
  mayBeOfNext(open: Case): boolean {
    const { grouped } = this.#livesOf(open.container);
    if (open === grouped || !isCounted(grouped) || isUnexplained(open) || countUnnamed(open) >= 0) return false;
    return open.named.some(({ atMs }) => isNear(atMs, grouped));
  }

  /** All of a container, newest first. */
  all(container: Container): Case[] {
    return this.#lives.get(container)?.cases.toReversed() ?? [];
  }

  /** A group of the container is there. A new one is that of another life than the last one's. */
  appear({ memcg, atMs, fresh, resumed }: MemcgAppeared, container: Container): void {
    const lives = this.#livesOf(container);
    const { cases, grouped, told } = lives;
    const group: Group = { memcg, atMs, fresh, gone: false };
    if (!fresh) {
      const isSame = grouped.group !== undefined && (resumed === true || !grouped.group.gone);
      if (isSame) Object.assign(grouped.group!, { gone: false, goneAtMs: undefined });
      if (isSame) return;
      // It was there before we looked: as far as anybody knows it is that of the life that is.
      lives.grouped = hasEndedBefore(told, atMs) ? this.#push(lives, container) : told;
      Object.assign(lives.grouped, { group, mainPid: undefined });
      return;
    }
    if (grouped.group?.gone === false) Object.assign(grouped.group, { gone: true, goneAtMs: atMs });
    const from = cases.indexOf(grouped) + (grouped.group === undefined ? 0 : 1);
    const next = cases.slice(from).find((open) => !hasEndedBefore(open, atMs));
    lives.grouped = next ?? this.#push(lives, container);
    lives.grouped.group = group;
  }

  /** The group was removed. */
  vanish({ memcg, atMs }: MemcgGone, container: Container): void {
    const group = this.#lives.get(container)?.grouped.group;
    if (group?.memcg === memcg && !group.gone) Object.assign(group, { gone: true, goneAtMs: atMs });
  }

  /** The runtime told of the end of a life: a group that was found later is not that life's. */
  end(container: Container): void {
    const lives = this.#livesOf(container);
    const { told, grouped } = lives;
    const { group } = told;
    if (grouped !== told || group === undefined || group.fresh || !hasEndedBefore(told, group.atMs)) return;
    moveGroup(lives, told, this.#push(lives, container));
  }

  /** The runtime told of another life. What the last one left open is told when it is due. */
  begin(container: Container, life: Life): void {
    const lives = this.#livesOf(container);
    const { cases, told } = lives;
    if (told.life === undefined && told.ended === undefined) told.life = life;
    if (told.life === life) return;
    const coming = cases.slice(cases.indexOf(told) + 1);
    const { startedAtMs = Infinity } = life;
    const next = coming.findLast(({ group }) => group !== undefined && group.atMs <= startedAtMs) ?? coming[0];
    lives.told = next ?? this.#push(lives, container);
    lives.told.life = life;
    const { group } = told;
    if (next === undefined && lives.grouped === told && group?.fresh === false && startedAtMs <= group.atMs) {
      moveGroup(lives, told, lives.told);
    }
    this.#trim(lives);
  }

  /** The runtime can tell of a life after the kernel counted kills in it. */
  adoptLife(open: Case): void {
    const { container } = open;
    if (isRunning(container) && this.#lives.get(container)?.told === open) open.life ??= container.life;
  }

  /** Takes up the cases of an earlier run, newest first. */
  resume(container: Container, newestFirst: readonly Case[]): void {
    const cases = newestFirst.toReversed();
    const newest = cases.at(-1);
    if (newest === undefined) return;
    const told = cases.findLast(({ life }) => life !== undefined && life === container.life) ?? newest;
    const grouped = cases.findLast(({ group }) => group !== undefined) ?? told;
    this.#lives.set(container, { cases, told, grouped });
  }

  /** Host pid of the container's main process, if it runs as far as anybody knows. */
  mainPidOf(container: Container): number | undefined {
    const lives = this.#lives.get(container);
    const { life } = container;
    const isAhead = lives !== undefined && lives.cases.indexOf(lives.grouped) > lives.cases.indexOf(lives.told);
    if (!isAhead && life?.pid !== undefined && isRunning(container)) return life.pid;
    return lives?.grouped.ended === undefined ? lives?.grouped.mainPid : undefined;
  }

  #livesOf(container: Container): Lives {
    const known = this.#lives.get(container);
    if (known !== undefined) return known;
    const first = openCase(container, isRunning(container) ? container.life : undefined);
    const lives = { cases: [first], told: first, grouped: first };
    this.#lives.set(container, lives);
    return lives;
  }

  #push(lives: Lives, container: Container): Case {
    const open = openCase(container);
    lives.cases.push(open);
    this.#trim(lives);
    return open;
  }

  /** Of the lives that are over, the log can still tell of the last. Where no runtime tells of any, all but the last are. */
  #trim(lives: Lives): void {
    const { cases, told, grouped } = lives;
    const isSilent = told.life === undefined && told.ended === undefined;
    if (isSilent && grouped !== told && cases.length > 2) lives.told = cases.at(-2)!;
    const present = Math.min(cases.indexOf(lives.told), cases.indexOf(grouped));
    const surplus = Math.max(present - 1, cases.length - mostCases, 0);
    cases.splice(0, surplus);
    if (!cases.includes(lives.told)) lives.told = cases[0]!;
    if (!cases.includes(lives.grouped)) lives.grouped = cases[0]!;
  }
}

function mainPidIn({ life, mainPid }: Case): number | undefined {
  return life?.pid ?? mainPid;
}

/** Whether a kill of this life is known, or likely, that the log has named nobody for, were it not for so many `besides`. */
function lacksVictim(open: Case, besides: number): boolean {
  const { counted, named, toldUnnamed } = open;
  if (countUnnamed(open) + toldUnnamed + besides > 0) return true;
  return isUnexplained(open) && counted.length + named.length === 0;
}

/** Whether its main process was killed, and nobody has told by whom. */
function isUnexplained({ ended, endTold, initKilled }: Case): boolean {
  return ended?.life.exitCode === exitCodeOfSigkill && !endTold && initKilled === undefined;
}

/** Whether a victim died in this life, or so soon before or after it that the log's clock may be wrong. */
function isNear(atMs: number, open: Case): boolean {
  return atMs <= overAtMs(open) + logClockErrorMs && atMs >= (beganAtMs(open) ?? -Infinity) - logClockErrorMs;
}

/** Whether a victim died before this life began, as far as its begin is known. */
function isBefore(atMs: number, open: Case, previous: Case | undefined): boolean {
  if (previous !== undefined && atMs > overAtMs(previous) + clockGrainMs) return false;
  return atMs < (beganAtMs(open) ?? -Infinity);
}

/** As far as it is known. */
function beganAtMs({ life, group }: Case): number | undefined {
  const atMs = Math.min(life?.startedAtMs ?? Infinity, group?.fresh === true ? group.atMs : Infinity);
  return atMs === Infinity ? undefined : atMs;
}

/** A group that was made after the end of a life is not that life's. */
function hasEndedBefore({ ended, life }: Case, atMs: number): boolean {
  return (ended?.atMs ?? life?.endedAtMs ?? Infinity) < atMs - clockGrainMs;
}

/** A group that was there before we looked is that of a life which the runtime tells of only now. */
function moveGroup(lives: Lives, last: Case, next: Case): void {
  const { group } = last;
  if (group === undefined || group.gone) return;
  next.group = group;
  last.group = { ...group, gone: true };
  next.mainPid = last.mainPid;
  last.mainPid = undefined;
  next.counted = last.counted.filter(({ atMs }) => atMs >= group.atMs);
  last.counted = last.counted.filter(({ atMs }) => atMs < group.atMs);
  lives.grouped = next;
}
