import { exitCodeOfSigkill, type Case } from './case.ts';
import { identifyMemcg } from './cgroup/identity.ts';
import type { Container } from './container-table.ts';
import type { GroupPlaces } from './group-places.ts';
import { idOfLost } from './incident-id.ts';
import type { PodOomKill } from './incident.ts';
import type { Instant } from './instant.ts';
import type { LostOomKillsCounted, PodFacts } from './observation.ts';
import { countProcesses } from './oom-kills.ts';

/** Kills that a counter around the groups in which they happened shows, and that are left to be given to somebody. */
export interface CountedAround {
  /** The group whose counter it is. */
  memcg: string;
  atMs: number;
  /** In the kernel's count, which has the first victim of a group kill twice. */
  oomKills: number;
  processes: number;
  group: boolean;
}

/** Kills of which only the counter of a slice tells, that of a pod or of all pods. */
export interface LostRise extends CountedAround {
  /** The slice's own limit was hit. */
  ownLimitHit: boolean;
  /** Containers whose kills they may be. */
  goneContainerIds: string[];
}

/** What a slice's counter shows. */
export function readRise(rise: LostOomKillsCounted): LostRise {
  const { memcg, atMs, oomKills, goneContainerIds } = rise;
  const { processes, group = false, ownLimitHit } = countProcesses(rise);
  return { memcg, atMs, oomKills, processes, group, ownLimitHit, goneContainerIds: [...goneContainerIds] };
}

/** Takes some of the kills; returns them in the kernel's count. The first victim of a group kill goes with the first. */
export function takeKills(rise: CountedAround, processes: number, isCountedTwice: boolean): number {
  const oomKills = rise.group && isCountedTwice ? rise.oomKills - (rise.processes - processes) : processes;
  rise.processes -= processes;
  rise.oomKills -= oomKills;
  return oomKills;
}

/** A container whose group is gone, and what is known of it. */
export interface Candidate {
  container: Container;
  open?: Case;
}

/** In which of several containers the kills happened, as far as that can be said. */
export function findLikeliest({ processes, group }: LostRise, candidates: readonly Candidate[]): Container[] {
  const users = candidates.filter(({ container }) => container.sandbox !== true);
  const likely = users.length < 2 ? users : chooseByEnd(users, group ? 1 : processes);
  return likely.map(({ container }) => container);
}

function chooseByEnd(candidates: readonly Candidate[], mostKilled: number): Candidate[] {
  const killed = candidates.filter(({ open }) => isUnexplained(open));
  if (killed.length > 0) return killed.length > mostKilled ? [] : killed;
  // Whose end the runtime told ended otherwise, after whatever happened to its children.
  const untold = candidates.filter(({ open }) => open?.ended === undefined);
  return untold.length === 1 ? untold : [];
}

/** A SIGKILL that nobody asked for and that no kill explains. */
function isUnexplained(open: Case | undefined): boolean {
  if (open?.ended?.life.exitCode !== exitCodeOfSigkill) return false;
  return open.initKilled === undefined && !open.stopped && open.signals.length === 0;
}

/** Uid of the pod of a slice, or of all containers in which the kills may have happened; undefined where nobody knows. */
export function podUidOf({ memcg, goneContainerIds }: LostRise, places: GroupPlaces): string | undefined {
  return identifyMemcg(memcg).podUid ?? places.podOf(goneContainerIds);
}

/** The records of kills of which nobody knows the container. */
export function tellOfPod(rise: LostRise, pod: PodFacts | undefined, now: Instant): PodOomKill[] {
  const { memcg, atMs, processes, group, ownLimitHit } = rise;
  const ownScope = identifyMemcg(memcg).podUid === undefined ? 'node_allocatable' : 'pod';
  return Array.from({ length: processes }, (_, index) => ({
    kind: 'pod_oom_kill',
    pod,
    atMs,
    observedAtMs: now.wallMs,
    incidentId: idOfLost(pod?.uid, atMs, group ? 'g' : index),
    scope: ownLimitHit ? ownScope : 'unknown',
    group: group || undefined,
    evidence: ['memory_events'],
  }));
}
