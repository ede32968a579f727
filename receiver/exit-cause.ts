import { constants } from 'node:os';
import { endedByMs, exitCodeOfSigkill, hasOpenKills, type Case } from './case.ts';
import type { ContainerExit, Evidence, ExitCause, LimitScope } from './incident.ts';
import type { ExitReason } from './workload.ts';

const { SIGINT, SIGQUIT, SIGTERM, SIGKILL } = constants.signals;

/** Signals that ask a process to end. Others, like SIGHUP, do so only where the process does not handle them. */
const endingSignals = new Set<number>([SIGINT, SIGQUIT, SIGTERM, SIGKILL]);

/** A signal that somebody asked for explains an exit within this time. */
const signalExplainsExitForMs = 10_000;

/** A kill whose victim nobody knows explains the end of a main process this close to it. */
const killExplainsEndWithinMs = 1_000;

/**
 * Why the main process of a case ended, as far as runtime and kernel told: `wait` while more may come, `unexplained`
 * for a SIGKILL that nobody asked for and that no kill explains.
 */
export function explainEnd(open: Case, due: boolean): ContainerExit | 'wait' | 'unexplained' {
  const { exitCode, startedAtMs } = open.ended!.life;
  // Where an event did not tell them, an inspection may still do so.
  if ((exitCode === undefined || startedAtMs === undefined) && !due) return 'wait';
  const endedBySigkill = exitCode === exitCodeOfSigkill;
  if (open.initKilled !== undefined && (endedBySigkill || exitCode === undefined)) {
    return tellEnd(open, 'oom_killed', causeOfScope[open.initKilled.scope], open.initKilled.evidence);
  }
  // The log may name the main process yet, whatever else was asked for.
  if (endedBySigkill && !due && hasOpenKills(open)) return 'wait';
  const asked = decideAsked(open, due);
  if (asked === undefined && endedBySigkill && endedByUnknownKill(open)) {
    const { evidence, scope } = open.maybeInitKilled!;
    return tellEnd(open, 'oom_killed', causeOfScope[scope], evidence);
  }
  if (asked === 'wait') return 'wait';
  if (asked === 'stop') return tellEnd(open, reasonOfStop(exitCode), 'stopped', ['runtime_event']);
  if (!endedBySigkill) return tellOwnEnd(open, exitCode);
  if (!due) return 'wait';
  return asked === 'kill' ? tellEnd(open, 'killed', 'killed_externally', ['runtime_event']) : 'unexplained';
}

/** Its runtime tells of the end when nobody waits any more, but of a time right after the kill. */
function endedByUnknownKill(open: Case): boolean {
  const { atMs = Infinity } = open.maybeInitKilled ?? {};
  return atMs >= open.ended!.atMs - killExplainsEndWithinMs && atMs <= endedByMs(open) + killExplainsEndWithinMs;
}

/** The cause of an exit, by whose limit was hit. Where nobody told, the container's own is the likeliest. */
export const causeOfScope: Record<LimitScope, ExitCause> = {
  container: 'oom_container',
  nested: 'oom_container',
  unknown: 'oom_container',
  pod: 'oom_pod',
  node_allocatable: 'oom_node_allocatable',
  node: 'oom_node',
  cpuset: 'oom_node',
};

/**
 * Whether somebody asked the runtime to end this life: by a stop, or by a SIGKILL alone. `wait` while the runtime may
 * still say that it was a stop.
 */
function decideAsked(open: Case, due: boolean): 'stop' | 'kill' | 'wait' | undefined {
  const { container, ended, stopped } = open;
  if (stopped) return 'stop';
  const { exitCode } = ended!.life;
  const recent = recentSignals(open);
  const sent = recent.map(({ signal }) => signal);
  const ending = sent.filter((signal) => endingSignals.has(signal) || exitCode === 128 + signal);
  if (ending.some((signal) => signal !== SIGKILL)) return 'stop';
  // Podman tells of a stop by its event alone, which may come after the end.
  const stopMayCome = recent.length > 0 || container.runtime === 'podman';
  if (stopMayCome && !due) return 'wait';
  return ending.length > 0 ? 'kill' : undefined;
}

/** When somebody asked the runtime for a SIGKILL that may have ended this life, if anybody did. */
export function killAskedAtMs(open: Case): number | undefined {
  return recentSignals(open).find(({ signal }) => signal === SIGKILL)?.atMs;
}

/** Those that may have ended a life which is over, or was seen to end. */
function recentSignals({ ended, mainProcess, signals }: Case): { signal: number; atMs: number }[] {
  const endedAtMs = ended?.atMs ?? (mainProcess?.alive === false ? mainProcess.atMs : Infinity);
  const recent = signals.filter(({ atMs }) => Math.abs(endedAtMs - atMs) <= signalExplainsExitForMs);
  // Which signal it was Podman does not tell: the one that ended the process, then.
  const untold = ended?.life.exitCode === exitCodeOfSigkill ? SIGKILL : SIGTERM;
  return recent.map(({ signal = untold, atMs }) => ({ signal, atMs }));
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

/** The record of a case's end. */
export function tellEnd(
  { container, ended }: Case,
  reason: ExitReason,
  cause: ExitCause,
  evidence: readonly Evidence[],
): ContainerExit {
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
