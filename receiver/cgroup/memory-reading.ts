/**
 * One reading of a container's memory cgroup, the same for v1 and v2. Bytes; what the kernel does not tell or what
 * could not be read is undefined, never 0.
 */
export interface MemoryReading {
  atMs: number;
  /** v2 memory.current, v1 memory.usage_in_bytes. */
  usageBytes?: number;
  /** max(0, usage − inactive_file) (v1: total_inactive_file), as the kubelet and cAdvisor compute it. */
  workingSetBytes?: number;
  /** v2 anon, v1 total_rss: what kubelet_stats calls rss. */
  rssBytes?: number;
  /** limit − working set, as kubelet_stats computes it; undefined without a limit. */
  availableBytes?: number;
  /** The container's own limit; undefined where there is none. */
  limitBytes?: number;
  /** The smallest limit on the way up from the container to the root; undefined where there is none. */
  effectiveLimitBytes?: number;
  /** Highest usage since the previous reading. */
  maxUsageBytes?: number;
  /** What the kernel cannot take back without swap: what decides an OOM. */
  unreclaimableBytes?: number;
  /** Values of memory.stat by index into `STAT_KEYS`; NaN where the kernel has no such key. */
  stat?: Float64Array;
  /** memory.events since the group was made; on v1 only `max` (memory.failcnt). */
  events?: MemoryEvents;
}

/** Counters of memory.events, by the kernel's names. */
export interface MemoryEvents {
  low?: number;
  high?: number;
  max?: number;
  oom?: number;
  oomGroupKill?: number;
}
