import type { Logger, StateFile, Storage } from '../pipelines/component.ts';
import { describeError } from '../pipelines/errors.ts';
import { identifyMemcg } from './cgroup/identity.ts';
import { readMemcgOf } from './cgroup/process-memcg.ts';
import type { Container, ContainerTable } from './container-table.ts';
import { readClock } from './instant.ts';
import type { Correlator } from './correlator.ts';
import type { RuntimeName } from './observation.ts';
import type { ContainerdSource } from './sources/containerd.ts';
import type { CriSource } from './sources/cri.ts';
import type { DockerSource } from './sources/docker.ts';
import type { KernelLogSource } from './sources/kernel-log.ts';
import type { MemcgSource } from './sources/memcg.ts';
import { decodeState, restore, stateOf, type ContainerState, type NodeState, type State } from './state.ts';
import { StateKeeper } from './state-keeper.ts';

/** What of the receiver has something to remember. */
export interface Rememberers {
  table: ContainerTable;
  correlator: Correlator;
  memcg?: MemcgSource;
  kernelLog?: KernelLogSource;
  docker?: DockerSource;
  containerd?: ContainerdSource;
  cri?: CriSource;
}

/** Where and when the receiver runs. */
export interface Circumstances {
  hostRoot: string;
  /** Of this boot; absent where it cannot be read. */
  bootId?: string;
  /** Begin of the count of unattributed kills. */
  countedSinceMs: number;
}

/**
 * Goes on where an earlier run ended, and keeps the state from now on; without a storage, or where that cannot be used,
 * it is in memory only, which is told. Whatever an earlier run has left, this does not throw.
 */
export function keepState(
  storage: Storage | undefined,
  parts: Rememberers,
  where: Circumstances,
  logger: Logger,
): StateKeeper | undefined {
  if (storage === undefined) {
    logger.info('state is in memory only: what happens while exit137 is not running is missed, counters start anew');
    return undefined;
  }
  let file: StateFile;
  try {
    file = storage.open('state');
  } catch (error) {
    logger.warn('the state cannot be kept; it is in memory only', { error: describeError(error) });
    return undefined;
  }
  readState(file, parts, where, logger);
  const { table, memcg, correlator } = parts;
  const owner = {
    table,
    node: () => nodeStateOf(parts, where),
    of: (container: Container) => containerStateOf(parts, container),
  };
  const keeper = new StateKeeper(file, owner, logger);
  correlator.lost.onGive((container) => keeper.changed(container));
  memcg?.onDiscount((containerId) => {
    const container = table.get(containerId);
    if (container !== undefined) keeper.changed(container);
  });
  return keeper;
}

/** A file that cannot be used is moved aside. */
function readState(file: StateFile, parts: Rememberers, where: Circumstances, logger: Logger): void {
  const { kept, path } = file;
  if (kept === undefined) return;
  try {
    const state = decodeState(kept);
    resume(state, parts, where);
    where.countedSinceMs = state.node.countedSinceMs;
    logger.info('goes on where an earlier run ended', { containers: state.containers.size, path });
    tellUnkept(state, logger);
  } catch (error) {
    logger.warn('the state of an earlier run cannot be used', { error: describeError(error), ...setAside(file) });
  }
}

function tellUnkept({ containers }: State, logger: Logger): void {
  const cases = Array.from(containers.values()).flatMap((container) => container.cases);
  const victims = cases.reduce((sum, { namedUnkept = 0 }) => sum + namedUnkept, 0);
  if (victims === 0) return;
  logger.warn('victims found no room in the state of an earlier run: the counters alone tell of them', { victims });
}

function setAside(file: StateFile): { moved_to: string } | { not_moved: string } {
  try {
    return { moved_to: file.setAside() };
  } catch (error) {
    return { not_moved: describeError(error) };
  }
}

/** The state of the node at this moment, but for its containers. */
function nodeStateOf(
  { correlator, memcg, kernelLog, docker, cri }: Rememberers,
  { bootId, countedSinceMs }: Circumstances,
): NodeState {
  const { open, ...ledger } = correlator.ledger.state;
  return {
    bootId,
    log: kernelLog?.position(),
    countersTold: kernelLog && [...kernelLog.countersTold],
    eventsSinceMs: docker?.resumesAtMs,
    polledAtMs: cri?.polledAtMs,
    knowsAllGroups: memcg?.knowsAll === true,
    ledger: { ...ledger, open: [...open] },
    countedSinceMs,
    strays: correlator.cases.strays,
    slices: memcg?.slices && [...memcg.slices],
    lost: correlator.lost.state,
  };
}

/** The state of one container at this moment. */
function containerStateOf({ correlator, memcg }: Rememberers, container: Container): ContainerState {
  return stateOf(container, memcg?.groupsOf(container.id) ?? [], correlator.cases.of(container));
}

/**
 * Goes on where an earlier run ended, before anything is observed. After a start of the machine the kernel's counters
 * and its log have begun anew: all that they tell is to be told.
 */
function resume({ node, containers }: State, parts: Rememberers, { bootId, hostRoot }: Circumstances): void {
  const { table, correlator, memcg, kernelLog, docker, containerd, cri } = parts;
  const now = readClock();
  const isSameBoot = bootId !== undefined && node.bootId === bootId;
  for (const state of containers.values()) {
    const { container, cases } = restore(state, isSameBoot, now.wallMs);
    dropForeignPid(container, hostRoot);
    table.restore(container);
    correlator.cases.resume(container, cases, now);
    for (const { memcg: path } of state.groups.slice(0, 1))
      correlator.lost.learn({ containerId: container.id, memcg: path });
  }
  for (const container of table.all()) correlator.crashLoops.resume(container, now);
  correlator.cases.resumeStrays(node.strays, now);
  if (node.lost !== undefined) correlator.lost.resume(node.lost, now);
  const hasBooted = bootId !== undefined && node.bootId !== undefined && !isSameBoot;
  const total = hasBooted ? 0 : node.ledger.total;
  correlator.ledger.resume(
    isSameBoot || hasBooted ? { ...node.ledger, total } : { ...node.ledger, total: undefined },
    now,
  );
  if (node.knowsAllGroups && (isSameBoot || hasBooted)) {
    const known = new Map(isSameBoot ? Array.from(containers, ([id, { groups }]) => [id, groups]) : []);
    memcg?.resume(known, isSameBoot ? node.slices : []);
  }
  if (node.log !== undefined) kernelLog?.resume(node.log, isSameBoot ? node.countersTold : []);
  if (node.eventsSinceMs !== undefined) docker?.resume(node.eventsSinceMs, livesOf(table, ['docker', 'podman']));
  containerd?.resume(livesOf(table, ['containerd']));
  if (node.polledAtMs !== undefined) cri?.resume(node.polledAtMs, containersOfPods(table));
}

/** The pid of a process that has ended can be another's by now, which lives on. */
function dropForeignPid({ id, life }: Container, hostRoot: string): void {
  if (life?.pid === undefined) return;
  const memcg = readMemcgOf(hostRoot, life.pid);
  if (memcg !== undefined && identifyMemcg(memcg).containerId !== id) life.pid = undefined;
}

/** What a runtime takes for gone that it does not list: each must be asked for its own alone. */
function* livesOf(
  table: ContainerTable,
  runtimes: readonly RuntimeName[],
): Generator<{ id: string; pid?: number; startedAtMs?: number; endedAtMs?: number }> {
  for (const { id, runtime, life } of table.all()) {
    if (life === undefined || runtime === undefined || !runtimes.includes(runtime)) continue;
    yield { id, pid: life.pid, startedAtMs: life.startedAtMs, endedAtMs: life.endedAtMs };
  }
}

/** Those that a kubelet had made and that the CRI lists until they are removed. */
function* containersOfPods(table: ContainerTable): Generator<{ id: string; runtime: RuntimeName }> {
  for (const { id, runtime, pod } of table.all()) if (pod !== undefined && runtime !== undefined) yield { id, runtime };
}
