import { Cases } from './cases.ts';
import { identifyMemcg } from './cgroup/identity.ts';
import type { Container, ContainerTable } from './container-table.ts';
import { CrashLoops, defaultThreshold, type CrashLoopThreshold } from './crash-loop.ts';
import type { ContainerRestart, Incident } from './incident.ts';
import type { Instant } from './instant.ts';
import { Ledger } from './ledger.ts';
import type { Life, WorkloadRestarted } from './life.ts';
import { LostKills } from './lost-kills.ts';
import type {
  NothingKillableLogged,
  Observation,
  OomKillsCounted,
  UserspaceKillerLogged,
  VictimLogged,
} from './observation.ts';
import { noteStuck } from './memory-stuck.ts';
import { PidTable } from './pid-table.ts';
import type { Witnesses } from './waiting-cases.ts';

/** The log tells of a main process's kill by another clock than the runtime of its begin and end. */
const otherClockMs = 5_000;

/**
 * Joins what several witnesses saw of one death into one incident. Pure but for its memory: time is an argument, and
 * the same observations within the settle time give the same incidents in any order.
 */
export class Correlator {
  readonly ledger = new Ledger();
  readonly cases: Cases;
  readonly lost: LostKills;
  readonly crashLoops: CrashLoops;
  readonly #table: ContainerTable;
  readonly #pids = new PidTable();

  constructor(
    table: ContainerTable,
    settleMs: number,
    witnesses: Witnesses,
    crashLoop: CrashLoopThreshold = defaultThreshold,
  ) {
    this.crashLoops = new CrashLoops(table, crashLoop);
    this.#table = table;
    this.cases = new Cases(settleMs, this.ledger, witnesses);
    this.lost = new LostKills(settleMs, table, this.cases, this.ledger, witnesses);
  }

  /** Takes in what was observed; returns what is proven by it. */
  take(observation: Observation, now: Instant): Incident[] {
    const incidents = this.#judge(observation, now).filter(isOfUser);
    return [...incidents, ...this.crashLoops.take(incidents, now)];
  }

  #judge(observation: Observation, now: Instant): Incident[] {
    switch (observation.kind) {
      case 'node_oom_kills_counted':
        this.ledger.count(observation.total, now);
        return this.cases.judgeStrays(now);
      case 'processes_seen':
        this.#pids.learn(observation.containerId, observation.pids, observation.atMs);
        break;
      case 'oom_victim':
        return this.#takeVictim(observation, now);
      case 'nothing_killable':
        return this.#takeNothingKillable(observation, now);
      case 'userspace_killer_logged':
        return this.#takeUserspaceKill(observation, now);
      case 'kernel_log_gap':
        return [];
      case 'lost_oom_kills_counted':
        return this.lost.take(observation, now);
      case 'memcg_appeared':
        this.lost.learn(observation);
        break;
    }
    const transitions = this.#table.apply(observation);
    const container = this.#table.get(observation.containerId);
    if (container === undefined) return [];
    if (observation.kind === 'memory_stuck') {
      const { atMs, reason, memcg } = observation;
      return noteStuck(container, { atMs, reason, memcg, evidence: ['memory_events'] }, now);
    }
    if (observation.kind === 'oom_kills_counted') return this.#takeCounted(observation, container, now);
    const turned = transitions.flatMap((transition) =>
      transition.kind === 'workload_restarted' ? tellRestart(transition, now) : this.cases.turn(transition, now),
    );
    return [...turned, ...this.cases.observe(observation, container, now)];
  }

  /** Judges what has waited long enough. */
  settle(now: Instant): Incident[] {
    const incidents = [...this.lost.settle(now), ...this.cases.settle(now)].filter(isOfUser);
    // At a stop there is time left for what has not explained itself: a later run goes on with it.
    if (now.monotonicMs !== Infinity) this.ledger.settle(now);
    return [...incidents, ...this.crashLoops.take(incidents, now), ...this.crashLoops.settle(now)];
  }

  /** All witnesses have begun: what waited for that alone is told. */
  begin(now: Instant): Incident[] {
    const incidents = this.cases.begin(now).filter(isOfUser);
    return [...incidents, ...this.crashLoops.take(incidents, now)];
  }

  /** When `settle` has something to do next, if ever, by the monotonic clock. */
  get dueAtMs(): number | undefined {
    const due = [this.cases.dueAtMs, this.ledger.dueAtMs, this.lost.dueAtMs, this.crashLoops.dueAtMs];
    const dueAtMs = Math.min(...due.map((atMs) => atMs ?? Infinity));
    return dueAtMs === Infinity ? undefined : dueAtMs;
  }

  /** The container that an observation is about, if it is about one that we know. */
  containerOf(observation: Observation): Container | undefined {
    const containerId = observation.kind === 'oom_victim' ? this.#idOfVictim(observation) : idIn(observation);
    return containerId === undefined ? undefined : this.#table.get(containerId);
  }

  #takeCounted(rise: OomKillsCounted, container: Container, now: Instant): Incident[] {
    const { left, incidents } = this.lost.split(rise, now);
    return left === undefined ? incidents : [...incidents, ...this.cases.observe(left, container, now)];
  }

  #takeVictim(logged: VictimLogged, now: Instant): Incident[] {
    const containerId = this.#idOfVictim(logged);
    if (containerId === undefined) return this.#takeStray(logged, now);
    const { runtime, podUid } = identifyMemcg(logged.victim.memcg ?? logged.memcgSeen ?? '');
    const pod = podUid === undefined ? undefined : { uid: podUid };
    const container = this.#table.adopt({ containerId, runtime, pod, atMs: logged.atMs }, now.wallMs);
    if (container === undefined) return this.#takeStray(logged, now);
    this.#learnTasks(logged);
    if (this.lost.takeTold(logged, container, now)) return this.cases.noteTold(logged, container, now);
    const incidents = this.cases.observe(logged, container, now);
    return [...incidents, ...this.lost.named(logged, container, now)];
  }

  #takeStray(logged: VictimLogged, now: Instant): Incident[] {
    return this.lost.takeTold(logged, undefined, now) ? [] : this.cases.observeStray(logged, now);
  }

  #takeNothingKillable({ kind, atMs, invocation }: NothingKillableLogged, now: Instant): Incident[] {
    const memcg = invocation?.oomMemcg;
    const { containerId, runtime, podUid } = identifyMemcg(memcg ?? '');
    if (containerId === undefined) return [];
    const pod = podUid === undefined ? undefined : { uid: podUid };
    const container = this.#table.adopt({ containerId, runtime, pod, atMs }, now.wallMs);
    return container === undefined
      ? []
      : noteStuck(container, { atMs, reason: kind, evidence: ['kernel_log'], memcg }, now);
  }

  /** Of one container, of one in which the process was seen, or of all in a pod or another group above. */
  #takeUserspaceKill(logged: UserspaceKillerLogged, now: Instant): Incident[] {
    const { memcg = '', pid, atMs } = logged;
    const { containerId = pid === undefined ? undefined : this.#idOfProcess(pid, atMs) } = identifyMemcg(memcg);
    const isMeant = (container: Container): boolean =>
      containerId === undefined
        ? memcg.length > 1 && this.cases.isBelow(container, memcg)
        : container.id === containerId;
    const meant = Array.from(this.#table.all()).filter(isMeant);
    return meant.flatMap((container) => this.cases.noteUserspaceKill(logged, container, now));
  }

  /** The kernel log names groups and processes, not containers. */
  #idOfVictim({ victim, memcgSeen, atMs }: VictimLogged): string | undefined {
    const { pid, memcg = memcgSeen } = victim;
    if (memcg !== undefined) return identifyMemcg(memcg).containerId;
    return this.#idOfProcess(pid, atMs);
  }

  #idOfProcess(pid: number, atMs: number): string | undefined {
    const ofLife = Array.from(this.#table.all()).find(({ life }) => life?.pid === pid && hasLivedAt(life, atMs));
    return ofLife?.id ?? this.#pids.containerOf(pid, atMs);
  }

  /** All tasks of a report lived below the group whose limit was hit, some of them in containers inside that one. */
  #learnTasks({ victim: { invocation }, atMs }: VictimLogged): void {
    const { containerId } = identifyMemcg(invocation?.oomMemcg ?? '');
    if (containerId === undefined || invocation?.pids === undefined) return;
    const unknown = Array.from(invocation.pids).filter((pid) => this.#pids.containerOf(pid, atMs) === undefined);
    this.#pids.learn(containerId, unknown, atMs);
  }
}

function tellRestart({ container, atMs, previous, restarts }: WorkloadRestarted, now: Instant): ContainerRestart {
  return { kind: 'restart', container, atMs, observedAtMs: now.wallMs, previous, restarts };
}

/** A sandbox comes and goes with its pod. That something in it was killed is worth a word. */
function isOfUser(incident: Incident): boolean {
  return !((incident.kind === 'exit' || incident.kind === 'restart') && incident.container.sandbox === true);
}

/** The pid of a process that has ended can be another's by now, and this one's was another's before. */
function hasLivedAt({ startedAtMs = -Infinity, endedAtMs = Infinity }: Life, atMs: number): boolean {
  return startedAtMs - atMs <= otherClockMs && atMs - endedAtMs <= otherClockMs;
}

function idIn(observation: Observation): string | undefined {
  return 'containerId' in observation ? observation.containerId : undefined;
}
