import type { Container } from './container-table.ts';
import type { ContainerSeen } from './observation.ts';
import { noteExitCode as noteExitCodeOf } from './workload.ts';

/** One run of a container's main process. Its times are by the clock of now: none of them lies in the future. */
export interface Life {
  startedAtMs?: number;
  endedAtMs?: number;
  exitCode?: number;
  /** Host pid of the main process. */
  pid?: number;
  /** Who told of the begin and of the end: an event and the runtime's own record of one moment differ. */
  beginToldBy?: Teller;
  endToldBy?: Teller;
  /** Nobody told of the end: the next instance of the same pod's container has begun. Its exit code may still come. */
  endPresumed?: boolean;
  /** End of the life before this one. */
  previousEndedAtMs?: number;
  /**
   * Its times less those that we were told: not 0 where the clock was set back since. The runtime does not rewrite what
   * it has written down, and by that we know the life again.
   */
  movedMs?: number;
  /** We saw it begin, rather than finding it running. */
  beganUnderOurEyes: boolean;
}

type Teller = 'event' | 'inspection';

/** What began again, or ended. Each does so once, however many sources told of it and in whatever order. */
export type Transition = LifeTransition | WorkloadRestarted;

/** A life of one container began again, or ended. */
export type LifeTransition = LifeRestarted | LifeEnded;

export interface LifeRestarted {
  kind: 'life_restarted';
  container: Container;
  atMs: number;
  /** The life that began. */
  life: Life;
  /** The one before it, where it is known. */
  previous?: Life;
}

export interface LifeEnded {
  kind: 'life_ended';
  container: Container;
  atMs: number;
  life: Life;
}

/** Another instance of a pod's container has begun, which is a container of its own. */
export interface WorkloadRestarted {
  kind: 'workload_restarted';
  container: Container;
  atMs: number;
  /** The life that began. */
  life: Life;
  /** Of the instance before it, where it is known. */
  previous?: Life;
  /** More than 1 where instances went by unseen. */
  restarts: number;
}

/**
 * How far an event and the runtime's own record of the same moment may lie apart. Docker's `start` and `die` follow
 * StartedAt and FinishedAt by 1 to 100 ms on an idle host and by seconds on a busy one.
 */
const sameMomentMs = 5_000;

/** Times of one moment that went through different number formats may differ by so much. */
const clockGrainMs = 1;

/** So many restarts missed in one gap are told one by one; a larger number is a runtime that counts otherwise. */
const mostMissedRestarts = 100;

/** An event says that the main process was started. `nowMs` is the time on the clock. */
export function begin(container: Container, toldAtMs: number, nowMs: number): LifeTransition[] {
  const { life } = container;
  const next = begun(toldAtMs, nowMs, 'event');
  if (life === undefined) {
    container.life = next;
    return [];
  }
  if (livesOnce(container)) return [];
  const atMs = next.startedAtMs;
  const stale = life.endedAtMs === undefined ? isBefore(atMs, life) : atMs < life.endedAtMs;
  const known = life.endedAtMs === undefined && isSameMoment(atMs, life.startedAtMs);
  if (stale || known) return [];
  return [...endUnseen(container, atMs), restart(container, next)];
}

/** An event says that the main process ended. `nowMs` is the time on the clock. */
export function end(
  container: Container,
  toldAtMs: number,
  exitCode: number | undefined,
  nowMs: number,
): LifeTransition[] {
  const { life } = container;
  const atMs = notInFuture(toldAtMs, nowMs);
  if (life === undefined) {
    container.life = { beganUnderOurEyes: false };
    return [endLife(container, atMs, exitCode, 'event')];
  }
  const ofEarlierLife = !livesOnce(container) && isBefore(atMs, life);
  if (life.endedAtMs === undefined) return ofEarlierLife ? [] : [endLife(container, atMs, exitCode, 'event')];
  if (livesOnce(container) || (life.endPresumed === true && !ofEarlierLife)) {
    noteExitCode(container, life, life.exitCode ?? exitCode);
    return [];
  }
  const told = life.endToldBy === 'inspection' ? isSameMoment(atMs, life.endedAtMs) : atMs <= life.endedAtMs;
  if (told || atMs < life.endedAtMs) return [];
  return [restart(container, { beganUnderOurEyes: true }), endLife(container, atMs, exitCode, 'event')];
}

/** The next instance of the same pod's container began at `atMs`: this one has ended, with an exit code that may still come. */
export function presumeEnd(container: Container, atMs: number): LifeTransition[] {
  const transitions = endUnseen(container, atMs);
  if (transitions.length > 0) container.life!.endPresumed = true;
  return transitions;
}

/** The container was removed: whatever ran has ended, and its exit code is not to be had any more. */
export function remove(container: Container, toldAtMs: number, nowMs: number): LifeTransition[] {
  return container.life === undefined ? [] : endUnseen(container, notInFuture(toldAtMs, nowMs));
}

/**
 * The clock was set back to `nowMs`, by `byMs`, which is less than 0. Where the life's times lie in the future now they
 * go with the clock: else all that happens until then would look older than what is known.
 */
export function followClockBack({ life }: Container, byMs: number, nowMs: number): void {
  if (life === undefined) return;
  const { startedAtMs, endedAtMs, previousEndedAtMs } = life;
  const latestMs = Math.max(startedAtMs ?? -Infinity, endedAtMs ?? -Infinity, previousEndedAtMs ?? -Infinity);
  if (latestMs <= nowMs) return;
  const move = (atMs: number | undefined): number | undefined => (atMs === undefined ? undefined : atMs + byMs);
  life.startedAtMs = move(startedAtMs);
  life.endedAtMs = move(endedAtMs);
  life.previousEndedAtMs = move(previousEndedAtMs);
  life.movedMs = (life.movedMs ?? 0) + byMs;
}

/**
 * The runtime was asked how the container stands. Works out which ends and restarts were missed since we last knew:
 * while the runtime or the connection to it was down, or before its events reached us.
 */
export function reconcile(container: Container, seen: ContainerSeen, nowMs: number): LifeTransition[] {
  if (seen.startedAtMs === undefined) return [];
  const { life } = container;
  if (life !== undefined && isOlderThan(container, seen, life, nowMs)) return [];
  const transitions = takeOver(container, seen, nowMs);
  container.runtimeRestartCount = seen.restartCount ?? container.runtimeRestartCount;
  return transitions;
}

function takeOver(container: Container, seen: ContainerSeen, nowMs: number): LifeTransition[] {
  const { life } = container;
  if (life === undefined) {
    container.life = firstLife(seen, nowMs);
    if (!seen.running) noteExitCode(container, container.life, seen.exitCode);
    return [];
  }
  if (isSameLife(container, seen, life, nowMs))
    return [...nameRestart(container, seen, nowMs), ...confirm(container, seen, nowMs)];
  return catchUp(container, seen, Math.max(1, countMissedRestarts(container, seen)), nowMs);
}

/** Lives went by unseen: ends the one we knew, and tells of each restart that the runtime counted. */
function catchUp(container: Container, seen: ContainerSeen, restarts: number, nowMs: number): LifeTransition[] {
  const next = begun(seen.startedAtMs ?? seen.atMs, nowMs, 'inspection');
  const beganAtMs = next.startedAtMs;
  const transitions = endUnseen(container, Math.min(seen.finishedAtMs ?? beganAtMs, beganAtMs));
  for (let n = 1; n < restarts; n++) {
    transitions.push(restart(container, { beganUnderOurEyes: false }), ...endUnseen(container, beganAtMs));
  }
  transitions.push(restart(container, next));
  return [...transitions, ...confirm(container, seen, nowMs)];
}

/** The life is the one we know: takes over the pid while it runs, its end or the exit code once it ended. */
function confirm(container: Container, seen: ContainerSeen, nowMs: number): LifeTransition[] {
  const { life } = container;
  if (life === undefined) return [];
  if (life.endedAtMs !== undefined) {
    // On a busy node the end can be told before the begin.
    if (seen.startedAtMs! <= life.endedAtMs) life.startedAtMs ??= seen.startedAtMs;
    noteExitCode(container, life, life.exitCode ?? seen.exitCode);
    return [];
  }
  const startedAtMs = notInFuture(seen.startedAtMs! + (life.movedMs ?? 0), nowMs);
  Object.assign(life, { startedAtMs, movedMs: startedAtMs - seen.startedAtMs!, beginToldBy: 'inspection' });
  life.pid = seen.pid ?? life.pid;
  if (seen.running) return [];
  return [endLife(container, notInFuture(seen.finishedAtMs ?? seen.atMs, nowMs), seen.exitCode, 'inspection')];
}

/**
 * A container that was new to us started under our eyes, and the inspection says that it had run before: that start
 * was a restart.
 */
function nameRestart(container: Container, seen: ContainerSeen, nowMs: number): LifeTransition[] {
  const { life } = container;
  if (!seen.running || seen.finishedAtMs === undefined) return [];
  if (!life?.beganUnderOurEyes || life.previousEndedAtMs !== undefined) return [];
  const endedAtMs = notInFuture(seen.finishedAtMs, nowMs);
  life.previousEndedAtMs = endedAtMs;
  const previous: Life = { endedAtMs, endToldBy: 'inspection', beganUnderOurEyes: false };
  const atMs = notInFuture(seen.startedAtMs ?? seen.atMs, nowMs);
  return [{ kind: 'life_restarted', container, atMs, life, previous }];
}

function firstLife(seen: ContainerSeen, nowMs: number): Life {
  const life: Life = { ...begun(seen.startedAtMs!, nowMs, 'inspection'), pid: seen.pid };
  if (seen.running) return life;
  const endedAtMs = notInFuture(seen.finishedAtMs ?? seen.atMs, nowMs);
  return { ...life, endedAtMs, exitCode: seen.exitCode, endToldBy: 'inspection' };
}

/** A life whose begin we were told of. */
function begun(toldAtMs: number, nowMs: number, beginToldBy: Teller): Life & { startedAtMs: number } {
  const startedAtMs = notInFuture(toldAtMs, nowMs);
  const movedMs = startedAtMs - toldAtMs;
  return { startedAtMs, movedMs, beginToldBy, beganUnderOurEyes: beginToldBy === 'event' };
}

/** A time later than now was written down before the clock was set back, and when that was by this clock nobody knows. */
function notInFuture(toldAtMs: number, nowMs: number): number {
  return toldAtMs <= nowMs + clockGrainMs ? toldAtMs : nowMs;
}

function countMissedRestarts(container: Container, seen: ContainerSeen): number {
  if (seen.restartCount === undefined || container.runtimeRestartCount === undefined) return 0;
  return Math.min(seen.restartCount - container.runtimeRestartCount, mostMissedRestarts);
}

/** The answer was given before something that we know already. */
function isOlderThan(container: Container, seen: ContainerSeen, life: Life, nowMs: number): boolean {
  if (isSameLife(container, seen, life, nowMs)) return seen.running && life.endedAtMs !== undefined;
  return isBefore(seen.startedAtMs!, life);
}

/** Before this life began, and so of an earlier one: events can come late, Podman's by 250 ms and more. */
function isBefore(atMs: number, life: Life): boolean {
  if (life.startedAtMs === undefined) return false;
  const earliestMs =
    life.beginToldBy === 'inspection' ? life.startedAtMs : (life.previousEndedAtMs ?? life.startedAtMs - sameMomentMs);
  return atMs < earliestMs - clockGrainMs;
}

/**
 * A kubelet never starts a container of containerd's or CRI-O's twice: it makes a new one. So whatever times two sources
 * tell of it, they tell of the same life.
 */
function livesOnce({ runtime, pod }: Container): boolean {
  return pod !== undefined && (runtime === 'containerd' || runtime === 'cri-o');
}

/**
 * Two inspections of one life give the same StartedAt to the digit. An event comes after it, and not before the end
 * of the life before.
 */
function isSameLife(container: Container, { startedAtMs, running }: ContainerSeen, life: Life, nowMs: number): boolean {
  if (livesOnce(container)) return true;
  const { endedAtMs, movedMs = 0 } = life;
  if (life.startedAtMs === undefined) {
    if (endedAtMs === undefined || startedAtMs! < endedAtMs - movedMs) return true;
    // It says only that the clock was set back since: then one that has ended is the one that we saw end.
    return startedAtMs! > nowMs && !running;
  }
  const lagMs = life.startedAtMs - movedMs - startedAtMs!;
  const earliestMs = (life.previousEndedAtMs ?? -Infinity) - movedMs - clockGrainMs;
  if (life.beginToldBy === 'inspection') return Math.abs(lagMs) <= clockGrainMs;
  return lagMs >= -clockGrainMs && lagMs <= sameMomentMs && startedAtMs! >= earliestMs;
}

function isSameMoment(atMs: number, otherMs: number | undefined): boolean {
  return otherMs !== undefined && Math.abs(atMs - otherMs) <= sameMomentMs;
}

function endUnseen(container: Container, atMs: number): LifeTransition[] {
  return container.life?.endedAtMs === undefined ? [endLife(container, atMs, undefined, 'inspection')] : [];
}

function endLife(container: Container, atMs: number, exitCode: number | undefined, endToldBy: Teller): LifeEnded {
  const life = (container.life ??= { beganUnderOurEyes: false });
  Object.assign(life, { endedAtMs: atMs, endToldBy });
  noteExitCode(container, life, exitCode);
  return { kind: 'life_ended', container, atMs, life };
}

function noteExitCode({ workload }: Container, life: Life, exitCode: number | undefined): void {
  life.exitCode = exitCode;
  if (exitCode !== undefined) noteExitCodeOf(workload, exitCode, life.endedAtMs ?? -Infinity);
}

function restart(container: Container, life: Life): LifeRestarted {
  const previous = container.life;
  if (container.runtimeRestartCount !== undefined) container.runtimeRestartCount++;
  container.life = { ...life, previousEndedAtMs: previous?.endedAtMs };
  return {
    kind: 'life_restarted',
    container,
    atMs: life.startedAtMs ?? previous?.endedAtMs ?? 0,
    life: container.life,
    previous,
  };
}
