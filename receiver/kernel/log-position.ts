import type { LogPosition } from './kmsg-record.ts';

/** The position alone, without what stands there. */
export function positionOf({ sequence, monotonicUs, wallTimeMs, place }: LogPosition): LogPosition {
  return { sequence, monotonicUs, wallTimeMs, place };
}

/** Microseconds between two messages of one log; infinity where the log does not tell. */
export function apartUs(from: LogPosition, to: LogPosition): number {
  if (from.monotonicUs !== undefined && to.monotonicUs !== undefined) return to.monotonicUs - from.monotonicUs;
  if (from.wallTimeMs !== undefined && to.wallTimeMs !== undefined) return (to.wallTimeMs - from.wallTimeMs) * 1000;
  return Infinity;
}

/** True only where the log tells that `to` stands more than `byUs` after `from`. */
export function isLater(from: LogPosition, to: LogPosition, byUs: number): boolean {
  const us = apartUs(from, to);
  return us !== Infinity && us > byUs;
}
