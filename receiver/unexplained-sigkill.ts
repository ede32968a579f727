import { endedByMs, hintOf, isCounted, type Case } from './case.ts';
import { causeOfScope, tellEnd } from './exit-cause.ts';
import { idOfCounted } from './incident-id.ts';
import type { Evidence, ExitCause, Incident, OomKill } from './incident.ts';
import type { Instant } from './instant.ts';
import type { Ledger } from './ledger.ts';

/**
 * A kill that only the machine's count shows belongs to an end this close to it, unless the runtime called the
 * container out of memory. The count is polled, and a main process is told to have ended only after its memory is freed.
 */
const countExplainsEndWithinMs = 1_000;

/** earlyoom waits up to 10 s after a SIGTERM, systemd-oomd tells of what it has marked, and large processes die slowly. */
const userspaceKillExplainsEndForMs = 30_000;
const logIsLateForMs = 2_000;

/**
 * Tells of a SIGKILL that nobody asked for and that no counter explains. Where the group went before its counter could
 * be read, the machine's own count decides; where that is not to be had either, the runtime's word.
 */
export function explainSigkill(open: Case, ledger: Ledger, now: Instant): Incident[] {
  const { atMs } = open.ended!;
  if (isCounted(open)) return [tellOtherKill(open, ['exit_status', 'memory_events'])];
  const hinted: Evidence[] = hintOf(open, atMs) === undefined ? [] : ['runtime_event'];
  if (ledger.total === undefined) {
    return hinted.length === 0
      ? [tellOtherKill(open, ['exit_status'], 'unknown')]
      : tellInferred(open, now, [...hinted, 'exit_status']);
  }
  const withinMs = hinted.length === 0 ? countExplainsEndWithinMs : Infinity;
  return ledger.takeOne(atMs - withinMs, endedByMs(open) + withinMs)
    ? tellInferred(open, now, ['vmstat', ...hinted, 'exit_status'])
    : [tellOtherKill(open, ['exit_status', 'vmstat'])];
}

/** The OOM killer of the kernel was not seen to do it. */
function tellOtherKill(open: Case, evidence: Evidence[], otherwise: ExitCause = 'killed_externally'): Incident {
  const { userspaceKill, ended } = open;
  const sinceMs = ended!.atMs - (userspaceKill?.atMs ?? -Infinity);
  // The log can be written, and its time be read, after the end.
  const fits = sinceMs >= -logIsLateForMs && sinceMs <= userspaceKillExplainsEndForMs;
  if (userspaceKill === undefined || !fits) return tellEnd(open, 'killed', otherwise, evidence);
  const end = tellEnd(open, 'killed', 'killed_by_userspace_oom', ['kernel_log', 'exit_status']);
  return { ...end, killer: userspaceKill.killer };
}

function tellInferred(open: Case, now: Instant, evidence: Evidence[]): Incident[] {
  const { container, ended } = open;
  const atMs = hintOf(open, ended!.atMs) ?? ended!.atMs;
  const kill: OomKill = {
    kind: 'oom_kill',
    container,
    atMs,
    observedAtMs: now.wallMs,
    incidentId: idOfCounted(container, { atMs }, 0),
    victim: 'init',
    scope: 'unknown',
    evidence,
    limitBytes: container.limitBytes,
  };
  // A group around it can still show it, and the log still name it.
  open.toldUncounted++;
  open.toldUnnamed++;
  open.unnamedBeforeMs = Math.max(open.unnamedBeforeMs, endedByMs(open));
  return [kill, tellEnd(open, 'oom_killed', causeOfScope.unknown, evidence)];
}
