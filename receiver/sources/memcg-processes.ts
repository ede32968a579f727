import { readProcesses, type ProcessList } from '../cgroup/process-list.ts';
import { isInOwnPidNamespace, ProcessScan } from '../cgroup/process-scan.ts';
import type { CgroupNode } from '../cgroup/tree.ts';
import { findMainProcess } from '../main-process.ts';
import type { Emit } from '../observation.ts';
import { printable, type OnBadInput } from './bad-input.ts';
import type { ContainerGroup } from './memcg-group.ts';

/** When a new group is looked at for its main process, each look after the one before. */
const looksForMainAfterMs = [10, 30, 100];

/** A group can stay empty, and a container that shares the host's PID namespace has no main process that could be found. */
const looksForMainDuringMs = 30_000;

/** Where kills follow each other, the processes of a group are told no more often than this. */
const tellsEveryMs = 100;

/** More processes of one container are not told, and no more groups in it are read: it can make as many as it likes. */
const mostProcesses = 1_000;
const mostGroups = 100;

/** What was seen in one container's group. */
interface Sighting {
  toldAtMs: number;
  /** Host pid of its main process, once that was seen. */
  mainPid?: number;
  /** It is looked for until then, by the monotonic clock. */
  looksForMainUntilMs: number;
}

/**
 * The processes of containers, told while they live: of those that the kernel kills without a report it names the pid
 * alone.
 */
export class ProcessSightings {
  readonly #hostRoot: string;
  /** Where cgroup.procs does not list the node's processes. */
  readonly #scan: ProcessScan | undefined;
  readonly #emit: Emit;
  readonly #onBadInput: OnBadInput;
  readonly #sightings = new Map<ContainerGroup, Sighting>();
  /** Groups in which no main process was seen yet. */
  readonly #withoutMain = new Set<ContainerGroup>();
  #timer: NodeJS.Timeout | undefined;

  constructor(hostRoot: string, emit: Emit, onBadInput: OnBadInput) {
    this.#hostRoot = hostRoot;
    this.#scan = isInOwnPidNamespace(hostRoot) ? new ProcessScan(hostRoot) : undefined;
    this.#emit = emit;
    this.#onBadInput = onBadInput;
  }

  add(group: ContainerGroup): void {
    this.#sightings.set(group, { toldAtMs: 0, looksForMainUntilMs: performance.now() + looksForMainDuringMs });
    this.#withoutMain.add(group);
  }

  remove(group: ContainerGroup): void {
    this.#sightings.delete(group);
    this.#withoutMain.delete(group);
  }

  /** Looks at the groups in which no main process was seen yet. */
  lookForMain(): void {
    for (const group of this.#withoutMain) this.tell(group);
  }

  /** A group was just made. Its first process follows at once, and can be killed before anybody looks again. */
  lookForMainSoon(look = 0): void {
    const delayMs = looksForMainAfterMs[look];
    if (delayMs === undefined || (look === 0 && this.#timer !== undefined)) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.lookForMain();
      this.lookForMainSoon(look + 1);
    }, delayMs);
  }

  /** Tells who lives in a group, unless that was told a moment ago. */
  tell(group: ContainerGroup): void {
    const sighting = this.#sightings.get(group);
    const atMs = Date.now();
    if (sighting === undefined || Math.abs(atMs - sighting.toldAtMs) < tellsEveryMs) return;
    const { pids, isCut } = this.#scan?.processesOf(group.containerId, mostProcesses) ?? listProcesses(group.node);
    if (isCut) this.#onBadInput('more processes in a container than are looked at', printable(group.node.path));
    if (pids.length > 0) sighting.mainPid ??= findMainProcess(this.#hostRoot, pids);
    const { mainPid } = sighting;
    if (mainPid !== undefined || performance.now() > sighting.looksForMainUntilMs) this.#withoutMain.delete(group);
    if (pids.length === 0) return;
    sighting.toldAtMs = atMs;
    this.#emit({ kind: 'processes_seen', containerId: group.containerId, atMs, pids, mainPid });
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sightings.clear();
    this.#withoutMain.clear();
  }
}

/** Those in a group and in the groups below it that are no containers of their own: crun makes one for the container's. */
function listProcesses(group: CgroupNode): ProcessList {
  const all: ProcessList = { pids: [], isCut: false };
  let groups = 0;
  for (const { dir } of withGroupsBelow(group)) {
    if (groups++ === mostGroups) return { ...all, isCut: true };
    const { pids, isCut } = readProcesses(dir, mostProcesses - all.pids.length);
    all.pids.push(...pids);
    if (isCut) return { ...all, isCut };
  }
  return all;
}

function* withGroupsBelow(node: CgroupNode): Generator<CgroupNode> {
  yield node;
  for (const child of node.children.values()) if (child.identity === undefined) yield* withGroupsBelow(child);
}
