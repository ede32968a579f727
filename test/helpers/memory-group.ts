import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { onUnifiedHierarchy } from './nested-cgroup.ts';

const root = onUnifiedHierarchy ? '/sys/fs/cgroup' : '/sys/fs/cgroup/memory';

/** A process that takes memory until it is killed. */
const hog = 'tail /dev/zero';

/** A real memory cgroup of this machine, v1 or v2, in which real processes are killed. */
export class MemoryGroup {
  readonly folder: string;
  /** As the memcg source names it. */
  readonly memcg: string;

  constructor(folder: string) {
    this.folder = folder;
    this.memcg = folder.slice(root.length);
  }

  /** Makes a group directly below the root, to hold those of a test. */
  static make(name: string): MemoryGroup {
    if (onUnifiedHierarchy) writeFileSync(join(root, 'cgroup.subtree_control'), '+memory');
    const group = new MemoryGroup(join(root, name));
    mkdirSync(group.folder);
    if (onUnifiedHierarchy) group.write('cgroup.subtree_control', '+memory');
    return group;
  }

  /** Makes a group in this one; `delegate` lets it have groups with a memory controller of their own on v2. */
  make(name: string, { limitBytes, delegate = false }: { limitBytes?: number; delegate?: boolean } = {}): MemoryGroup {
    const group = new MemoryGroup(join(this.folder, name));
    mkdirSync(group.folder);
    if (limitBytes !== undefined) group.limit(limitBytes);
    if (delegate && onUnifiedHierarchy) group.write('cgroup.subtree_control', '+memory');
    return group;
  }

  limit(bytes: number): void {
    this.write(onUnifiedHierarchy ? 'memory.max' : 'memory.limit_in_bytes', String(bytes));
  }

  write(file: string, text: string): void {
    writeFileSync(join(this.folder, file), text);
  }

  /** The kernel's own count of kills. */
  get oomKills(): number {
    const text = readFileSync(join(this.folder, onUnifiedHierarchy ? 'memory.events' : 'memory.oom_control'), 'latin1');
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1]);
  }

  /** How many processes are in it itself. */
  get processes(): number {
    return readFileSync(join(this.folder, 'cgroup.procs'), 'latin1').split('\n').length - 1;
  }

  /** Whether the kernel keeps the highest usage: v1 does, v2 since 5.19. */
  get hasPeak(): boolean {
    return existsSync(join(this.folder, onUnifiedHierarchy ? 'memory.peak' : 'memory.max_usage_in_bytes'));
  }

  /** Runs a shell command in the group. Resolves when it has ended, with the signal that ended it. */
  async run(command: string): Promise<NodeJS.Signals | null> {
    const [, signal] = (await once(spawn('sh', this.#into(command), { stdio: 'ignore' }), 'exit')) as [
      number | null,
      NodeJS.Signals | null,
    ];
    return signal;
  }

  /** Has a process of the group killed by its limit; the event loop goes on meanwhile. */
  kill(): Promise<NodeJS.Signals | null> {
    return this.run(`exec ${hog}`);
  }

  /** The same before anything of this process sees it. */
  killSync(): NodeJS.Signals | null {
    return this.runSync(`exec ${hog}`);
  }

  runSync(command: string): NodeJS.Signals | null {
    return spawnSync('sh', this.#into(command), { stdio: 'ignore' }).signal;
  }

  /** Takes the group away as soon as it is empty, those in it first. */
  async remove(): Promise<void> {
    for (const entry of readdirSync(this.folder, { withFileTypes: true })) {
      if (entry.isDirectory()) await new MemoryGroup(join(this.folder, entry.name)).remove();
    }
    await eventually(`the group ${this.memcg} is empty`, () => {
      try {
        this.removeSync();
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EBUSY') return undefined;
        throw error;
      }
    });
  }

  removeSync(): void {
    rmdirSync(this.folder);
  }

  #into(command: string): string[] {
    return ['-c', `echo $$ > "$0" && { ${command}; }`, join(this.folder, 'cgroup.procs')];
  }
}
