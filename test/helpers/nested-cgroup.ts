import { existsSync } from 'node:fs';
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from './eventually.ts';

/** Whether memory is on cgroup v2, where the kernel tells more of a kill. */
export const onUnifiedHierarchy = existsSync('/sys/fs/cgroup/cgroup.controllers');

/** The folder of a process's memory cgroup, on v1 and v2. */
export async function memoryCgroupOf(pid: number): Promise<string> {
  const lines = (await readFile(`/proc/${pid}/cgroup`, 'utf8')).split('\n');
  const line = lines.find((candidate) =>
    onUnifiedHierarchy ? candidate.startsWith('0::') : candidate.includes(':memory:'),
  );
  if (line === undefined) throw new Error(`process ${pid} is in no memory cgroup`);
  return join(onUnifiedHierarchy ? '/sys/fs/cgroup' : '/sys/fs/cgroup/memory', line.slice(line.lastIndexOf(':') + 1));
}

/** A memory cgroup inside a container's, as a service manager or a sandbox in the container would make it. */
export interface NestedCgroup {
  folder: string;
  /** Moves a process of the container into it. */
  add(pid: number): Promise<void>;
  remove(): Promise<void>;
}

/** Makes one with a limit of its own. */
export async function makeNestedCgroup(container: string, limitBytes: number): Promise<NestedCgroup> {
  if (onUnifiedHierarchy) await delegateMemory(container);
  const folder = join(container, 'nested');
  await mkdir(folder);
  await writeFile(join(folder, onUnifiedHierarchy ? 'memory.max' : 'memory.limit_in_bytes'), String(limitBytes));
  return {
    folder,
    add: (pid) => writeFile(join(folder, 'cgroup.procs'), String(pid)),
    remove: async () => {
      await eventually('the nested cgroup is empty', async () => {
        await rmdir(folder);
        return true;
      });
    },
  };
}

/** On v2 a group gives controllers to groups below it only when it holds no process itself. */
async function delegateMemory(container: string): Promise<void> {
  const own = join(container, 'own');
  await mkdir(own);
  const pids = (await readFile(join(container, 'cgroup.procs'), 'utf8')).trim().split('\n');
  for (const pid of pids) await writeFile(join(own, 'cgroup.procs'), pid);
  await writeFile(join(container, 'cgroup.subtree_control'), '+memory');
}

/** Bytes charged to a memory cgroup, by the kernel. */
export async function usageBytesOf(folder: string): Promise<number> {
  return Number(await readFile(join(folder, onUnifiedHierarchy ? 'memory.current' : 'memory.usage_in_bytes'), 'utf8'));
}
