import type { Container } from './container-table.ts';
import type { ScopeOfPath } from './cgroup/identity.ts';
import type { StuckReason } from './cgroup/oom-counter.ts';
import type { UserspaceKiller } from './kernel/userspace-killer.ts';
import type { Life } from './life.ts';
import type { PodFacts, VictimLogged } from './observation.ts';
import type { ExitReason } from './workload.ts';

/** What became of the witnesses' reports: what telemetry tells the world, one record each. */
export type Incident = OomKill | PodOomKill | NodeOomKill | ContainerExit | ContainerRestart | CrashLoop | MemoryStuck;

/** Which witness spoke, by the values of `oom.evidence`. */
export type Evidence = 'kernel_log' | 'memory_events' | 'vmstat' | 'runtime_event' | 'exit_status';

/** Whose limit was hit, by the values of `oom.scope`. */
export type LimitScope = ScopeOfPath | 'cpuset';

/** One process of a container was killed by the kernel's OOM killer. */
export interface OomKill {
  kind: 'oom_kill';
  container: Container;
  /** When it happened: by the kernel log, else by the runtime's clock, else when the counter was read. */
  atMs: number;
  observedAtMs: number;
  /** The same for all victims of one invocation of the OOM killer. */
  incidentId: string;
  /** `init` is the container's main process; a `child` dies unseen by the runtime. */
  victim: 'init' | 'child' | 'unknown';
  /** The container's main process was seen to live on, or did not end within the settle time. */
  mainProcessAlive?: boolean;
  scope: LimitScope;
  /** memory.oom.group took the whole cgroup; undefined where the kernel does not tell. */
  group?: boolean;
  evidence: Evidence[];
  /** The container's own memory limit at that time. */
  limitBytes?: number;
  /** What the kernel log says of the victim; absent where only counters tell of it. */
  named?: VictimLogged;
}

/**
 * One process of a pod was killed by the kernel's OOM killer, in a container that went with its counter: only the pod's
 * own counter tells of it, or that of all pods.
 */
export interface PodOomKill {
  kind: 'pod_oom_kill';
  /** Absent where it is not known in which pod. */
  pod?: PodFacts;
  /** When the counter was read. */
  atMs: number;
  observedAtMs: number;
  incidentId: string;
  scope: LimitScope;
  /** memory.oom.group took a whole cgroup. */
  group?: boolean;
  evidence: Evidence[];
}

/** One process outside of any container we know of was killed by the kernel's OOM killer. */
export interface NodeOomKill {
  kind: 'node_oom_kill';
  atMs: number;
  observedAtMs: number;
  incidentId: string;
  scope: LimitScope;
  named: VictimLogged;
}

/** Why a main process ended, by the values of `container.exit.cause`. */
export type ExitCause =
  | 'completed'
  | 'app_error'
  | 'app_signal'
  | 'oom_container'
  | 'oom_pod'
  | 'oom_node_allocatable'
  | 'oom_node'
  | 'stopped'
  | 'killed_externally'
  | 'killed_by_userspace_oom'
  | 'unknown';

/** A container's main process ended. */
export interface ContainerExit {
  kind: 'exit';
  container: Container;
  atMs: number;
  observedAtMs: number;
  life: Life;
  exitCode?: number;
  reason: ExitReason;
  cause: ExitCause;
  /** Who wrote to a log that it killed it. */
  killer?: UserspaceKiller;
  evidence: Evidence[];
}

/** A new instance of the same workload container was started. */
export interface ContainerRestart {
  kind: 'restart';
  container: Container;
  atMs: number;
  observedAtMs: number;
  /** The life before, where it is known. */
  previous?: Life;
  /** More than 1 where instances of a pod's container went by unseen, which nobody can tell one by one. */
  restarts?: number;
}

/** The restarts of a workload container have become a loop, or that has ended. */
export interface CrashLoop {
  kind: 'crash_loop';
  container: Container;
  atMs: number;
  observedAtMs: number;
  /** `ended`: it has run for as long as the kubelet's back-off needs to begin anew; `gone`: it will not be started again. */
  state: 'begun' | 'ended' | 'gone';
  /** When the first restart of the loop was. */
  sinceMs: number;
  /** Restarts of the loop so far. */
  restarts: number;
}

/** A container is out of memory, and nothing in it can be killed: its tasks wait, or fail again and again. */
export interface MemoryStuck {
  kind: 'memory_stuck';
  container: Container;
  atMs: number;
  observedAtMs: number;
  reason: StuckReason;
  evidence: Evidence[];
  /** The group whose limit is hit. */
  memcg?: string;
  limitBytes?: number;
}
