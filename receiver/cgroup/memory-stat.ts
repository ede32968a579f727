/** One key of memory.stat and what it means as a metric. */
export interface StatKey {
  key: string;
  unit: 'By' | '{faults}' | '{operations}';
  /** A count of events since the group was made; else an amount at present. */
  monotonic: boolean;
  defaultOn: boolean;
  description: string;
}

/** Amounts, by key. Kernel document: admin-guide/cgroup-v2 "memory.stat"; keys of v1: admin-guide/cgroup-v1/memory. */
const byteKeys: Record<string, string> = {
  anon: 'Anonymous memory: heaps, stacks, brk, mmap without a file.',
  file: 'Page cache, shared memory and tmpfs included.',
  kernel: 'All kernel memory: slab, stacks, page tables, per-CPU and others.',
  kernel_stack: 'Kernel stacks.',
  pagetables: 'Page tables.',
  sec_pagetables: 'Secondary page tables, those of KVM say.',
  percpu: 'Per-CPU kernel data.',
  sock: 'Network buffers.',
  vmalloc: 'Memory of vmalloc.',
  shmem: 'Shared memory and tmpfs: cannot be reclaimed without swap.',
  zswap: 'Compressed memory held by zswap.',
  zswapped: 'Application memory swapped out to zswap.',
  zswap_incomp: 'Memory held by zswap that could not be compressed.',
  file_mapped: 'Page cache mapped by processes.',
  file_dirty: 'Page cache to be written to disk.',
  file_writeback: 'Page cache being written to disk.',
  swapcached: 'Swap cached in memory.',
  anon_thp: 'Anonymous transparent huge pages.',
  file_thp: 'Page cache in transparent huge pages.',
  shmem_thp: 'Shared memory in transparent huge pages.',
  inactive_anon: 'Anonymous memory that was not used recently.',
  active_anon: 'Anonymous memory in use.',
  inactive_file: 'Page cache that was not used recently: taken back first.',
  active_file: 'Page cache in use.',
  unevictable: 'Memory that cannot be reclaimed: locked, say.',
  slab_reclaimable: 'Slab that can be reclaimed: dentries and inodes.',
  slab_unreclaimable: 'Slab that cannot be reclaimed.',
  slab: 'Kernel data structures.',
  hugetlb: 'Huge pages of hugetlbfs, where they are accounted.',
  cache: 'Page cache of this group alone (cgroup v1).',
  rss_huge: 'Anonymous transparent huge pages of this group alone (cgroup v1).',
  mapped_file: 'Page cache mapped by processes, of this group alone (cgroup v1).',
  dirty: 'Page cache to be written, of this group alone (cgroup v1).',
  writeback: 'Page cache being written, of this group alone (cgroup v1).',
  swap: 'Swap used by this group alone (cgroup v1).',
  total_cache: 'Page cache of the group and those below it (cgroup v1).',
  total_rss: 'Anonymous memory of the group and those below it (cgroup v1).',
  total_rss_huge: 'Anonymous transparent huge pages of the group and those below it (cgroup v1).',
  total_shmem: 'Shared memory of the group and those below it (cgroup v1).',
  total_mapped_file: 'Mapped page cache of the group and those below it (cgroup v1).',
  total_dirty: 'Page cache to be written, of the group and those below it (cgroup v1).',
  total_writeback: 'Page cache being written, of the group and those below it (cgroup v1).',
  total_swap: 'Swap used by the group and those below it (cgroup v1).',
  total_swapcached: 'Swap cached in memory, of the group and those below it (cgroup v1).',
  total_inactive_anon: 'Inactive anonymous memory of the group and those below it (cgroup v1).',
  total_active_anon: 'Active anonymous memory of the group and those below it (cgroup v1).',
  total_inactive_file: 'Inactive page cache of the group and those below it (cgroup v1).',
  total_active_file: 'Active page cache of the group and those below it (cgroup v1).',
  total_unevictable: 'Unevictable memory of the group and those below it (cgroup v1).',
};

/** Counts of events, by key. */
const eventKeys: Record<string, string> = {
  pgfault: 'Page faults.',
  pgmajfault: 'Page faults that had to read from disk.',
  pgrefill: 'Pages scanned on active lists.',
  pgscan: 'Pages scanned for reclaim.',
  pgsteal: 'Pages reclaimed.',
  pgscan_kswapd: 'Pages scanned by kswapd.',
  pgscan_direct: 'Pages scanned by processes that had to wait for it.',
  pgscan_khugepaged: 'Pages scanned by khugepaged.',
  pgscan_proactive: 'Pages scanned because userspace asked for it.',
  pgsteal_kswapd: 'Pages reclaimed by kswapd.',
  pgsteal_direct: 'Pages reclaimed by processes that had to wait for it.',
  pgsteal_khugepaged: 'Pages reclaimed by khugepaged.',
  pgsteal_proactive: 'Pages reclaimed because userspace asked for it.',
  pgdemote_kswapd: 'Pages demoted to slower memory by kswapd.',
  pgdemote_direct: 'Pages demoted to slower memory by processes that had to wait for it.',
  pgdemote_khugepaged: 'Pages demoted to slower memory by khugepaged.',
  pgdemote_proactive: 'Pages demoted to slower memory because userspace asked for it.',
  pgpromote_success: 'Pages promoted to faster memory.',
  pswpin: 'Pages swapped in.',
  pswpout: 'Pages swapped out.',
  pgactivate: 'Pages moved to active lists.',
  pgdeactivate: 'Pages moved to inactive lists.',
  pglazyfree: 'Pages marked to be freed under pressure (MADV_FREE).',
  pglazyfreed: 'Pages marked to be freed that were freed.',
  workingset_refault_anon: 'Anonymous pages that were evicted and needed again.',
  workingset_refault_file: 'File pages that were evicted and needed again.',
  workingset_activate_anon: 'Refaulted anonymous pages that were activated at once.',
  workingset_activate_file: 'Refaulted file pages that were activated at once.',
  workingset_restore_anon: 'Refaulted anonymous pages that had been in use before they were evicted.',
  workingset_restore_file: 'Refaulted file pages that had been in use before they were evicted.',
  workingset_nodereclaim: 'Times that the memory of evictions itself was reclaimed.',
  swpin_zero: 'Zero-filled pages swapped in without reading.',
  swpout_zero: 'Zero-filled pages swapped out without writing.',
  zswpin: 'Pages moved from zswap to memory.',
  zswpout: 'Pages moved from memory to zswap.',
  zswpwb: 'Pages written from zswap to swap.',
  thp_fault_alloc: 'Huge pages allocated on a fault.',
  thp_collapse_alloc: 'Huge pages made of small ones.',
  thp_swpout: 'Huge pages swapped out in one piece.',
  thp_swpout_fallback: 'Huge pages that were split to be swapped out.',
  numa_pages_migrated: 'Pages migrated by NUMA balancing.',
  numa_pte_updates: 'Page table entries changed by NUMA balancing to provoke a fault.',
  numa_hint_faults: 'Faults provoked by NUMA balancing.',
  pgpgin: 'Pages charged (cgroup v1).',
  pgpgout: 'Pages uncharged (cgroup v1).',
  total_workingset_refault_anon:
    'Anonymous pages evicted and needed again, of the group and those below it (cgroup v1).',
  total_workingset_refault_file: 'File pages evicted and needed again, of the group and those below it (cgroup v1).',
  total_pgfault: 'Page faults of the group and those below it (cgroup v1).',
  total_pgmajfault: 'Major page faults of the group and those below it (cgroup v1).',
  total_pgpgin: 'Pages charged to the group and those below it (cgroup v1).',
  total_pgpgout: 'Pages uncharged from the group and those below it (cgroup v1).',
};

const defaultOn = new Set(
  (
    'anon file shmem kernel slab sock pagetables inactive_file pgmajfault ' +
    'cache total_cache total_rss total_shmem total_inactive_file total_pgmajfault'
  ).split(' '),
);

/**
 * The keys that become metrics, of v2 (5.10 to 7.2) and v1. The v1 key `rss` is left out: container.memory.rss is a
 * metric of its own. Keys that only some kernels have are absent on others.
 */
export const STAT_KEYS: readonly StatKey[] = [
  ...Object.entries(byteKeys).map(([key, description]) => describe(key, 'By', false, description)),
  ...Object.entries(eventKeys).map(([key, description]) =>
    describe(key, /faults?$/.test(key) ? '{faults}' : '{operations}', true, description),
  ),
];

function describe(key: string, unit: StatKey['unit'], monotonic: boolean, description: string): StatKey {
  return { key, unit, monotonic, defaultOn: defaultOn.has(key), description };
}

/** Index of a key in `STAT_KEYS`. */
export function indexOfStat(key: string): number {
  return STAT_KEYS.findIndex((stat) => stat.key === key);
}
