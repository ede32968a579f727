import type { Container } from './container-table.ts';
import type { MemoryStuck } from './incident.ts';
import type { Instant } from './instant.ts';

/** What nobody saw for so long is over. */
const endsAfterMs = 60_000;

/** The kernel log says that nothing can be killed also while the last victim dies: only then again and again. */
const goesOnForMs = 1_000;
const sightingsOfLog = 3;

/** A container that is out of memory while nothing is killed, as it was seen so far. */
export interface StuckSightings {
  sinceMs: number;
  lastMs: number;
  count: number;
  told: boolean;
}

/** Takes in that a container was seen so; tells it once for as long as it goes on. */
export function noteStuck(
  container: Container,
  seen: Pick<MemoryStuck, 'atMs' | 'reason' | 'evidence' | 'memcg'>,
  now: Instant,
): MemoryStuck[] {
  const { atMs, evidence } = seen;
  const { stuck } = container;
  const goesOn = stuck !== undefined && Math.abs(atMs - stuck.lastMs) < endsAfterMs;
  const { sinceMs, count, told } = goesOn ? stuck : { sinceMs: atMs, count: 0, told: false };
  const certain = !evidence.includes('kernel_log') || count + 1 >= sightingsOfLog || atMs - sinceMs >= goesOnForMs;
  container.stuck = { sinceMs, lastMs: atMs, count: count + 1, told: told || certain };
  if (told || !certain) return [];
  return [{ kind: 'memory_stuck', container, observedAtMs: now.wallMs, limitBytes: container.limitBytes, ...seen }];
}
