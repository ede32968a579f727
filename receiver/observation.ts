import type { StuckReason } from './cgroup/oom-counter.ts';
import type { OomInvocation } from './kernel/oom-dump.ts';
import type { OomVictim } from './kernel/oom-event.ts';
import type { UserspaceKill } from './kernel/userspace-killer.ts';

/**
 * What one source saw, before anyone judged it. Sources report; the correlator decides. All times are milliseconds
 * since the epoch (with fractions) by the clock of whoever saw the thing happen: the runtime's or the kernel's where
 * it gives one, else ours.
 */
export type Observation =
  | ContainerSeen
  | ContainerStarted
  | ContainerExited
  | ContainerSignalled
  | ContainerStopped
  | ContainerPaused
  | ContainerRenamed
  | ContainerRemoved
  | OomHinted
  | MemcgAppeared
  | MemcgGone
  | OomKillsCounted
  | LostOomKillsCounted
  | NodeOomKillsCounted
  | MainProcessSeen
  | ProcessesSeen
  | MemoryStuckSeen
  | VictimLogged
  | NothingKillableLogged
  | UserspaceKillerLogged
  | KernelLogGap;

/** Container runtimes, by the names of `container.runtime`. */
export type RuntimeName = 'docker' | 'containerd' | 'cri-o' | 'podman';

/** Who a container is. What a source does not know is absent. All text but the id comes from users: hostile. */
export interface ContainerFacts {
  /** 64 lower-case hex digits, checked by the source. */
  containerId: string;
  runtime?: RuntimeName;
  name?: string;
  /** As the user wrote it: `registry/name:tag`, `name@sha256:…` or an image id. */
  image?: string;
  labels?: Readonly<Record<string, string>>;
  /** Whose part it is in Kubernetes; absent for a container that no kubelet made. */
  pod?: PodFacts;
  /** True for a pod's sandbox (pause container), which is no container of the user's. */
  sandbox?: boolean;
}

/** A container's place in Kubernetes, as the kubelet wrote it into the runtime's labels: hostile text all of it. */
export interface PodFacts {
  /** As in the API and in `k8s.pod.uid`; of a static pod the 32 hex digits that its manifest hashes to. */
  uid: string;
  namespace?: string;
  name?: string;
  /** Absent for the sandbox. */
  containerName?: string;
  /** Restarts of this container within its pod, counted by the kubelet; 0 for the first instance. */
  restartCount?: number;
}

/** The runtime was asked for the present state of a container: after a start, at first sight, after a gap. */
export interface ContainerSeen extends ContainerFacts {
  kind: 'container_seen';
  atMs: number;
  running: boolean;
  paused: boolean;
  /** Host pid of the main process while it runs. */
  pid?: number;
  createdAtMs?: number;
  /** Begin of the present life, or of the last one. */
  startedAtMs?: number;
  /** End of the last life that ended. */
  finishedAtMs?: number;
  /** Exit code of the last life that ended. */
  exitCode?: number;
  /** Restarts by restart policy over the container's whole life. */
  restartCount?: number;
}

/** The main process was started. */
export interface ContainerStarted extends ContainerFacts {
  kind: 'container_started';
  atMs: number;
}

/** The main process ended. Docker `die`. */
export interface ContainerExited extends ContainerFacts {
  kind: 'container_exited';
  atMs: number;
  /** 128 + n where signal n ended it. Absent where the runtime did not tell. */
  exitCode?: number;
}

/** Somebody asked the runtime to send a signal. Docker `kill`; a `docker stop` begins with one, too. */
export interface ContainerSignalled {
  kind: 'container_signalled';
  containerId: string;
  atMs: number;
  /** Signal number; Podman does not tell it. */
  signal?: number;
}

/** The runtime carried out a request to stop. Docker sends `stop` after `die`, Podman before or after. */
export interface ContainerStopped {
  kind: 'container_stopped';
  containerId: string;
  atMs: number;
}

export interface ContainerPaused {
  kind: 'container_paused';
  containerId: string;
  atMs: number;
  /** False when it was unpaused. */
  paused: boolean;
}

export interface ContainerRenamed {
  kind: 'container_renamed';
  containerId: string;
  atMs: number;
  name: string;
}

export interface ContainerRemoved {
  kind: 'container_removed';
  containerId: string;
  atMs: number;
}

/**
 * A runtime says that this container is out of memory. A hint to read the counters now, never a count: on cgroup v1
 * four kills sent 66 of them, and a pod's limit sends one to each container below it.
 */
export interface OomHinted {
  kind: 'oom_hinted';
  containerId: string;
  atMs: number;
}

/** A container's memory cgroup is there and its counters can be read. */
export interface MemcgAppeared extends ContainerFacts {
  kind: 'memcg_appeared';
  atMs: number;
  /** Path below the memory hierarchy's mount point, with a leading slash. */
  memcg: string;
  /**
   * True when we saw the group being made, so that its counters began at 0 under our eyes; false for a group that
   * was there before us, whose kills before now are not ours to report.
   */
  fresh: boolean;
  /** The same group that was there when an earlier run ended, whose kills since then are to be reported. */
  resumed?: boolean;
  /** Its counters have the kills of all groups below it as well (v2). */
  countsBelow?: boolean;
}

/** The group was removed, or its files cannot be read any more. Kills since the last reading are unknown. */
export interface MemcgGone {
  kind: 'memcg_gone';
  containerId: string;
  atMs: number;
  memcg: string;
}

/** The kernel's `oom_kill` counter of a container's group (v1: of the group or one below it) went up. */
export interface OomKillsCounted {
  kind: 'oom_kills_counted';
  containerId: string;
  /** When the new value was read. */
  atMs: number;
  /** The group whose counter it is; on v1 it can be one nested below the container's. */
  memcg: string;
  /**
   * By how much the counter rose: one for each dead process, and one more for each `oomGroupKills`, because the
   * kernel counts the first victim of a `memory.oom.group` kill twice.
   */
  oomKills: number;
  /** By how much `oom_group_kill` rose in the same reading; absent where the kernel has no such counter. */
  oomGroupKills?: number;
  /** By how much `oom` of `memory.events.local` or `memory.events` rose: the container's own limit was hit. */
  ooms?: number;
  /** The container's own memory limit at that time; absent where there is none. */
  limitBytes?: number;
}

/**
 * The kernel's `oom_kill` counter of a pod's group or of that of all pods (v2) went up by more than the counters of the
 * groups below it have shown: kills in groups that are gone, or that nobody reads.
 */
export interface LostOomKillsCounted {
  kind: 'lost_oom_kills_counted';
  /** When the new value was read. */
  atMs: number;
  /** The pod's group, or that of all pods. */
  memcg: string;
  /** As of `oom_kills_counted`: what nothing below has shown. */
  oomKills: number;
  oomGroupKills?: number;
  /** By how much the group's own limit was hit. */
  ooms?: number;
  /** Containers whose groups below it went since it was read before. */
  goneContainerIds: readonly string[];
}

/** `oom_kill` of /proc/vmstat: every kill on this machine, whoever the victim was. */
export interface NodeOomKillsCounted {
  kind: 'node_oom_kills_counted';
  atMs: number;
  /** The counter since boot. */
  total: number;
}

/** /proc was asked for a container's main process right after a kill. */
export interface MainProcessSeen {
  kind: 'main_process_seen';
  containerId: string;
  /** Of the process that was looked at, in the host's namespace. */
  pid?: number;
  atMs: number;
  /** False when it is gone, a zombie, or has a SIGKILL pending. */
  alive: boolean;
}

/** Processes were in a container's group, or in one below it: their pids are all that the log may tell of them later. */
export interface ProcessesSeen {
  kind: 'processes_seen';
  containerId: string;
  atMs: number;
  /** In the host's namespace. */
  pids: readonly number[];
  /** The first of them that is the first of a PID namespace: the container's main process. */
  mainPid?: number;
}

/** The counters of a container's group showed that it is out of memory and that nothing is killed. */
export interface MemoryStuckSeen {
  kind: 'memory_stuck';
  containerId: string;
  atMs: number;
  /** The group itself, or one below it. */
  memcg: string;
  reason: StuckReason;
}

/** The kernel log told of a process that the OOM killer killed: each process once. */
export interface VictimLogged {
  kind: 'oom_victim';
  source: 'kernel_log';
  /** By the wall clock, from the log's own time, some milliseconds exact; ours where the log has none. */
  atMs: number;
  /** Who died, and in which invocation: one object for all victims of one. Names and paths are hostile. */
  victim: OomVictim;
  /** Its group as /proc still showed it, where the kernel held back the report that names it. */
  memcgSeen?: string;
  /** Of the boot that the log's sequence numbers and times count from; absent for a line of a file that may be of another. */
  bootId?: string;
}

/**
 * The kernel log told that a limit was hit and nothing can be killed. The kernel repeats it thousands of times a second;
 * told at most once a second for each group.
 */
export interface NothingKillableLogged {
  kind: 'nothing_killable';
  source: 'kernel_log';
  /** As that of a victim. */
  atMs: number;
  /** Absent where the line stood alone. */
  invocation?: OomInvocation;
  bootId?: string;
}

/**
 * A program of user space wrote to a log that it killed a group or a process. Whoever may write to that log can forge
 * it, so that it can only explain an exit by SIGKILL that was told by another, and never makes a kill.
 */
export interface UserspaceKillerLogged extends UserspaceKill {
  kind: 'userspace_killer_logged';
  source: 'kernel_log';
  /** As that of a victim. */
  atMs: number;
}

/** A part of the kernel log could not be read: kills in it are known by the counters alone. */
export interface KernelLogGap {
  kind: 'kernel_log_gap';
  source: 'kernel_log';
  /** When we found it. */
  atMs: number;
  /** Time of the last message before it; absent where none was read. */
  fromMs?: number;
  /** Time of the first message after it. */
  toMs: number;
  /** Absent where the log has no sequence numbers. */
  lostRecords?: number;
  /** `overrun`: the ring was overwritten before it was read; `lost`: messages are missing; `cut`: a file was cut off. */
  reason: 'overrun' | 'lost' | 'cut';
}

/** Takes an observation; returns at once and never throws. */
export type Emit = (observation: Observation) => void;
