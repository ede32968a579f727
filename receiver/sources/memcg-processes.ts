import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CgroupNode } from '../cgroup/tree.ts';
import { findMainProcess } from '../main-process.ts';
import type { Emit } from '../observation.ts';
import type { ContainerGroup } from './memcg-group.ts';

/** When a new group is looked at for its main process, each look after the one before. */
const looksForMainAfterMs = [10, 30, 100];

/** A group can stay empty, and a container that shares the host's PID namespace has no main process that could be found. */
const mostLooksForMain = 12;

/** Where kills follow each other, the processes of a group are told no more often than this. */
const tellsEveryMs = 100;

/** What was seen in one container's group. */
interface Sighting {
  toldAtMs: number;
  /** Host pid of its main process, once that was seen. */
  mainPid?: number;
  /** So often it is still looked for. */
  looksForMain: number;
}

/**
 * The processes of containers, told while they live: of those that the kernel kills without a report it names the pid
 * alone.
 */
export class ProcessSightings {
  readonly #hostRoot: string;
  readonly #emit: Emit;
  readonly #sightings = new Map<ContainerGroup, Sighting>();
  /** Groups in which no main process was seen yet. */
  readonly #withoutMain = new Set<ContainerGroup>();
  #timer: NodeJS.Timeout | undefined;

  constructor(hostRoot: string, emit: Emit) {
    this.#hostRoot = hostRoot;
    this.#emit = emit;
  }

  add(group: ContainerGroup): void {
    this.#sightings.set(group, { toldAtMs: 0, looksForMain: mostLooksForMain });
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
    const pids = [...listPids(group.node)];
    if (pids.length > 0) sighting.mainPid ??= this.#findMain(group.node);
    const { mainPid } = sighting;
    if (mainPid !== undefined || --sighting.looksForMain <= 0) this.#withoutMain.delete(group);
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

  #findMain(node: CgroupNode): number | undefined {
    // crun puts the processes of a container into a group of their own below it.
    const dirs = [node, ...node.children.values()].map(({ dir }) => dir);
    for (const dir of dirs) {
      const pid = findMainProcess(this.#hostRoot, dir);
      if (pid !== undefined) return pid;
    }
    return undefined;
  }
}

/** Host pids in a group and in those below it that are no containers of their own; none where it is gone. */
function* listPids({ dir, children }: CgroupNode): Generator<number> {
  let text = '';
  try {
    text = readFileSync(join(dir, 'cgroup.procs'), 'latin1');
  } catch {
    // Gone.
  }
  for (const pid of text.split('\n')) if (Number(pid) > 0) yield Number(pid);
  for (const child of children.values()) if (child.identity === undefined) yield* listPids(child);
}
