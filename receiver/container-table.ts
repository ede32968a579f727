import type { Instant } from './instant.ts';
import { begin, end, followClockBack, reconcile, remove, type Life, type Transition } from './life.ts';
import type { StuckSightings } from './memory-stuck.ts';
import type { ContainerFacts, Observation, RuntimeName } from './observation.ts';
import { WallClock } from './wall-clock.ts';
import { makeWorkload, type Workload } from './workload.ts';

/** What is known of one container of this node. */
export interface Container {
  readonly id: string;
  runtime?: RuntimeName;
  name?: string;
  image?: string;
  /** The present life, or the last one. */
  life?: Life;
  /** Restarts by restart policy, as the runtime counted them when it was last asked, and those that were told since. */
  runtimeRestartCount?: number;
  /** Its memory cgroup, while that is there. */
  memcg?: string;
  /** When its present memory cgroup was made, where we saw that: begin of the kernel's own counters. */
  memcgSinceMs?: number;
  workload: Workload;
  /** That it was seen out of memory with nothing to kill. */
  stuck?: StuckSightings;
  /** Its own memory limit when it was last read; absent where there is none. */
  limitBytes?: number;
  /** When we learned that it neither runs nor has a memory cgroup. */
  goneAtMs?: number;
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

/** The receiver's only state: what is known of each container of this node, bounded in number. */
export class ContainerTable {
  readonly #containers = new Map<string, Container>();
  readonly #maxContainers: number;
  readonly #clock: WallClock;
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
  }

  /** There is one watcher. */
  watch(watcher: TableWatcher): void {
    this.#watcher = watcher;
  }

  get size(): number {
    return this.#containers.size;
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
    container.goneAtMs = nowMs;
    return container;
  }

  /** Takes up a container that an earlier run knew, as long as there is room. */
  restore(container: Container): void {
    if (this.#containers.size < this.#maxContainers) this.#containers.set(container.id, container);
    else this.refused++;
  }

  /** Forgets the containers that were gone, or of which nobody has told, before `goneBeforeMs`. */
  expire(goneBeforeMs: number): void {
    this.#readClock();
    let unended = 0;
    for (const container of this.#containers.values()) {
      if ((sightLostAt(container) ?? Infinity) >= goneBeforeMs) continue;
      const reason = container.goneAtMs === undefined ? 'not_seen' : 'ended';
      if (reason === 'not_seen') unended++;
      this.#forget(container, reason);
    }
    if (unended > 0) this.#watcher?.forgotUnended(unended);
  }

  #forget({ id }: Container, reason: ForgetReason): void {
    this.#containers.delete(id);
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
    const transitions = takeIn(container, observation, nowMs);
    const present = container.memcg !== undefined || isRunning(container);
    // Not when it ended: that can be long ago, and its last counts are still to be sent.
    container.goneAtMs = present ? undefined : (container.goneAtMs ?? nowMs);
    keepSight(container, observation, nowMs);
    return transitions;
  }

  #add({ containerId, atMs }: ContainerFacts & { atMs: number }): Container | undefined {
    if (this.#containers.size >= this.#maxContainers && !this.#forgetLongestGone()) {
      this.refused++;
      return undefined;
    }
    const container: Container = {
      id: containerId,
      factsVersion: 0,
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
  const { goneAtMs, lostSightAtMs, memcgSinceMs, workload } = container;
  if (goneAtMs !== undefined) container.goneAtMs = goneAtMs + byMs;
  if (lostSightAtMs !== undefined) container.lostSightAtMs = lostSightAtMs + byMs;
  if (byMs > 0) return;
  followClockBack(container, byMs, nowMs);
  if (memcgSinceMs !== undefined && memcgSinceMs > nowMs) container.memcgSinceMs = memcgSinceMs + byMs;
  if (workload.firstSeenAtMs > nowMs) workload.firstSeenAtMs += byMs;
}

function takeIn(container: Container, observation: ContainerObservation, nowMs: number): Transition[] {
  switch (observation.kind) {
    case 'container_seen':
      learn(container, observation);
      return reconcile(container, observation, nowMs);
    case 'container_started':
      learn(container, observation);
      return begin(container, observation.atMs, nowMs);
    case 'container_exited':
      learn(container, observation);
      return end(container, observation.atMs, observation.exitCode, nowMs);
    case 'container_paused':
      return [];
    case 'container_renamed':
      learn(container, observation);
      return [];
    case 'container_removed':
      return remove(container, observation.atMs, nowMs);
    case 'memcg_appeared':
      learn(container, observation);
      container.memcg = observation.memcg;
      if (observation.resumed !== true) container.memcgSinceMs = observation.fresh ? observation.atMs : undefined;
      return [];
    case 'memcg_gone':
      if (container.memcg === observation.memcg) container.memcg = undefined;
      return [];
  }
}

/** Takes over what is new; what the observation does not know stays as it was. */
function learn(container: Container, { runtime, name, image }: Partial<ContainerFacts>): void {
  const before = { ...container };
  container.runtime = runtime ?? container.runtime;
  container.name = name ?? container.name;
  container.image = image ?? container.image;
  const keys = ['runtime', 'name', 'image'] as const;
  if (keys.some((key) => before[key] !== container[key])) container.factsVersion++;
}
