import { setTimeout as sleep } from 'node:timers/promises';
import type { PodDirectory, PodInstance, PodReport } from '../../pipelines/component.ts';
import type { Container, ContainerTable } from '../container-table.ts';
import type { ContainerSeen, Emit, RuntimeName } from '../observation.ts';
import { runSubscription, type Source } from '../source.ts';
import { printable, type OnBadInput } from './bad-input.ts';
import { boundFacts, isContainerId } from './container-facts.ts';
import { isDaemonTime } from './daemon-time.ts';

/** How the `pods` source is set up. */
export interface PodsSourceOptions {
  pods: PodDirectory;
  /** The containers whose groups are known. */
  table: Pick<ContainerTable, 'all' | 'get'>;
  /** A container that ended longer ago than this when it is first seen is nothing to us. */
  graceMs: number;
  /** How long the pods may take to be known before this counts as a source that does not work. Default: 5 s. */
  knownWithinMs?: number;
  /** The present time in milliseconds since the epoch. */
  clock?: () => number;
  onBadInput: OnBadInput;
}

/** How often it is looked which of a pod's groups is the sandbox's. */
const sandboxCheckMs = 1_000;

/** The kubelet has told of a container by then: it tells within seconds. */
const toldWithinMs = 30_000;

/**
 * The `pods` source: where no runtime is asked, the lifecycle of containers as their pods' statuses have it. What the
 * kubelet tells the API comes some seconds late, and of each container the last two instances are in it.
 */
export class PodsSource implements Source {
  readonly name = 'pods';
  readonly #options: PodsSourceOptions;
  readonly #clock: () => number;

  constructor(options: PodsSourceOptions) {
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
  }

  async observe(emit: Emit, up: () => void, signal: AbortSignal): Promise<void> {
    await runSubscription(signal, async (ended) => {
      const { pods, knownWithinMs = 5_000 } = this.#options;
      const known = pods.follow((pod) => this.#tell(pod, emit), ended).then(() => true);
      const isKnown = await Promise.race([known, sleep(knownWithinMs, false, { signal: ended })]);
      if (!isKnown) throw new Error("nobody tells of the node's pods: see k8s_attributes");
      up();
      while (!ended.aborted) {
        this.#tellSandboxes(emit);
        await sleep(sandboxCheckMs, undefined, { signal: ended });
      }
    });
  }

  #tell(pod: PodReport, emit: Emit): void {
    const { table, graceMs } = this.#options;
    const atMs = this.#clock();
    for (const instance of pod.instances) {
      const seen = this.#decode(pod, instance, atMs);
      if (seen === undefined) continue;
      const isNews =
        seen.running || table.get(seen.containerId) !== undefined || (seen.finishedAtMs ?? 0) > atMs - graceMs;
      if (isNews) emit(seen);
    }
  }

  #decode({ uid, namespace, name }: PodReport, instance: PodInstance, atMs: number): ContainerSeen | undefined {
    const { onBadInput } = this.#options;
    const { scheme, containerId = '' } =
      /^(?<scheme>[a-z-]+):\/\/(?<containerId>.*)$/.exec(instance.containerId)?.groups ?? {};
    if (!isContainerId(containerId)) {
      onBadInput('status of a container has no id of 64 hex digits', printable(instance.containerId));
      return undefined;
    }
    const { restartCount, running, startedAtMs, finishedAtMs, exitCode, image } = instance;
    const endedAtMs = timeOf(finishedAtMs);
    return {
      kind: 'container_seen',
      containerId,
      runtime: runtimes.find((runtime) => runtime === scheme),
      image: boundFacts({ image }, onBadInput).image,
      pod: { uid, namespace, name, containerName: instance.name, restartCount },
      sandbox: false,
      atMs,
      running,
      paused: false,
      // One whose start failed never ran.
      startedAtMs: timeOf(startedAtMs) ?? endedAtMs,
      finishedAtMs: endedAtMs,
      exitCode,
    };
  }

  /** A pod's status does not tell of its sandbox, the one group which is none of its containers'. */
  #tellSandboxes(emit: Emit): void {
    const atMs = this.#clock();
    const groups = [...this.#options.table.all()].filter(({ memcg }) => memcg !== undefined);
    const withSandbox = new Set(groups.map(({ pod, sandbox }) => (sandbox === true ? pod?.uid : undefined)));
    for (const container of groups) {
      const { id, pod } = container;
      if (pod === undefined || pod.containerName !== undefined || withSandbox.has(pod.uid)) continue;
      const report = this.#options.pods.get(pod.uid);
      if (report === undefined || !this.#isSandbox(container, report, atMs)) continue;
      const { uid, namespace, name } = report;
      const facts = { pod: { uid, namespace, name }, sandbox: true, running: false, paused: false };
      withSandbox.add(uid);
      emit({ kind: 'container_seen', containerId: id, atMs, ...facts });
    }
  }

  /**
   * The status may be behind: as long as a container of it is to be started, or one that it says runs has no group any
   * more, a group that is new can be the next instance's.
   */
  #isSandbox({ firstSeenAtMs }: Container, { instances, isWaiting }: PodReport, atMs: number): boolean {
    const { table } = this.#options;
    const running = instances.filter((instance) => instance.running);
    const isThere = ({ containerId }: PodInstance): boolean =>
      table.get(containerId.slice(containerId.indexOf('://') + 3))?.memcg !== undefined;
    if (!running.every(isThere)) return false;
    return (running.length > 0 && !isWaiting) || atMs - firstSeenAtMs > toldWithinMs;
  }
}

const runtimes: readonly RuntimeName[] = ['containerd', 'cri-o', 'docker'];

function timeOf(atMs: number | undefined): number | undefined {
  return atMs !== undefined && isDaemonTime(atMs) ? atMs : undefined;
}
