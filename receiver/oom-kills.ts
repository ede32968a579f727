import { exitCodeOfSigkill, hintOf, isCounted, type Case, type CountedKills } from './case.ts';
import { killAskedAtMs } from './exit-cause.ts';
import { scopeOfLimit } from './cgroup/identity.ts';
import { joinGroupKills, joinGroups } from './group-kills.ts';
import { idOfCounted, idOfNamed } from './incident-id.ts';
import type { Evidence, LimitScope, OomKill } from './incident.ts';
import type { Instant } from './instant.ts';
import type { OomKillsCounted, VictimLogged } from './observation.ts';

/** One dead process: what a counter and the kernel log know of it, at least one of the two. */
interface Death {
  counted?: CountedKills;
  named?: VictimLogged;
}

type Role = OomKill['victim'];

/**
 * In processes: `oom_kill` counts each of them, and the first victim of a `memory.oom.group` kill twice
 * (mem_cgroup_get_oom_group in the kernel's mm/oom_kill.c).
 */
export function countProcesses(rise: Omit<OomKillsCounted, 'kind' | 'containerId' | 'memcg'>): CountedKills {
  const { atMs, oomKills, oomGroupKills, ooms = 0, limitBytes } = rise;
  return {
    atMs,
    processes: Math.max(0, oomKills - (oomGroupKills ?? 0)),
    group: oomGroupKills === undefined ? undefined : oomGroupKills > 0,
    ownLimitHit: ooms > 0,
    limitBytes,
  };
}

/** How many counted kills of this case the log has not named. */
export function countUnnamed({ counted, named }: Case): number {
  return counted.reduce((sum, { processes }) => sum + processes, 0) - named.length;
}

/**
 * Tells the kills of a case once all is known of them, or when they are `due`. `logRead`: whether the kernel log is
 * followed, so that each of them will be named.
 */
export function tellKills(open: Case, now: Instant, due: boolean, logRead: boolean): OomKill[] {
  if (!due && (lacksWitnesses(open, logRead) || lacksMainProcess(open))) return [];
  const all = pairUp(open);
  // What was counted can be told already; of a group kill, its first victim's second count alone can be left.
  if (all.length === 0 && due) open.counted = [];
  if (all.length === 0) return [];
  const deaths = beforeLook(open, all);
  const complete = deaths.every((death) => isComplete(death, open, logRead));
  if (!complete && !due) return [];
  const roles = decideRoles(open, deaths, due);
  if (roles === undefined) return [];
  const kills = deaths.map((death, index) => tellDeath(open, death, index, roles[index]!, now));
  close(open, deaths, all.slice(deaths.length));
  noteMainProcess(open, kills);
  return kills;
}

/**
 * Whether some kill still has to be named, or counted, so that none can be told. Found out without a look at each: the
 * members of a group are named one by one, and there can be thousands.
 */
function lacksWitnesses(open: Case, logRead: boolean): boolean {
  const unnamed = countUnnamed(open);
  const isLacking = (unnamed > 0 && logRead) || (unnamed < 0 && isCounted(open));
  // Kills that the main process was seen to outlive do not wait for the others.
  return isLacking && (open.mainProcess?.alive !== true || !isSeenAfterKill(open));
}

/** Whether nothing tells yet what became of the main process. Found out without a look at each kill. */
export function lacksMainProcess(open: Case): boolean {
  const { named, ended, initKilled, life } = open;
  if (initKilled !== undefined || ended?.life.exitCode !== undefined) return false;
  const pid = life?.pid ?? open.mainPid;
  const isNamed = pid !== undefined && named.some(({ victim }) => victim.pid === pid);
  return !isNamed && !isSeenAfterKill(open) && !endedByItself(open);
}

/** Whether the main process was looked at after a kill. */
function isSeenAfterKill({ named, counted, mainProcess }: Case): boolean {
  const firstAtMs = Math.min(named[0]?.atMs ?? Infinity, counted[0]?.atMs ?? Infinity);
  return mainProcess !== undefined && mainProcess.atMs >= firstAtMs;
}

/** The first that was counted is the first that was named. */
function pairUp({ counted, named }: Case): Death[] {
  const rises = joinGroupKills(counted).flatMap((rise) => Array.from({ length: rise.processes }, () => rise));
  const logged = joinGroups(named).toSorted((a, b) => a.atMs - b.atMs);
  return Array.from({ length: Math.max(rises.length, logged.length) }, (_, index) => ({
    counted: rises[index],
    named: logged[index],
  }));
}

/** Where kills follow each other, those that the main process was seen to outlive need not wait for the later ones. */
function beforeLook({ mainProcess }: Case, deaths: Death[]): Death[] {
  if (mainProcess?.alive !== true) return deaths;
  const after = deaths.findIndex((death) => latestOf(death) > mainProcess.atMs);
  return after > 0 ? deaths.slice(0, after) : deaths;
}

/** When it happened at the latest, as far as was told. */
function latestOf({ counted, named }: Death): number {
  return named?.atMs ?? counted!.atMs;
}

function noteMainProcess(open: Case, kills: readonly OomKill[]): void {
  const init = kills.find(({ victim }) => victim === 'init');
  if (init !== undefined) open.initKilled = { evidence: init.evidence, scope: init.scope };
  const unknown = kills.findLast(({ victim }) => victim === 'unknown');
  if (unknown === undefined) return;
  open.maybeInitKilled = { evidence: unknown.evidence, scope: unknown.scope, atMs: unknown.atMs };
}

function isComplete({ counted, named }: Death, open: Case, logRead: boolean): boolean {
  // A group kill was counted that the log has not announced yet.
  if (named !== undefined && counted?.group === true && named.victim.invocation?.oomGroup === undefined) return false;
  return (named !== undefined || !logRead) && (counted !== undefined || !isCounted(open));
}

/** Of each death; undefined while it is open who died, or whether the main process lives on. */
function decideRoles(open: Case, deaths: readonly Death[], due: boolean): Role[] | undefined {
  const byPid = deaths.map(({ named }) => named && roleOfPid(open, named.victim.pid));
  const judged = decideRole(open, deaths, due);
  if (byPid.includes('init')) return byPid.map((role) => role ?? 'child');
  if (judged === undefined) return undefined;
  if (judged !== 'init') return byPid.map((role) => role ?? judged);
  const first = byPid.indexOf(undefined);
  return byPid.map((role, index) => role ?? (index === first ? 'init' : 'child'));
}

function roleOfPid({ life, mainPid, initKilled }: Case, pid: number): Role | undefined {
  const pidOfMain = life?.pid ?? mainPid;
  if (initKilled !== undefined) return 'child';
  if (pidOfMain === undefined) return undefined;
  return pid === pidOfMain ? 'init' : 'child';
}

/** Whether the main process is among the victims, whom nobody named; undefined while that may still show. */
function decideRole(open: Case, deaths: readonly Death[], due: boolean): Role | undefined {
  const { ended, mainProcess, life, initKilled } = open;
  if (initKilled !== undefined) return 'child';
  const askedAtMs = killAskedAtMs(open);
  const exitCode = ended?.life.exitCode;
  if (exitCode !== undefined && exitCode !== exitCodeOfSigkill) return 'child';
  if (exitCode !== undefined && askedAtMs === undefined) return 'init';
  const lastAtMs = Math.max(...deaths.map(latestOf));
  const looked = mainProcess !== undefined && mainProcess.atMs >= lastAtMs;
  if (looked && mainProcess.alive) return 'child';
  if (looked && mainProcess.atMs < (askedAtMs ?? Infinity)) return 'init';
  // It ended by the kill, or by the SIGKILL that was asked for.
  if (askedAtMs !== undefined) return 'unknown';
  if (endedByItself(open)) return 'child';
  if (!due) return undefined;
  if (ended !== undefined) return 'init';
  // It did not end. Where nobody knows its pid, a runtime can also be too busy to tell that it did.
  const livesOn = life !== undefined && life.endedAtMs === undefined;
  return livesOn && (life.pid ?? open.mainPid) !== undefined ? 'child' : 'unknown';
}

/** Its end was told before the kill was counted; not so where the group is that of the next life. */
function endedByItself({ container, group, life = container.life }: Case): boolean {
  if (life?.endedAtMs === undefined || life.exitCode === undefined || life.exitCode === exitCodeOfSigkill) return false;
  return group?.fresh !== true || group.atMs < life.endedAtMs;
}

function tellDeath(open: Case, death: Death, index: number, victim: Role, now: Instant): OomKill {
  const { container, ended, mainProcess } = open;
  const { counted, named } = death;
  const atMs = named?.atMs ?? momentOf(open, counted!);
  const invocation = named?.victim.invocation;
  const scope = scopeOf(open, death);
  const loggedLimitBytes = scope === 'container' ? invocation?.limitBytes : undefined;
  return {
    kind: 'oom_kill',
    container,
    atMs,
    observedAtMs: now.wallMs,
    incidentId: named === undefined ? idOfCounted(container, counted!, index) : idOfNamed(named),
    victim,
    mainProcessAlive: victim === 'child' && ended === undefined && mainProcess?.alive !== false,
    scope,
    group: invocation === undefined ? counted?.group : invocation.oomGroup !== undefined,
    evidence: evidenceOf(open, death, atMs),
    limitBytes: counted?.limitBytes ?? loggedLimitBytes ?? container.limitBytes,
    named,
  };
}

function momentOf(open: Case, { atMs }: CountedKills): number {
  return Math.min(hintOf(open, atMs) ?? atMs, atMs, open.ended?.atMs ?? Infinity);
}

function scopeOf({ container }: Case, { counted, named }: Death): LimitScope {
  const logged = named && scopeOfNamed(named, counted?.limitBytes ?? container.limitBytes);
  if (logged !== undefined && logged !== 'unknown') return logged;
  return counted?.ownLimitHit === true ? 'container' : 'unknown';
}

/** Whose limit was hit, in the kernel's own words. `limitBytes`: the victim's container's own limit. */
export function scopeOfNamed({ victim }: VictimLogged, limitBytes?: number): LimitScope {
  const { invocation, memcgOom, memcg } = victim;
  // With a memory policy the process itself is kept to some nodes; there is memory on others, too.
  if (/_(?:CPUSET|MEMORY_POLICY)$/.test(invocation?.constraint ?? '')) return 'cpuset';
  if (memcgOom === false) return 'node';
  if (invocation?.oomMemcg === undefined) return 'unknown';
  const scope = scopeOfLimit(invocation.oomMemcg, memcg ?? invocation.taskMemcg);
  // The only container of a pod has the pod's limit: which of the two is hit first tells nothing.
  return scope === 'pod' && limitBytes !== undefined && invocation.limitBytes === limitBytes ? 'container' : scope;
}

function evidenceOf(open: Case, { counted, named }: Death, atMs: number): Evidence[] {
  const { ended, mainProcess } = open;
  const witnesses: [Evidence, boolean][] = [
    ['kernel_log', named !== undefined],
    ['memory_events', counted !== undefined],
    ['runtime_event', hintOf(open, counted?.atMs ?? atMs) !== undefined],
    ['exit_status', ended !== undefined || mainProcess?.alive === false],
  ];
  return witnesses.flatMap(([evidence, given]) => (given ? evidence : []));
}

/** What was told on one witness's word, the other may still tell. */
function close(open: Case, told: readonly Death[], left: readonly Death[]): void {
  for (const { counted, named } of told) {
    if (counted === undefined) open.toldUncounted++;
    if (named !== undefined) continue;
    open.toldUnnamed++;
    open.unnamedBeforeMs = Math.max(open.unnamedBeforeMs, counted!.atMs);
  }
  const counts = Map.groupBy(
    left.flatMap(({ counted }) => counted ?? []),
    (counted) => counted,
  );
  open.counted = Array.from(counts, ([counted, { length }]) => ({ ...counted, processes: length }));
  open.named = left.flatMap(({ named }) => named ?? []);
  open.killsDueByMs = undefined;
  // The next kill has a hint of its own.
  open.hintedAtMs = undefined;
}
