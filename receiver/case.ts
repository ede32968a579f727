import type { Container } from './container-table.ts';
import type { Evidence, LimitScope } from './incident.ts';
import type { Instant } from './instant.ts';
import type { Life } from './life.ts';
import type { UserspaceKiller } from './kernel/userspace-killer.ts';
import type { VictimLogged } from './observation.ts';

/** A rise of a container's `oom_kill` counter, in processes that died. */
export interface CountedKills {
  /** When the new value was read. */
  atMs: number;
  processes: number;
  /** memory.oom.group took the whole cgroup; undefined where the kernel does not tell. */
  group?: boolean;
  /** The container's own limit was hit meanwhile. */
  ownLimitHit: boolean;
  limitBytes?: number;
}

/** A life's memory cgroup. */
export interface Group {
  memcg: string;
  /** When it was seen first; `fresh`: when it was made. */
  atMs: number;
  fresh: boolean;
  /** It was removed: its counters cannot be read any more. */
  gone: boolean;
  /** When that was seen. */
  goneAtMs?: number;
}

/** Times of the log, of a counter's reading and of a runtime are this exact. */
export const clockGrainMs = 50;

/** What is known of one life of a container: of kills in it and of its end. */
export interface Case {
  readonly container: Container;
  /** Absent where no runtime has told of it. */
  life?: Life;
  /** Host pid of the main process as its group showed it, for when no runtime tells it. */
  mainPid?: number;
  /** Absent where none was seen. */
  group?: Group;
  /** Counted, and not told. */
  counted: CountedKills[];
  /** Named by the kernel log, and not told. */
  named: VictimLogged[];
  /** When they are told at the latest, by the monotonic clock. */
  killsDueByMs?: number;
  /** Kills that were told because the log named them, and that the counter has not shown. */
  toldUncounted: number;
  /** When these must have been counted, by the monotonic clock: what is counted later is another kill. */
  uncountedUntilMs?: number;
  /** Kills that were told because the counter rose, and that the log has not named; all before that moment. */
  toldUnnamed: number;
  unnamedBeforeMs: number;
  hintedAtMs?: number;
  signals: { signal?: number; atMs: number }[];
  stopped: boolean;
  /** A userspace OOM killer wrote that it killed this container or its main process. */
  userspaceKill?: { killer: UserspaceKiller; atMs: number };
  mainProcess?: { alive: boolean; atMs: number };
  /** The main process was the victim, on this evidence; already told. */
  initKilled?: { evidence: Evidence[]; scope: LimitScope };
  /** Nobody could tell whether this victim was the main process; already told. */
  maybeInitKilled?: { evidence: Evidence[]; scope: LimitScope; atMs: number };
  /** Its main process ended. */
  ended?: { atMs: number; observedAtMs: number; life: Life };
  /** That it ended is told. */
  endTold: boolean;
  /** When it is judged on what there is, by the monotonic clock; absent where nothing is open. */
  dueAtMs?: number;
}

/** A case of which nothing is known. */
export function openCase(container: Container, life?: Life): Case {
  return {
    container,
    life,
    counted: [],
    named: [],
    toldUncounted: 0,
    toldUnnamed: 0,
    unnamedBeforeMs: -Infinity,
    signals: [],
    stopped: false,
    endTold: false,
  };
}

/** Whether its counters can still be read. */
export function isCounted({ group }: Case): boolean {
  return group !== undefined && !group.gone;
}

/** Kills that were told and that the counter may still show. */
export function countToldUncounted({ toldUncounted, uncountedUntilMs = Infinity }: Case, now: Instant): number {
  return now.monotonicMs > uncountedUntilMs ? 0 : toldUncounted;
}

/** When its main process had ended at the latest; the status of a pod has whole seconds, cut off. */
export function endedByMs({ container, ended }: Case): number {
  const { atMs } = ended ?? { atMs: Infinity };
  return container.pod !== undefined && atMs % 1000 === 0 ? atMs + 999 : atMs;
}

/** When nobody can have died in this life any more, as far as that is known. */
export function overAtMs(open: Case): number {
  return Math.min(endedByMs(open), open.group?.goneAtMs ?? Infinity);
}

/** Whether a kill of it is to be told. */
export function hasOpenKills({ counted, named }: Case): boolean {
  return counted.length + named.length > 0;
}

/** Whether something of it is to be told. */
export function isOpen(open: Case): boolean {
  return hasOpenKills(open) || (open.ended !== undefined && !open.endTold);
}

/** Exit code of a main process that a SIGKILL ended, or that exits so itself: the runtime does not tell them apart. */
export const exitCodeOfSigkill = 137;

/** A runtime's OOM event belongs to a kill this close to it. */
const hintExplainsKillForMs = 2_000;

/** When the runtime called the container out of memory, if it did about that time. */
export function hintOf({ hintedAtMs }: Case, atMs: number): number | undefined {
  return hintedAtMs !== undefined && Math.abs(atMs - hintedAtMs) <= hintExplainsKillForMs ? hintedAtMs : undefined;
}
