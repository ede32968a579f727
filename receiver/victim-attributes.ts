import type { AnyValueMap } from '@opentelemetry/api-logs';
import type { LimitScope } from './incident.ts';
import type { OomInvocation } from './kernel/oom-dump.ts';
import type { OomVictim } from './kernel/oom-event.ts';

/** Keys of the memory.stat in a report that are told, each under the names that kernels have given it. */
const memoryKeys = {
  'oom.memory.anon': ['anon', 'rss'],
  'oom.memory.file': ['file', 'cache'],
  'oom.memory.shmem': ['shmem'],
  'oom.memory.kernel': ['kernel'],
  'oom.memory.slab': ['slab'],
  'oom.memory.sock': ['sock'],
  'oom.memory.pagetables': ['pagetables'],
} as const;

/** What the kernel log tells of a dead process and of the invocation that chose it. Absent facts are undefined. */
export function attributesOfVictim(victim: OomVictim, scope: LimitScope): AnyValueMap {
  const { invocation } = victim;
  return {
    'oom.memcg': invocation?.oomMemcg,
    'oom.task_memcg': victim.memcg ?? invocation?.taskMemcg,
    'oom.constraint': invocation?.constraint,
    'process.pid': victim.pid,
    'process.executable.name': victim.comm,
    'process.user.id': victim.uid,
    'oom.process.total_vm': victim.totalVmBytes,
    'oom.process.anon_rss': victim.anonRssBytes,
    'oom.process.file_rss': victim.fileRssBytes,
    'oom.process.shmem_rss': victim.shmemRssBytes,
    'oom.process.pgtables': victim.pgtablesBytes,
    'oom.score_adj': victim.oomScoreAdj,
    ...(scope === 'container' && { 'container.memory.usage': invocation?.usageBytes }),
    ...memoryOf(invocation),
    'oom.tasks': invocation?.tasks?.map(({ pid, comm, rssBytes }) => ({ pid, ...(comm && { comm }), rss: rssBytes })),
  };
}

function memoryOf(invocation: OomInvocation | undefined): AnyValueMap {
  const stat = invocation?.memoryStat;
  if (stat === undefined) return {};
  const entries = Object.entries(memoryKeys).map(([name, keys]) => [name, firstOf(stat, keys)]);
  return Object.fromEntries(entries) as AnyValueMap;
}

function firstOf(stat: ReadonlyMap<string, number>, keys: readonly string[]): number | undefined {
  return keys.map((key) => stat.get(key)).find((value) => value !== undefined);
}
