import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { untilReady } from '../helpers/docker-host.ts';
import { eventually } from '../helpers/eventually.ts';
import { MemoryGroup } from '../helpers/memory-group.ts';
import { onUnifiedHierarchy, usageBytesOf } from '../helpers/nested-cgroup.ts';
import { memhog } from './memhog.ts';

export const mib = 2 ** 20;

interface ContainerOptions {
  /** Default 32 MiB; undefined for none. */
  limitBytes?: number;
  /** Default: a pod of its own, without a limit. */
  pod?: MemoryGroup;
  /** memory.oom.group (v2). */
  oomGroup?: boolean;
}

/** A process of ours in a group. */
export class Hog {
  /** On this machine. */
  readonly pid: number;
  /** Ends when it does, with the same signal. */
  readonly #child: ChildProcess;

  constructor(pid: number, child: ChildProcess) {
    this.pid = pid;
    this.#child = child;
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** What the kernel adds to its badness: 1000 is the first to be killed, -1000 never is. */
  adjustBadness(adjustment: number): void {
    writeFileSync(`/proc/${this.pid}/oom_score_adj`, String(adjustment));
  }

  async ended(): Promise<void> {
    if (this.#child.signalCode === null && this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}

/** Memory cgroups as a kubelet lays them out, below a group of our own, as in a node that runs in a container. */
export class KubernetesNode {
  readonly root: MemoryGroup;
  readonly kubepods: MemoryGroup;
  readonly #burstable: MemoryGroup;
  readonly #programs = mkdtempSync(join(tmpdir(), 'exit137-matrix-'));
  readonly #processes: ChildProcess[] = [];
  /** Those that are no more. */
  readonly #ended = new Set<ChildProcess>();

  constructor(name: string) {
    this.root = MemoryGroup.make(name);
    this.kubepods = this.root.make('kubepods', { delegate: true });
    this.#burstable = this.kubepods.make('burstable', { delegate: true });
  }

  pod(limitBytes?: number): MemoryGroup {
    return this.#burstable.make(`pod${randomUUID()}`, { limitBytes, delegate: true });
  }

  container({ pod = this.pod(), oomGroup = false, ...limits }: ContainerOptions = {}): ContainerGroup {
    const id = randomBytes(32).toString('hex');
    const limitBytes = 'limitBytes' in limits ? limits.limitBytes : 32 * mib;
    const group = pod.make(id, { limitBytes });
    if (oomGroup) group.write('memory.oom.group', '1');
    return new ContainerGroup(this, id, group);
  }

  /** Starts memhog in a group, or another program; test/runtimes/memhog.c tells its modes. */
  start(group: MemoryGroup, args: string[], program = memhog()): Hog {
    const child = this.#spawn(group, [], [program, ...args]);
    return new Hog(child.pid!, child);
  }

  /** The same as the first process of a namespace, as a container's main process is; resolves when it takes signals. */
  async startFirst(group: MemoryGroup, args: string[], program = memhog()): Promise<Hog> {
    const parent = this.#spawn(group, ['unshare', '--pid', '--fork', '--kill-child'], [program, ...args]);
    const pid = await eventually('the process is there', () => childOf(parent.pid!));
    await untilReady(pid);
    return new Hog(pid, parent);
  }

  /** memhog under another name: a process bears that of its file, up to 15 bytes. */
  memhogNamed(comm: string): string {
    const program = join(this.#programs, comm);
    symlinkSync(memhog(), program);
    return program;
  }

  #spawn(group: MemoryGroup, through: string[], command: string[]): ChildProcess {
    const script = 'echo 0 > "$0" && exec "$@"';
    const [program, ...args] = [...through, 'sh', '-c', script, join(group.folder, 'cgroup.procs'), ...command];
    const child = spawn(program!, args, { stdio: 'ignore' });
    this.#processes.push(child);
    child.once('exit', () => this.#ended.add(child));
    return child;
  }

  /** Ends the processes and takes the groups away. */
  async remove(): Promise<void> {
    for (const child of this.#processes) {
      if (this.#ended.has(child)) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    rmSync(this.#programs, { recursive: true });
    // Children of theirs can outlive them.
    await eventually(`the groups below ${this.root.memcg} are gone`, async () => {
      await this.root.remove();
      return true;
    });
  }
}

/** The group of a container, in which nothing runs yet. */
export class ContainerGroup {
  readonly id: string;
  readonly group: MemoryGroup;
  readonly #node: KubernetesNode;

  constructor(node: KubernetesNode, id: string, group: MemoryGroup) {
    this.#node = node;
    this.id = id;
    this.group = group;
  }

  /** Starts its main process; resolves when that takes signals. */
  main(...args: string[]): Promise<Hog> {
    return this.#node.startFirst(this.group, args);
  }

  /** The same under a name of up to 15 bytes, which its children inherit. */
  mainNamed(comm: string, ...args: string[]): Promise<Hog> {
    return this.#node.startFirst(this.group, args, this.#node.memhogNamed(comm));
  }

  /** Starts another of its processes; resolves when that takes signals. */
  async more(...args: string[]): Promise<Hog> {
    const hog = this.#node.start(this.group, args);
    await untilReady(hog.pid);
    return hog;
  }

  /** Resolves when the kernel has counted so many kills in the group. */
  async untilCounted(kills: number, seconds = 10): Promise<void> {
    const counted = () => this.group.oomKills >= kills || undefined;
    await eventually(`${kills} kills are counted in ${this.group.memcg}`, counted, seconds);
  }

  /** Resolves when it has so many processes. */
  async untilRuns(processes: number): Promise<void> {
    const runs = () => this.group.processes === processes || undefined;
    await eventually(`${processes} processes are in ${this.group.memcg}`, runs);
  }

  /** Resolves when so much is charged to the group. */
  async untilHolds(bytes: number): Promise<void> {
    const holds = async () => (await usageBytesOf(this.group.folder)) >= bytes || undefined;
    await eventually(`${bytes} bytes are in use in ${this.group.memcg}`, holds);
  }

  /** On v2 a group whose groups have controllers must hold no process itself: makes one for what it is to hold. */
  ownProcesses(): MemoryGroup {
    if (!onUnifiedHierarchy) return this.group;
    this.group.write('cgroup.subtree_control', '+memory');
    return this.group.make('init.scope');
  }
}

function childOf(pid: number): number | undefined {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
  return Number(text.split(' ', 1)[0]) || undefined;
}
