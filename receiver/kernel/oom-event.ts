import type { LogPosition } from './kmsg-record.ts';
import type { OomInvocation } from './oom-dump.ts';

/** What the kernel log tells of its OOM killer. */
export type OomEvent = OomVictim | NothingKillable | ReportsSuppressed;

/** One process that the OOM killer killed; each process once. */
export interface OomVictim {
  kind: 'oom_victim';
  /** Of the line that says it is killed. */
  at: LogPosition;
  /** In the host's namespace. Of a thread where the process's first thread had ended. */
  pid: number;
  /** At most 15 bytes, chosen by the process. */
  comm: string;
  uid?: number;
  totalVmBytes?: number;
  anonRssBytes?: number;
  fileRssBytes?: number;
  shmemRssBytes?: number;
  pgtablesBytes?: number;
  oomScoreAdj?: number;
  /** False where the log ends after the choice and before the kill, or lost the line between. */
  confirmed: boolean;
  /** True below a cgroup's limit, false for the whole machine, a cpuset or a memory policy; absent where not told. */
  memcgOom?: boolean;
  /** Group of this process; with `oomGroup`, that group or one below it. Absent where the log did not name it. */
  memcg?: string;
  /**
   * The kernel's counters have a first victim of a group kill twice: it goes with that one, or with the next of the
   * group where that one was given out before the group was announced.
   */
  countedTwice?: true;
  /** Absent where the kernel held the report back: it writes at most 10 in 5 s. */
  invocation?: OomInvocation;
}

/** Memory ran out and nothing can be killed. The kernel says so again and again. */
export interface NothingKillable {
  kind: 'oom_nothing_killable';
  at: LogPosition;
  /** Absent where the line stands alone. */
  invocation?: OomInvocation;
}

/** The kernel held reports back since the last one that it wrote; the kills themselves it has told. */
export interface ReportsSuppressed {
  kind: 'oom_reports_suppressed';
  at: LogPosition;
  reports: number;
}
