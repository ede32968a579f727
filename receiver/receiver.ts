import { uptime } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import {
  aborted,
  countPoints,
  type Component,
  type ComponentSettings,
  type Consumers,
  type ReceiverFactory,
} from '../pipelines/component.ts';
import { describeError, PermanentError } from '../pipelines/errors.ts';
import { exitCodeOfSigkill } from './case.ts';
import { configSchema, type Config } from './config.ts';
import { ContainerTable, type Container } from './container-table.ts';
import { Correlator } from './correlator.ts';
import { tellDetectionTier, type WorkingSources } from './detection-tier.ts';
import type { Incident } from './incident.ts';
import { readBootId } from './kernel/boot-id.ts';
import { probe } from './doctor.ts';
import { readClock, type Instant } from './instant.ts';
import { namesComeWithinMs } from './lost-kills.ts';
import { MainProcessWatch } from './main-process.ts';
import type { OomVictim } from './kernel/oom-event.ts';
import type { Observation } from './observation.ts';
import { readHost, Resources } from './resources.ts';
import { keepState, type Circumstances, type Rememberers } from './resumption.ts';
import type { StateKeeper } from './state-keeper.ts';
import { keepObserving, type Source } from './source.ts';
import { ContainerdSource } from './sources/containerd.ts';
import { CriSource } from './sources/cri.ts';
import { DockerSource } from './sources/docker.ts';
import { KernelLogTelemetry } from './sources/kernel-log-telemetry.ts';
import { KernelLogSource } from './sources/kernel-log.ts';
import { MemcgSource } from './sources/memcg.ts';
import { PodsSource } from './sources/pods.ts';
import { Telemetry } from './telemetry.ts';
import { LogsBuilder } from './to-logs.ts';
import { MetricsBuilder } from './to-metrics.ts';
import { hasWorkloadOfPod } from './workload-table.ts';
import { countIncidents } from './workload.ts';

/** `container_lifecycle`: deaths, restarts and memory of the containers of this node. */
export const containerLifecycle: ReceiverFactory<Config> = {
  type: 'container_lifecycle',
  configSchema,
  storageKey: ['storage'],
  probe,
  create: (config, settings, next) => new ContainerLifecycle(config, settings, next),
};

/** The first metrics are sent when every source works or has failed once, but no later than this after the start. */
const firstCollectionWithinMs = 500;

/** Sources that tell of containers' main processes. */
const runtimes = ['docker', 'containerd', 'cri', 'pods'];

/** Pieces of data that the pipelines have neither taken nor refused: they may wait for a destination. */
const mostHandedOn = 1_000;

/** The counters of a pod's container wait no longer than this for its name, which is a part of their identity. */
const namedWithinMs = 10_000;

/** Judging that failed is tried again no sooner than this: what it failed at may still be there. */
const settlesAgainAfterMs = 1_000;

/** Runs the sources, settles incidents and hands telemetry on. */
class ContainerLifecycle implements Component {
  readonly #config: Config;
  readonly #settings: ComponentSettings;
  readonly #next: Consumers;
  readonly #table: ContainerTable;
  readonly #correlator: Correlator;
  readonly #telemetry: Telemetry;
  readonly #toLogs: LogsBuilder;
  readonly #toMetrics: MetricsBuilder;
  readonly #memcg: MemcgSource | undefined;
  readonly #kernelLog: KernelLogSource | undefined;
  readonly #cri: CriSource | undefined;
  readonly #sources: readonly Source[];
  /** Sources that have neither worked nor failed yet. */
  readonly #undecided: Set<string>;
  readonly #stopping = new AbortController();
  readonly #circumstances: Circumstances;
  readonly #rememberers: Rememberers;
  readonly #bootedAtMs = Date.now() - uptime() * 1000;
  readonly #mainProcesses: MainProcessWatch;
  /** Absent where the state is held in memory only. */
  #keeper: StateKeeper | undefined;
  #collectTimer: NodeJS.Timeout | undefined;
  #settleTimer: NodeJS.Timeout | undefined;
  /** When something is to be settled, by the monotonic clock, as it was found last. */
  #dueAtMs = Infinity;
  readonly #observing: Promise<void>[] = [];
  /** What was handed on and is not yet taken. */
  readonly #handingOn = new Set<Promise<boolean>>();

  constructor(config: Config, settings: ComponentSettings, next: Consumers) {
    this.#config = config;
    this.#settings = settings;
    this.#next = next;
    this.#table = new ContainerTable(config.max_containers);
    const witnesses = {
      isRuntimeUp: () => this.#isRuntimeUp(),
      isKernelLogUp: () => this.#mayTell('kernel_log'),
      isBeginning: () => this.#undecided.size > 0,
    };
    const { restarts, window: windowMs } = config.crash_loop;
    this.#correlator = new Correlator(this.#table, config.settle_time, witnesses, { restarts, windowMs });
    this.#telemetry = new Telemetry(settings, this.#table);
    this.#mainProcesses = new MainProcessWatch(config.root_path, (containerId, alive, atMs, pid) =>
      this.#take('proc', { kind: 'main_process_seen', containerId, pid, atMs, alive }),
    );
    const resources = new Resources(
      config,
      readHost(config.root_path, config.node_name || process.env['K8S_NODE_NAME']),
    );
    this.#toLogs = new LogsBuilder(resources, settings.version);
    this.#toMetrics = new MetricsBuilder(config, resources, settings.version);
    this.#memcg = config.sources.memcg.enabled ? makeMemcgSource(config, this.#telemetry) : undefined;
    const docker = config.sources.docker.enabled ? makeDockerSource(config, this.#telemetry) : undefined;
    const containerd = config.sources.containerd.enabled ? makeContainerdSource(config, this.#telemetry) : undefined;
    this.#cri = config.sources.cri.enabled ? this.#makeCriSource(containerd) : undefined;
    const pods =
      docker === undefined && containerd === undefined && this.#cri === undefined ? this.#makePodsSource() : undefined;
    const logTelemetry = new KernelLogTelemetry(settings);
    this.#kernelLog = config.sources.kernel_log.enabled
      ? makeKernelLogSource(config, this.#telemetry, logTelemetry)
      : undefined;
    tellDetectionTier(settings, () => this.#readWorking(logTelemetry));
    const [memcg, kernelLog] = [this.#memcg, this.#kernelLog];
    const cri = this.#cri;
    this.#rememberers = { table: this.#table, correlator: this.#correlator, memcg, kernelLog, docker, containerd, cri };
    const bootId = readBootId(config.root_path);
    this.#circumstances = { hostRoot: config.root_path, bootId, countedSinceMs: Date.now() };
    // Counters first: a runtime's listing must find the groups known.
    this.#sources = [this.#memcg, this.#kernelLog, docker, containerd, cri, pods].filter(
      (source) => source !== undefined,
    );
    this.#undecided = new Set(this.#sources.map(({ name }) => name));
  }

  #readWorking({ way }: KernelLogTelemetry): WorkingSources {
    const isUp = (source: string): boolean => this.#telemetry.isUp(source);
    const kernelLog = isUp('kernel_log') ? way : undefined;
    return { kernelLog, counters: isUp('memcg'), runtime: runtimes.some(isUp) };
  }

  #isRuntimeUp(): boolean {
    return runtimes.some((source) => this.#mayTell(source));
  }

  #makeCriSource(containerd: ContainerdSource | undefined): CriSource {
    const { endpoint, poll_interval, timeout } = this.#config.sources.cri;
    return new CriSource({
      endpoint: endpoint || undefined,
      hostRoot: this.#config.root_path,
      pollIntervalMs: poll_interval,
      timeoutMs: timeout,
      graceMs: this.#config.grace_period,
      // The source of a runtime's own tells more of it, and at once.
      isServed: (runtime, socket) => {
        const isSame = runtime === 'docker' || (runtime === 'containerd' && (containerd?.socket ?? socket) === socket);
        if (!isSame) return false;
        return this.#undecided.has(runtime) ? undefined : this.#telemetry.isUp(runtime);
      },
      onBadInput: (what, value) => this.#telemetry.countBadInput('cri', what, value),
    });
  }

  /** Without a runtime, what the Kubernetes API knows of its containers; undefined where nobody asks that. */
  #makePodsSource(): PodsSource | undefined {
    const { pods } = this.#settings;
    if (pods === undefined) return undefined;
    return new PodsSource({
      pods,
      table: this.#table,
      graceMs: this.#config.grace_period,
      onBadInput: (what, value) => this.#telemetry.countBadInput('pods', what, value),
    });
  }

  /** Whether a source works, or may do so in a moment: a kill of the time before our start can be seen before it does. */
  #mayTell(source: string): boolean {
    return this.#undecided.has(source) || this.#telemetry.isUp(source);
  }

  async start(): Promise<void> {
    const { storage, logger } = this.#settings;
    this.#keeper = keepState(storage, this.#rememberers, this.#circumstances, logger);
    const decided = Promise.all(this.#sources.map((source) => this.#observe(source)));
    void decided.then(() => this.#judgeWhatWaited());
    const waited = sleep(firstCollectionWithinMs, undefined, { ref: false });
    void Promise.race([decided, waited]).then(() => this.#beginCollecting());
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    // What has happened by now is ours to tell.
    this.#guard('look', () => this.#memcg?.look());
    this.#stopping.abort();
    clearInterval(this.#collectTimer);
    clearTimeout(this.#settleTimer);
    this.#mainProcesses.close();
    await Promise.race([Promise.all(this.#observing), aborted(deadline)]);
    // Nothing more will come: what waits for evidence is judged on what there is, and the counters are sent once more.
    const end = { ...readClock(), monotonicMs: Infinity };
    this.#settle(end);
    // Without a state that is kept, no later run goes on with what has not explained itself.
    if (this.#keeper === undefined) this.#guard('settle', () => this.#correlator.ledger.settle(end));
    this.#collect();
    await Promise.race([Promise.all(this.#handingOn), aborted(deadline)]);
    await this.#keeper?.close();
  }

  #noteChange(container: Container | undefined): void {
    if (container === undefined) return;
    this.#keeper?.changed(container);
    // What is counted of a pod's container must be there when this instance is forgotten.
    this.#keeper?.changed(this.#table.tellerOf(container));
  }

  /** Resolves once the source works or has failed for the first time. */
  #observe(source: Source): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const watcher = this.#telemetry.watch(source.name, () => {
      this.#undecided.delete(source.name);
      resolve();
    });
    const emit = (observation: Observation): void => this.#take(source.name, observation);
    this.#observing.push(keepObserving(source, emit, watcher, this.#stopping.signal));
    return promise;
  }

  /** All sources have begun, for which kills of the time before may have waited. */
  #judgeWhatWaited(): void {
    if (this.#stopping.signal.aborted) return;
    this.#guard('begin', () => this.#tell(this.#correlator.begin(readClock())));
  }

  #beginCollecting(): void {
    if (this.#stopping.signal.aborted) return;
    this.#collect();
    this.#collectTimer = setInterval(() => this.#collect(), this.#config.collection_interval);
  }

  /** One observation. Whatever is wrong with it must not reach the source, which has others to tell. */
  #take(source: string, observation: Observation): void {
    try {
      this.#telemetry.countObservation(source);
      // Something waits no longer for evidence.
      if (source !== 'kernel_log' && this.#dueAtMs <= performance.now()) this.#kernelLog?.catchUp();
      this.#tell(this.#correlator.take(observation, readClock()));
      if (observation.kind !== 'processes_seen') this.#noteChange(this.#correlator.containerOf(observation));
      this.#followUp(source, observation);
      this.#scheduleSettling();
    } catch (error) {
      this.#telemetry.countFailure(source, observation, error);
    }
  }

  /** What one witness saw can be a sign for the others to look now. */
  #followUp(source: string, observation: Observation): void {
    const { kind } = observation;
    if (kind === 'node_oom_kills_counted') this.#kernelLog?.lookAt();
    if (kind === 'memcg_appeared' || kind === 'memcg_gone') this.#cri?.lookAt();
    const container = this.#correlator.containerOf(observation);
    if (container === undefined) {
      if ('containerId' in observation) this.#telemetry.countUnknown(observation);
      return;
    }
    const counted = kind === 'oom_kills_counted';
    const mayBeKill =
      counted ||
      kind === 'oom_victim' ||
      kind === 'oom_hinted' ||
      (kind === 'container_exited' && observation.exitCode === exitCodeOfSigkill);
    const others = mayBeKill ? this.#sources.filter(({ name }) => name !== source) : [];
    for (const other of others) other.lookAt?.(container.id);
    // The kill can come before the runtime tells which process is the main one.
    const victimAsked =
      counted || kind === 'oom_victim' || (kind === 'container_seen' && this.#correlator.cases.hasOpenKills(container));
    if (!victimAsked) return;
    const pid = this.#correlator.cases.mainPidOf(container);
    if (pid === undefined) return;
    if (kind === 'oom_victim' && isAnother(observation.victim, pid)) this.#mainProcesses.lookNow(container.id, pid);
    else this.#mainProcesses.look(container.id, pid);
  }

  /** Counts the incidents, and hands on one log record for each. */
  #tell(incidents: readonly Incident[]): void {
    if (incidents.length === 0) return;
    countIncidents(incidents);
    for (const incident of incidents) if ('container' in incident) this.#noteChange(incident.container);
    // Not in the call below: it would not be made where nothing is kept.
    const handedOn = this.#handOnLogs(incidents);
    this.#keeper?.told(handedOn);
  }

  /** False where it was not taken because we stop. */
  #handOnLogs(incidents: readonly Incident[]): Promise<boolean> {
    const { logs } = this.#next;
    if (logs === undefined) return Promise.resolve(true);
    const made = incidents.map((incident) => this.#guard('tell', () => this.#toLogs.of(incident)));
    const records = made.filter((record) => record !== undefined);
    if (records.length === 0) return Promise.resolve(true);
    return this.#handOn(() => logs.consumeLogs(records), 'log_records', records.length);
  }

  #collect(): void {
    this.#guard('collect', () => this.#sendMetrics(Date.now()));
  }

  #sendMetrics(nowMs: number): void {
    this.#table.expire(nowMs - this.#config.grace_period);
    const { metrics } = this.#next;
    if (metrics === undefined) return;
    if (this.#handingOn.size > 0) this.#toMetrics.letGo();
    const ofContainers = Array.from(
      this.#table.all(),
      (container) => this.#guard('collect', () => this.#measure(container, nowMs)) ?? [],
    ).flat();
    const { countedSinceMs } = this.#circumstances;
    const ofNode = this.#toMetrics.ofNode(this.#correlator.ledger, this.#bootedAtMs, countedSinceMs, nowMs);
    const all = ofNode === undefined ? ofContainers : [ofNode, ...ofContainers];
    if (all.length === 0) return;
    void this.#handOn(() => metrics.consumeMetrics(all), 'metric_points', countPoints(all));
  }

  #measure(container: Container, nowMs: number): ResourceMetrics[] {
    if (container.sandbox === true) return [];
    const memory = this.#memcg?.readMemory(container.id);
    container.limitBytes = memory?.limitBytes ?? container.limitBytes;
    if (!hasWorkloadOfPod(container)) {
      const metrics = () => this.#toMetrics.ofContainer(container, memory, nowMs);
      return this.#awaitsName(container, nowMs) ? [] : [metrics()];
    }
    const ofInstance = memory && this.#toMetrics.ofInstance(container, memory, nowMs);
    const ofWorkload = this.#table.tellsWorkload(container) && this.#toMetrics.ofWorkload(container, nowMs);
    return [ofWorkload, ofInstance].filter((made) => typeof made === 'object');
  }

  /** Its cgroup is there before its runtime has told which of the pod's containers it is, or that it is the sandbox. */
  #awaitsName({ pod, firstSeenAtMs }: Container, nowMs: number): boolean {
    return pod !== undefined && this.#isRuntimeUp() && nowMs - firstSeenAtMs < namedWithinMs;
  }

  /** False where it was refused because we stop: a later run can have it taken. */
  #handOn(pass: () => Promise<void>, items: 'log_records' | 'metric_points', count: number): Promise<boolean> {
    if (this.#handingOn.size >= mostHandedOn) {
      this.#telemetry.refused(items, count, 'too much waits to be taken');
      return Promise.resolve(true);
    }
    // A function that is async rejects where `pass` throws.
    const counted = (async () => pass())().then(
      () => {
        this.#telemetry.accepted(items, count);
        return true;
      },
      (error: unknown) => {
        this.#telemetry.refused(items, count, describeError(error));
        return error instanceof PermanentError || !this.#stopping.signal.aborted;
      },
    );
    this.#handingOn.add(counted);
    void counted.finally(() => this.#handingOn.delete(counted));
    return counted;
  }

  /** Wakes up when the next case or ledger entry is due. */
  #scheduleSettling(leastDelayMs = 0): void {
    clearTimeout(this.#settleTimer);
    const { dueAtMs } = this.#correlator;
    this.#dueAtMs = dueAtMs ?? Infinity;
    if (dueAtMs === undefined || this.#stopping.signal.aborted) return;
    const delayMs = Math.max(leastDelayMs, Math.ceil(dueAtMs - performance.now()));
    this.#settleTimer = setTimeout(() => {
      const settled = this.#settle(readClock());
      this.#guard('settle', () => this.#scheduleSettling(settled ? 0 : settlesAgainAfterMs));
    }, delayMs);
  }

  /** Judges what is due; false where that failed. */
  #settle(now: Instant): boolean {
    const settled = this.#guard('settle', () => {
      this.#kernelLog?.catchUp();
      this.#tell(this.#correlator.settle(now));
      return true;
    });
    return settled === true;
  }

  /** A bug of ours must neither end the process nor keep the rest from being done. Undefined where `run` threw. */
  #guard<T>(task: string, run: () => T): T | undefined {
    try {
      return run();
    } catch (error) {
      this.#telemetry.countInternalError(task, error);
      return undefined;
    }
  }
}

/** The victim is not the main process, nor killed together with it. */
function isAnother({ pid, invocation }: OomVictim, mainPid: number): boolean {
  return pid !== mainPid && invocation?.oomGroup === undefined;
}

function makeMemcgSource(config: Config, telemetry: Telemetry): MemcgSource {
  const { poll_interval, sample_interval, max_groups } = config.sources.memcg;
  return new MemcgSource({
    hostRoot: config.root_path,
    pollIntervalMs: poll_interval,
    sampleIntervalMs: sample_interval,
    maxGroups: max_groups,
    onBadInput: (what, value) => telemetry.countBadInput('memcg', what, value),
  });
}

function makeKernelLogSource(config: Config, telemetry: Telemetry, ownTelemetry: KernelLogTelemetry): KernelLogSource {
  const { settle_time, sources } = config;
  const { poll_interval, file } = sources.kernel_log;
  return new KernelLogSource({
    hostRoot: config.root_path,
    file: file || undefined,
    pollIntervalMs: poll_interval,
    countersTellWithinMs: () => (telemetry.isUp('memcg') ? settle_time + namesComeWithinMs : undefined),
    onOpen: (from, refused, way) => ownTelemetry.opened(from, refused, way),
    onGap: (gap) => ownTelemetry.gap(gap),
    onBadInput: (what, value) => telemetry.countBadInput('kernel_log', what, value),
  });
}

function makeDockerSource(config: Config, telemetry: Telemetry): DockerSource {
  const { endpoint, timeout } = config.sources.docker;
  return new DockerSource({
    endpoint: endpoint || undefined,
    hostRoot: config.root_path,
    timeoutMs: timeout,
    graceMs: config.grace_period,
    onBadInput: (what, value) => telemetry.countBadInput('docker', what, value),
  });
}

function makeContainerdSource(config: Config, telemetry: Telemetry): ContainerdSource {
  const { endpoint, timeout, namespaces } = config.sources.containerd;
  return new ContainerdSource({
    endpoint: endpoint || undefined,
    hostRoot: config.root_path,
    timeoutMs: timeout,
    namespaces,
    graceMs: config.grace_period,
    onBadInput: (what, value) => telemetry.countBadInput('containerd', what, value),
  });
}
