import type { CrashLoopState } from './crash-loop.ts';
import type { Incident } from './incident.ts';

/** Why main processes end, as counted by `container.exits`. */
export const exitReasons = ['completed', 'error', 'oom_killed', 'killed'] as const;

export type ExitReason = (typeof exitReasons)[number];

/**
 * What is counted of a workload container, an identity that outlives container ids where an orchestrator gives one: all
 * instances of a pod's container have this one object. On a plain Docker host it is the container itself.
 */
export interface Workload {
  /** Begin of the counters: when we first saw it. */
  firstSeenAtMs: number;
  oomKills: number;
  oomIncidents: number;
  exits: Record<ExitReason, number>;
  restarts: number;
  /** Exit code of the last life that ended, if one did and the runtime told it. */
  lastExitCode?: number;
  /** When that life ended. */
  lastExitAtMs?: number;
  /** Its latest restarts, where there were any. */
  crashLoop?: CrashLoopState;
  /** The instances of a pod's container that began first and last, as far as we know; absent where none has begun. */
  oldest?: Instance;
  newest?: Instance;
}

/** One instance of a pod's container, each with a container id of its own, as far as it tells which came before which. */
export interface Instance {
  containerId: string;
  startedAtMs?: number;
  endedAtMs?: number;
  /** The kubelet's count of the restarts before it. */
  restartCount?: number;
}

/** All counters at an explicit 0. */
export function makeWorkload(firstSeenAtMs: number): Workload {
  const exits = { completed: 0, error: 0, oom_killed: 0, killed: 0 };
  return { firstSeenAtMs, oomKills: 0, oomIncidents: 0, exits, restarts: 0 };
}

/** Counts what is told, once: the victims of one invocation of the OOM killer come in one call. */
export function countIncidents(incidents: readonly Incident[]): void {
  const invocations = new Set<string>();
  for (const incident of incidents) {
    if (incident.kind === 'pod_oom_kill' || incident.kind === 'node_oom_kill') continue;
    const { workload } = incident.container;
    switch (incident.kind) {
      case 'oom_kill':
        workload.oomKills++;
        if (!invocations.has(incident.incidentId)) workload.oomIncidents++;
        invocations.add(incident.incidentId);
        break;
      case 'exit':
        workload.exits[incident.reason]++;
        break;
      case 'restart':
        workload.restarts += incident.restarts ?? 1;
        break;
    }
  }
}

/** Notes with which code a life ended; instances can be told of in any order. */
export function noteExitCode(workload: Workload, exitCode: number, atMs: number): void {
  if (atMs < (workload.lastExitAtMs ?? -Infinity)) return;
  workload.lastExitCode = exitCode;
  workload.lastExitAtMs = atMs;
}

/** Adds what was counted of an instance before it was known whose it is. */
export function absorb(workload: Workload, counted: Workload): void {
  workload.firstSeenAtMs = Math.min(workload.firstSeenAtMs, counted.firstSeenAtMs);
  workload.oomKills += counted.oomKills;
  workload.oomIncidents += counted.oomIncidents;
  for (const reason of exitReasons) workload.exits[reason] += counted.exits[reason];
  workload.restarts += counted.restarts;
  if (counted.lastExitCode !== undefined)
    noteExitCode(workload, counted.lastExitCode, counted.lastExitAtMs ?? -Infinity);
}

/** Of two states of one workload the later one: its counters only go up. */
export function laterOf(one: Workload, other: Workload): Workload {
  return countedIn(other) > countedIn(one) ? other : one;
}

function countedIn({ oomKills, oomIncidents, exits, restarts }: Workload): number {
  return oomKills + oomIncidents + restarts + exitReasons.reduce((sum, reason) => sum + exits[reason], 0);
}
