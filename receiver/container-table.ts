import { identifyMemcg, type QosClass } from './cgroup/identity.ts';
import type { Instant } from './instant.ts';
import {
  begin,
  end,
  followClockBack,
  presumeEnd,
  reconcile,
  remove,
  type Life,
  type LifeTransition,
  type Transition,
} from './life.ts';
import type { StuckSightings } from './memory-stuck.ts';
import type { ContainerFacts, Observation, PodFacts, RuntimeName } from './observation.ts';
import { WallClock } from './wall-clock.ts';
import { hasWorkloadOfPod, WorkloadTable } from './workload-table.ts';
import { makeWorkload, type Workload } from './workload.ts';

/** What is known of one container of this node. */
export interface Container {
  readonly id: string;
  runtime?: RuntimeName;
  name?: string;
  image?: string;
  /** Its place in Kubernetes; its pod's uid alone where only the path of its memory cgroup tells. */
  pod?: PodFacts;
  /** Of its pod, by the path of its memory cgroup. */
  qosClass?: QosClass;
  /** It is a pod's sandbox, no container of the user's: only kills in it are told. */
  sandbox?: boolean;
  /** When we first saw it. */
  firstSeenAtMs: number;
  /** The present life, or the last one. */
  life?: Life;
  /** Restarts by restart policy, as the runtime counted them when it was last asked, and those that were told since. */
  runtimeRestartCount?: number;
  /** Its memory cgroup, while that is there. */
  memcg?: string;
  /** When its present memory cgroup was made, where we saw that: begin of the kernel's own counters. */
  memcgSinceMs?: number;
  /** What is counted of it: one object for all instances of a pod's container. */
  workload: Workload;
  /** That it was seen out of memory with nothing to kill. */
  stuck?: StuckSightings;
  /** Its own memory limit when it was last read; absent where there is none. */
  limitBytes?: number;
  /** When we learned that it neither runs nor has a memory cgroup. */
  goneAtMs?: number;
  /** The runtime has removed it: nothing waits to start it again. */
  removed?: boolean;
  /** When it was last told of, where its memory cgroup is gone and the runtime has not told its end, nor that it runs. */
  lostSightAtMs?: number;
  /** Counts up when a fact that telemetry bears has changed: whoever caches what it made of them compares this. */
  factsVersion: number;
}

/** Who is told what becomes of the table. */
export interface TableWatcher {
  /** The node's clock was moved, back where `byMs` is less than 0. */
  clockJumped(byMs: number): void;
  /** So many containers were forgotten that are gone, and no runtime told their end. */
  forgotUnended(count: number): void;
}

/**
 * Why a container is forgotten: its end was told and the grace period is over; it is gone and no runtime told its end;
 * another needs the room.
 */
export const forgetReasons = ['ended', 'not_seen', 'no_room'] as const;

export type ForgetReason = (typeof forgetReasons)[number];

/**
 * A pod's container that has ended waits for its next instance no longer than this, which goes on with its counters: the
 * kubelet's back-off is at most 5 minutes (MaxContainerBackOff), to which come its own rounds and the start itself.
 */
const nextInstanceWithinMs = 420_000;

/** The receiver's only state: what is known of each container of this node, bounded in number. */
export class ContainerTable {
  readonly #containers = new Map<string, Container>();
  readonly #maxContainers: number;
  readonly #clock: WallClock;
  readonly #workloads = new WorkloadTable();
  /** Restarts of before are not ours to count. */
  readonly #beganAtMs: number;
  /** What ended before this is forgotten. */
  #goneBeforeMs = -Infinity;
  #watcher: TableWatcher | undefined;
  /** Observations of containers that found no room. */
  refused = 0;
  /** How often the clock was moved, and with it the times of all containers. */
  clockJumps = 0;
  /** Containers that were forgotten. */
  readonly forgotten: Record<ForgetReason, number> = { ended: 0, not_seen: 0, no_room: 0 };

  /** `readClock` tells the time. */
  constructor(maxContainers: number, readClock?: () => Instant) {
    this.#maxContainers = maxContainers;
    this.#clock = new WallClock(readClock);
    this.#beganAtMs = this.#clock.read().nowMs;
  }

  /** There is one watcher. */
  watch(watcher: TableWatcher): void {
    this.#watcher = watcher;
  }

  get size(): number {
    return this.#containers.size;
  }

  /** Workload containers of pods that are known. */
  get workloadsOfPods(): number {
    return this.#workloads.size;
  }

  /** Whether this container tells the counters of its workload: those of each are told once. */
  tellsWorkload(container: Container): boolean {
    return this.#workloads.isPresent(container);
  }

  /** The container that tells the counters of this one's workload. */
  tellerOf(container: Container): Container {
    return this.#workloads.presentOf(container);
  }

  get(containerId: string): Container | undefined {
    return this.#containers.get(containerId);
  }

  all(): Iterable<Container> {
    return this.#containers.values();
  }

  /** Takes in what was observed; returns the lives that began or ended by it, in their order. */
  apply(observation: Observation): Transition[] {
    const nowMs = this.#readClock();
    switch (observation.kind) {
      case 'container_seen':
      case 'container_started':
      case 'container_exited':
      case 'memcg_appeared':
        return this.#update(this.get(observation.containerId) ?? this.#add(observation), observation, nowMs);
      case 'container_paused':
      case 'container_renamed':
      case 'container_removed':
      case 'memcg_gone':
        return this.#update(this.get(observation.containerId), observation, nowMs);
      default:
        if ('containerId' in observation) seeAgain(this.get(observation.containerId), nowMs);
        return [];
    }
  }

  /**
   * The container of this id, which the kernel log named. One that is new to us is gone already, as far as anybody
   * knows. Undefined where there is no room for it.
   */
  adopt(facts: ContainerFacts & { atMs: number }, nowMs: number): Container | undefined {
    const known = this.get(facts.containerId);
    if (known !== undefined) return known;
    const container = this.#add(facts);
    if (container === undefined) return undefined;
    learn(container, facts);
    this.#workloads.join(container);
    container.goneAtMs = nowMs;
    return container;
  }

  /** Takes up a container that an earlier run knew, as long as there is room. */
  restore(container: Container): void {
    if (this.#containers.size >= this.#maxContainers) {
      this.refused++;
      return;
    }
    this.#containers.set(container.id, container);
    this.#workloads.restore(container);
  }

  /** Forgets the containers that were gone, or of which nobody has told, before `goneBeforeMs`. */
  expire(goneBeforeMs: number): void {
    const nowMs = this.#readClock();
    this.#goneBeforeMs = goneBeforeMs;
    let unended = 0;
    for (const container of this.#containers.values()) {
      const heldForMs = this.#awaitsNextInstance(container) ? nextInstanceWithinMs : -Infinity;
      if ((sightLostAt(container) ?? Infinity) >= Math.min(goneBeforeMs, nowMs - heldForMs)) continue;
      const reason = container.goneAtMs === undefined ? 'not_seen' : 'ended';
      if (reason === 'not_seen') unended++;
      this.#forget(container, reason);
    }
    if (unended > 0) this.#watcher?.forgotUnended(unended);
  }

  #awaitsNextInstance(container: Container): boolean {
    return hasWorkloadOfPod(container) && container.removed !== true && this.#workloads.isPresent(container);
  }

  #forget(container: Container, reason: ForgetReason): void {
    this.#containers.delete(container.id);
    this.#workloads.leave(container);
    this.forgotten[reason]++;
  }

  /** The time of now. Where the clock has jumped the kept times follow. */
  #readClock(): number {
    const { nowMs, jumpedMs } = this.#clock.read();
    if (jumpedMs === 0) return nowMs;
    for (const container of this.#containers.values()) followClock(container, jumpedMs, nowMs);
    this.clockJumps++;
    this.#watcher?.clockJumped(jumpedMs);
    return nowMs;
  }

  #update(container: Container | undefined, observation: ContainerObservation, nowMs: number): Transition[] {
    if (container === undefined) return [];
    const isNew = container.life === undefined;
    learn(container, factsIn(observation));
    this.#workloads.join(container);
    const transitions: Transition[] = takeIn(container, observation, nowMs);
    if (hasWorkloadOfPod(container)) transitions.push(...this.#turnWorkload(container, isNew, transitions));
    const present = container.memcg !== undefined || isRunning(container);
    // Not when it ended: that can be long ago, and its last counts are still to be sent.
    container.goneAtMs = present ? undefined : (container.goneAtMs ?? nowMs);
    keepSight(container, observation, nowMs);
    return transitions;
  }

  /** What the begin of an instance of a pod's container means: the restart that it is, the end of the one before it. */
  #turnWorkload(container: Container, isNew: boolean, known: readonly Transition[]): Transition[] {
    const { life, workload } = container;
    if (life === undefined) return [];
    const before = this.#workloads.presentOf(container);
    const restarts = this.#workloads.turn(container, this.#beganAtMs);
    const atMs = life.startedAtMs ?? life.endedAtMs ?? 0;
    // While its group is there it may run: its own end comes.
    const hasEnded = before !== container && this.#workloads.isPresent(container) && before.memcg === undefined;
    const ends = hasEnded && before.life !== undefined ? presumeEnd(before, atMs) : [];
    // One that came and went between two looks of its runtime.
    const isOurs =
      atMs >= Math.min(workload.firstSeenAtMs, this.#beganAtMs) && (life.endedAtMs ?? 0) >= this.#goneBeforeMs;
    const isUntold = isNew && isOurs && life.endedAtMs !== undefined && known.length === 0;
    const ownEnd: Transition[] = isUntold ? [{ kind: 'life_ended', container, atMs: life.endedAtMs!, life }] : [];
    return [...ends, ...restarts, ...ownEnd];
  }

  #add({ containerId, atMs }: ContainerFacts & { atMs: number }): Container | undefined {
    if (this.#containers.size >= this.#maxContainers && !this.#forgetLongestGone()) {
      this.refused++;
      return undefined;
    }
    const container: Container = {
      id: containerId,
      factsVersion: 0,
      firstSeenAtMs: atMs,
      workload: makeWorkload(atMs),
    };
    this.#containers.set(containerId, container);
    return container;
  }

  #forgetLongestGone(): boolean {
    let longest: Container | undefined;
    for (const container of this.#containers.values()) {
      const atMs = sightLostAt(container);
      if (atMs === undefined) continue;
      if (longest === undefined || atMs < sightLostAt(longest)!) longest = container;
    }
    if (longest === undefined) return false;
    this.#forget(longest, 'no_room');
    return true;
  }
}

/** Since when it counts as gone; undefined while it is there. */
function sightLostAt({ goneAtMs, lostSightAtMs }: Container): number | undefined {
  return goneAtMs ?? lostSightAtMs;
}

/**
 * What has lost its cgroup does not run any more, whatever a runtime said before. Mostly the runtime tells the end at
 * once; where it is gone for good nobody ever will.
 */
function keepSight(container: Container, observation: ContainerObservation, nowMs: number): void {
  const { lostSightAtMs } = container;
  const saysItRuns =
    observation.kind === 'container_started' ||
    (observation.kind === 'container_seen' && observation.atMs >= (lostSightAtMs ?? -Infinity));
  if (container.memcg !== undefined || !isRunning(container) || saysItRuns) container.lostSightAtMs = undefined;
  else if (lostSightAtMs !== undefined || observation.kind === 'memcg_gone') container.lostSightAtMs = nowMs;
}

/** Somebody has told of it. */
function seeAgain(container: Container | undefined, nowMs: number): void {
  if (container?.lostSightAtMs !== undefined) container.lostSightAtMs = nowMs;
}

/** True while its main process runs, as far as a runtime told. */
export function isRunning({ life }: Container): boolean {
  return life !== undefined && life.endedAtMs === undefined;
}

type ContainerObservation = Extract<
  Observation,
  {
    kind:
      | 'container_seen'
      | 'container_started'
      | 'container_exited'
      | 'container_paused'
      | 'container_renamed'
      | 'container_removed'
      | 'memcg_appeared'
      | 'memcg_gone';
  }
>;

/**
 * Grace periods last as long as they do. Other times follow only where they would lie in the future, else they stay
 * comparable with what the runtime wrote down at the time.
 */
function followClock(container: Container, byMs: number, nowMs: number): void {
  const { goneAtMs, lostSightAtMs, memcgSinceMs, firstSeenAtMs, workload } = container;
  if (goneAtMs !== undefined) container.goneAtMs = goneAtMs + byMs;
  if (lostSightAtMs !== undefined) container.lostSightAtMs = lostSightAtMs + byMs;
  if (byMs > 0) return;
  followClockBack(container, byMs, nowMs);
  if (memcgSinceMs !== undefined && memcgSinceMs > nowMs) container.memcgSinceMs = memcgSinceMs + byMs;
  if (firstSeenAtMs > nowMs) container.firstSeenAtMs = firstSeenAtMs + byMs;
  if (workload.firstSeenAtMs > nowMs) workload.firstSeenAtMs += byMs;
  if ((workload.lastExitAtMs ?? 0) > nowMs) workload.lastExitAtMs! += byMs;
}

function takeIn(container: Container, observation: ContainerObservation, nowMs: number): LifeTransition[] {
  switch (observation.kind) {
    case 'container_seen':
      return reconcile(container, observation, nowMs);
    case 'container_started':
      return begin(container, observation.atMs, nowMs);
    case 'container_exited':
      return end(container, observation.atMs, observation.exitCode, nowMs);
    case 'container_paused':
    case 'container_renamed':
      return [];
    case 'container_removed':
      container.removed = true;
      return remove(container, observation.atMs, nowMs);
    case 'memcg_appeared':
      container.memcg = observation.memcg;
      if (observation.resumed !== true) container.memcgSinceMs = observation.fresh ? observation.atMs : undefined;
      return [];
    case 'memcg_gone':
      if (container.memcg === observation.memcg) container.memcg = undefined;
      return [];
  }
}

/** Who the container is, as far as an observation tells: the path of its memory cgroup holds its pod's uid. */
function factsIn(observation: ContainerObservation): Partial<ContainerFacts> & { qosClass?: QosClass } {
  switch (observation.kind) {
    case 'container_seen':
    case 'container_started':
    case 'container_exited':
      return observation;
    case 'container_renamed':
      return { name: observation.name };
    case 'memcg_appeared': {
      const { podUid, qosClass } = identifyMemcg(observation.memcg);
      return { ...observation, pod: observation.pod ?? (podUid === undefined ? undefined : { uid: podUid }), qosClass };
    }
    default:
      return {};
  }
}

type Known = Pick<Container, 'runtime' | 'name' | 'image' | 'pod' | 'qosClass' | 'sandbox'>;

/**
 * Takes over what is new; what the observation does not know stays as it was. Two sources may tell of a pod's container,
 * each in its own words: there the first word stands, so that its series stay the same.
 */
function learn(container: Container, told: Partial<Known>): void {
  const { pod } = container;
  const isOfPod = pod !== undefined || told.pod !== undefined;
  const known: Known = {
    runtime: told.runtime ?? container.runtime,
    name: told.name ?? container.name,
    image: isOfPod ? firstName(container.image, told.image) : (told.image ?? container.image),
    pod: pod === undefined ? told.pod : complete(pod, told.pod),
    qosClass: container.qosClass ?? told.qosClass,
    // Whoever has only its group to go by may take a container for the sandbox, until somebody knows its name.
    sandbox: told.pod?.containerName === undefined ? container.sandbox === true || told.sandbox : told.sandbox === true,
  };
  if (factKeys.every((key) => known[key] === container[key])) return;
  Object.assign(container, known);
  container.factsVersion++;
}

const factKeys = ['runtime', 'name', 'image', 'pod', 'qosClass', 'sandbox'] as const;

/** An id of an image gives way to a name. */
function firstName(known: string | undefined, told: string | undefined): string | undefined {
  return known === undefined || (/^(?:sha256:)?[0-9a-f]{64}$/.test(known) && told !== undefined) ? told : known;
}

/** What is new of the same pod. Labels that name another one than the path of the cgroup are not the kubelet's. */
function complete(pod: PodFacts, told: PodFacts | undefined): PodFacts {
  if (told === undefined || told.uid !== pod.uid) return pod;
  const keys = ['namespace', 'name', 'containerName', 'restartCount'] as const;
  if (keys.every((key) => pod[key] !== undefined || told[key] === undefined)) return pod;
  return {
    uid: pod.uid,
    namespace: pod.namespace ?? told.namespace,
    name: pod.name ?? told.name,
    containerName: pod.containerName ?? told.containerName,
    restartCount: pod.restartCount ?? told.restartCount,
  };
}
