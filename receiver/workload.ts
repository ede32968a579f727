import type { Incident } from './incident.ts';

/** Why main processes end, as counted by `container.exits`. */
export const exitReasons = ['completed', 'error', 'oom_killed', 'killed'] as const;

export type ExitReason = (typeof exitReasons)[number];

/**
 * What is counted of a workload container, an identity that outlives container ids where an orchestrator gives one.
 * On a plain Docker host it is the container itself.
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
    if (incident.kind === 'node_oom_kill' || incident.kind === 'memory_stuck') continue;
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
        workload.restarts++;
        break;
    }
  }
}
