import { ContainerTable } from '../../receiver/container-table.ts';
import { Correlator } from '../../receiver/correlator.ts';
import type { Incident } from '../../receiver/incident.ts';
import type { Observation } from '../../receiver/observation.ts';
import { countIncidents } from '../../receiver/workload.ts';
import { NodeClock } from './node-clock.ts';
import { idOf } from './observations.ts';

export const noonMs = Date.UTC(2026, 10, 21, 12);
export const graceMs = 300_000;

/** The service since noon, as far as it judges and counts. */
export function startNode(maxContainers = 100) {
  const clock = new NodeClock(noonMs);
  const table = new ContainerTable(maxContainers, clock.read);
  const witnesses = { isRuntimeUp: () => true, isKernelLogUp: () => false, isBeginning: () => false };
  const correlator = new Correlator(table, 600, witnesses);
  const told: Incident[] = [];
  const tell = (incidents: Incident[]): Incident[] => {
    countIncidents(incidents);
    told.push(...incidents);
    return incidents;
  };
  const take = (...observations: Observation[]): Incident[] =>
    observations.flatMap((observation) => tell(correlator.take(observation, clock.read())));
  return {
    clock,
    table,
    told,
    take,
    correlator,
    /** Judges what is due, as the service does when it is. */
    settleNow: () => tell(correlator.settle(clock.read())),
    /** Judges all that waits for evidence. */
    settle: () => tell(correlator.settle({ wallMs: clock.wallMs, monotonicMs: Infinity })),
    workloadOf: (n: number) => table.get(idOf(n))!.workload,
    expire: () => table.expire(clock.wallMs - graceMs),
    kinds: () => told.map(({ kind }) => kind),
  };
}

export type Node = ReturnType<typeof startNode>;
