import assert from 'node:assert/strict';
import { test } from 'node:test';
import { indexOfStat, STAT_KEYS } from '../../../receiver/cgroup/memory-stat.ts';

/** Keys of memory.stat as these kernels (Debian's cloud flavour) wrote them. */
const keysOfKernels: Record<string, string> = {
  'v2, 5.10': `
    anon file kernel_stack percpu sock shmem file_mapped file_dirty file_writeback anon_thp inactive_anon
    active_anon inactive_file active_file unevictable slab_reclaimable slab_unreclaimable slab
    workingset_refault_anon workingset_refault_file workingset_activate_anon workingset_activate_file
    workingset_restore_anon workingset_restore_file workingset_nodereclaim pgfault pgmajfault pgrefill
    pgscan pgsteal pgactivate pgdeactivate pglazyfree pglazyfreed thp_fault_alloc thp_collapse_alloc`,
  'v2, 6.1': `
    anon file kernel kernel_stack pagetables sec_pagetables percpu sock vmalloc shmem file_mapped file_dirty
    file_writeback swapcached anon_thp file_thp shmem_thp inactive_anon active_anon inactive_file
    active_file unevictable slab_reclaimable slab_unreclaimable slab workingset_refault_anon
    workingset_refault_file workingset_activate_anon workingset_activate_file workingset_restore_anon
    workingset_restore_file workingset_nodereclaim pgscan pgsteal pgscan_kswapd pgscan_direct pgsteal_kswapd
    pgsteal_direct pgfault pgmajfault pgrefill pgactivate pgdeactivate pglazyfree pglazyfreed
    thp_fault_alloc thp_collapse_alloc`,
  'v2, 6.12': `
    anon file kernel kernel_stack pagetables sec_pagetables percpu sock vmalloc shmem file_mapped file_dirty
    file_writeback swapcached anon_thp file_thp shmem_thp inactive_anon active_anon inactive_file
    active_file unevictable slab_reclaimable slab_unreclaimable slab workingset_refault_anon
    workingset_refault_file workingset_activate_anon workingset_activate_file workingset_restore_anon
    workingset_restore_file workingset_nodereclaim pgdemote_kswapd pgdemote_direct pgdemote_khugepaged
    pgpromote_success pgscan pgsteal pgscan_kswapd pgscan_direct pgscan_khugepaged pgsteal_kswapd
    pgsteal_direct pgsteal_khugepaged pgfault pgmajfault pgrefill pgactivate pgdeactivate pglazyfree
    pglazyfreed swpin_zero swpout_zero thp_fault_alloc thp_collapse_alloc thp_swpout thp_swpout_fallback
    numa_pages_migrated numa_pte_updates numa_hint_faults`,
  'v2, 6.18': `
    anon file kernel kernel_stack pagetables sec_pagetables percpu sock vmalloc shmem file_mapped file_dirty
    file_writeback swapcached anon_thp file_thp shmem_thp inactive_anon active_anon inactive_file
    active_file unevictable slab_reclaimable slab_unreclaimable slab workingset_refault_anon
    workingset_refault_file workingset_activate_anon workingset_activate_file workingset_restore_anon
    workingset_restore_file workingset_nodereclaim pgdemote_kswapd pgdemote_direct pgdemote_khugepaged
    pgdemote_proactive pgpromote_success pgscan pgsteal pswpin pswpout pgscan_kswapd pgscan_direct
    pgscan_khugepaged pgscan_proactive pgsteal_kswapd pgsteal_direct pgsteal_khugepaged pgsteal_proactive
    pgfault pgmajfault pgrefill pgactivate pgdeactivate pglazyfree pglazyfreed swpin_zero swpout_zero
    thp_fault_alloc thp_collapse_alloc thp_swpout thp_swpout_fallback numa_pages_migrated numa_pte_updates
    numa_hint_faults`,
  'v2, 7.2': `
    anon file kernel kernel_stack pagetables sec_pagetables percpu sock vmalloc shmem zswap zswapped
    zswap_incomp file_mapped file_dirty file_writeback swapcached anon_thp file_thp shmem_thp inactive_anon
    active_anon inactive_file active_file unevictable slab_reclaimable slab_unreclaimable slab
    workingset_refault_anon workingset_refault_file workingset_activate_anon workingset_activate_file
    workingset_restore_anon workingset_restore_file workingset_nodereclaim pgdemote_kswapd pgdemote_direct
    pgdemote_khugepaged pgdemote_proactive pgsteal_kswapd pgsteal_direct pgsteal_khugepaged
    pgsteal_proactive pgscan_kswapd pgscan_direct pgscan_khugepaged pgscan_proactive pgrefill
    pgpromote_success pgscan pgsteal pswpin pswpout pgfault pgmajfault pgactivate pgdeactivate pglazyfree
    pglazyfreed swpin_zero swpout_zero zswpin zswpout zswpwb thp_fault_alloc thp_collapse_alloc thp_swpout
    thp_swpout_fallback numa_pages_migrated numa_pte_updates numa_hint_faults`,
  'v1, 5.10': `
    cache rss rss_huge shmem mapped_file dirty writeback swap pgpgin pgpgout pgfault pgmajfault
    inactive_anon active_anon inactive_file active_file unevictable hierarchical_memory_limit
    hierarchical_memsw_limit total_cache total_rss total_rss_huge total_shmem total_mapped_file total_dirty
    total_writeback total_swap total_pgpgin total_pgpgout total_pgfault total_pgmajfault total_inactive_anon
    total_active_anon total_inactive_file total_active_file total_unevictable`,
  'v1, 6.18': `
    cache rss rss_huge shmem mapped_file dirty writeback workingset_refault_anon workingset_refault_file
    swap swapcached pgpgin pgpgout pgfault pgmajfault inactive_anon active_anon inactive_file active_file
    unevictable hierarchical_memory_limit hierarchical_memsw_limit total_cache total_rss total_rss_huge
    total_shmem total_mapped_file total_dirty total_writeback total_workingset_refault_anon
    total_workingset_refault_file total_swap total_swapcached total_pgpgin total_pgpgout total_pgfault
    total_pgmajfault total_inactive_anon total_active_anon total_inactive_file total_active_file
    total_unevictable`,
};

/** A metric of its own, and limits that are not of this group alone. */
const leftOut = new Set(['rss', 'hierarchical_memory_limit', 'hierarchical_memsw_limit']);

for (const [kernel, keys] of Object.entries(keysOfKernels)) {
  test(`every key of memory.stat on ${kernel} is known`, () => {
    const unknown = keys
      .trim()
      .split(/\s+/)
      .filter((key) => !leftOut.has(key) && indexOfStat(key) === -1);
    assert.deepEqual(unknown, []);
  });
}

test('a key stands once in the list, whichever versions have it', () => {
  const keys = STAT_KEYS.map(({ key }) => key);
  assert.deepEqual(keys, [...new Set(keys)]);
});

test('faults are counted in faults, other events in operations, amounts in bytes', () => {
  const unitOf = (key: string) => STAT_KEYS[indexOfStat(key)]?.unit;
  assert.deepEqual(['pgmajfault', 'total_pgfault', 'numa_hint_faults'].map(unitOf), Array(3).fill('{faults}'));
  assert.deepEqual(['pgscan', 'workingset_refault_file', 'zswpout'].map(unitOf), Array(3).fill('{operations}'));
  assert.deepEqual(['anon', 'zswap_incomp', 'total_swapcached'].map(unitOf), Array(3).fill('By'));
  assert.ok(STAT_KEYS.every(({ unit, monotonic }) => monotonic === (unit !== 'By')));
});
