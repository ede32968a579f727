import { hintOf, isCounted, type Case } from './case.ts';
import { causeOfScope, tellEnd } from './exit-cause.ts';
import type { Evidence, Incident, OomKill } from './incident.ts';
import type { Instant } from './instant.ts';
import type { Ledger } from './ledger.ts';

/**
 * A kill that only the machine's count shows belongs to an end this close to it, unless the runtime called the
 * container out of memory. The count is polled, and a main process is told to have ended only after its memory is freed.
 */
const countExplainsEndWithinMs = 1_000;

/**
 * Tells of a SIGKILL that nobody asked for and that no counter explains. Where the group went before its counter could
 * be read, the machine's own count decides; where that is not to be had either, the runtime's word.
 */
export function explainSigkill(open: Case, ledger: Ledger, now: Instant): Incident[] {
  const { atMs } = open.ended!;
  if (isCounted(open)) return [tellEnd(open, 'killed', 'killed_externally', ['exit_status', 'memory_events'])];
  const hinted: Evidence[] = hintOf(open, atMs) === undefined ? [] : ['runtime_event'];
  if (ledger.total === undefined) {
    return hinted.length === 0
      ? [tellEnd(open, 'killed', 'unknown', ['exit_status'])]
      : tellInferred(open, now, [...hinted, 'exit_status']);
  }
  const withinMs = hinted.length === 0 ? countExplainsEndWithinMs : Infinity;
  return ledger.takeOne(atMs - withinMs, atMs + withinMs)
    ? tellInferred(open, now, ['vmstat', ...hinted, 'exit_status'])
    : [tellEnd(open, 'killed', 'killed_externally', ['exit_status', 'vmstat'])];
}

function tellInferred(open: Case, now: Instant, evidence: Evidence[]): Incident[] {
  const { container, ended } = open;
  const atMs = hintOf(open, ended!.atMs) ?? ended!.atMs;
  const kill: OomKill = {
    kind: 'oom_kill',
    container,
    atMs,
    observedAtMs: now.wallMs,
    incidentId: `${container.id.slice(0, 12)}-${Math.round(atMs * 1000).toString(36)}-0`,
    victim: 'init',
    scope: 'unknown',
    evidence,
    limitBytes: container.limitBytes,
  };
  return [kill, tellEnd(open, 'oom_killed', causeOfScope.unknown, evidence)];
}
