import type { CountedKills } from './case.ts';
import type { Container } from './container-table.ts';
import type { VictimLogged } from './observation.ts';

/** Of a kill that no log named; `index` tells those of one reading apart, but for the victims of a group kill. */
export function idOfCounted(
  container: Container,
  { atMs, group }: Pick<CountedKills, 'atMs' | 'group'>,
  index: number,
): string {
  return `${container.id.slice(0, 12)}-${Math.round(atMs * 1000).toString(36)}-${group === true ? 'g' : index}`;
}

/** Of a kill that only the counter of a group around containers shows: of a pod, or of all pods where that is absent. */
export function idOfLost(podUid: string | undefined, atMs: number, index: number | 'g'): string {
  return `${podUid?.slice(0, 13) ?? 'kubepods'}-${Math.round(atMs * 1000).toString(36)}-${index}`;
}

/** The same for all victims of one invocation, and the same again whenever the same log is read. */
export function idOfNamed({ victim, bootId, atMs }: VictimLogged): string {
  const { invocation, pid } = victim;
  const { monotonicUs = Math.round(atMs * 1000) } = (invocation ?? victim).at;
  // Dates of log files are in seconds: several invocations can have the same.
  const asked = invocation === undefined ? pid : (invocation.triggerPid ?? invocation.firstVictimPid ?? 0);
  return `${bootId?.slice(0, 8) ?? 'log'}-${monotonicUs.toString(36)}-${asked}`;
}
