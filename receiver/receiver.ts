import { uptime } from 'node:os';
import type { Component, ComponentSettings, Consumers, ReceiverFactory } from '../pipelines/component.ts';
import { describeError } from '../pipelines/errors.ts';
import { configSchema, type Config } from './config.ts';
import { ContainerTable, isRunning, type Container } from './container-table.ts';
import { Correlator } from './correlator.ts';
import type { Incident } from './incident.ts';
import { readClock } from './instant.ts';
import { Ledger } from './ledger.ts';
import { isProcessAlive } from './main-process.ts';
import type { Observation } from './observation.ts';
import { readHost, Resources } from './resources.ts';
import { keepObserving, type Source } from './source.ts';
import { DockerSource } from './sources/docker.ts';
import { MemcgSource } from './sources/memcg.ts';
import { Telemetry } from './telemetry.ts';
import { LogsBuilder } from './to-logs.ts';
import { MetricsBuilder } from './to-metrics.ts';

/** `container_lifecycle`: deaths, restarts and memory of the containers of this node. */
export const containerLifecycle: ReceiverFactory<Config> = {
  type: 'container_lifecycle',
  configSchema,
  create: (config, settings, next) => new ContainerLifecycle(config, settings, next),
};

/**
 * How long after a counted kill the main process is looked at. The kernel counts a kill and then sends the SIGKILL, a
 * few microseconds apart; a main process that shows no sign of it on the second look was not the victim.
 */
const looksAtMainProcessAfterMs = [2, 10];

/** The first metrics are sent when every source works or has failed once, but no later than this after the start. */
const firstCollectionWithinMs = 500;

/** Exit code of a process that a SIGKILL ended. */
const exitCodeOfSigkill = 137;

/** Runs the sources, settles incidents and hands telemetry on. */
class ContainerLifecycle implements Component {
  readonly #config: Config;
  readonly #next: Consumers;
  readonly #table: ContainerTable;
  readonly #ledger = new Ledger();
  readonly #correlator: Correlator;
  readonly #telemetry: Telemetry;
  readonly #toLogs: LogsBuilder;
  readonly #toMetrics: MetricsBuilder;
  readonly #memcg: MemcgSource | undefined;
  readonly #sources: readonly Source[];
  readonly #stopping = new AbortController();
  readonly #startedAtMs = Date.now();
  readonly #bootedAtMs = Date.now() - uptime() * 1000;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #lookedAt = new Set<string>();
  #settleTimer: NodeJS.Timeout | undefined;
  #observing: Promise<unknown> = Promise.resolve();
  /** What was handed on and is not yet taken. */
  readonly #handingOn = new Set<Promise<void>>();

  constructor(config: Config, settings: ComponentSettings, next: Consumers) {
    this.#config = config;
    this.#next = next;
    this.#table = new ContainerTable(config.max_containers);
    this.#correlator = new Correlator(config.settle_time, this.#ledger);
    this.#telemetry = new Telemetry(settings, this.#table);
    const resources = new Resources(config, readHost(config.root_path));
    this.#toLogs = new LogsBuilder(resources, settings.version);
    this.#toMetrics = new MetricsBuilder(config, resources, settings.version);
    this.#memcg = config.sources.memcg.enabled ? makeMemcgSource(config, this.#telemetry) : undefined;
    const docker = config.sources.docker.enabled ? makeDockerSource(config, this.#telemetry) : undefined;
    // Counters first: a runtime's listing must find the groups known.
    this.#sources = [this.#memcg, docker].filter((source) => source !== undefined);
  }

  async start(): Promise<void> {
    const { signal } = this.#stopping;
    const decided = this.#sources.map((source) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const watcher = this.#telemetry.watch(source.name, resolve);
      return {
        decided: promise,
        observing: keepObserving(source, (seen) => this.#take(source.name, seen), watcher, signal),
      };
    });
    this.#observing = Promise.all(decided.map(({ observing }) => observing));
    const allDecided = Promise.all(decided.map((source) => source.decided));
    let begun = false;
    const beginCollecting = (): void => {
      if (begun || signal.aborted) return;
      begun = true;
      this.#collect();
      this.#timers.add(setInterval(() => this.#collect(), this.#config.collection_interval));
    };
    void allDecided.then(beginCollecting);
    this.#timers.add(setTimeout(beginCollecting, firstCollectionWithinMs));
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    clearTimeout(this.#settleTimer);
    await this.#observing;
    // Nothing more will come: what waits for evidence is judged on what there is, and the counters are sent once more.
    this.#tell(this.#correlator.settle({ ...readClock(), monotonicMs: Infinity }));
    this.#collect();
    await Promise.race([Promise.all(this.#handingOn), aborted(deadline)]);
  }

  /** One observation: first the table learns of it, then the correlator judges. */
  #take(source: string, observation: Observation): void {
    const now = readClock();
    this.#telemetry.countObservation(source);
    if (observation.kind === 'node_oom_kills_counted') {
      this.#ledger.count(observation.total, now);
      this.#scheduleSettling();
      return;
    }
    const transitions = this.#table.apply(observation);
    const container = this.#table.get(observation.containerId);
    if (container === undefined) {
      this.#telemetry.countUnknown(observation);
      return;
    }
    // A kill is told with the limit, even before the first collection.
    if (observation.kind === 'oom_kills_counted') container.memory ??= this.#memcg?.readMemory(container.id);
    const turned = transitions.flatMap((transition) => this.#correlator.turn(transition, now));
    this.#tell([...turned, ...this.#correlator.observe(observation, container, now)]);
    this.#followUp(observation, container);
    this.#scheduleSettling();
  }

  /** What one witness saw can be a sign for another to look now. */
  #followUp(observation: Observation, container: Container): void {
    const mayBeKill =
      observation.kind === 'oom_hinted' ||
      (observation.kind === 'container_exited' && observation.exitCode === exitCodeOfSigkill);
    if (mayBeKill) for (const source of this.#sources) source.lookAt?.(container.id);
    if (observation.kind === 'oom_kills_counted') this.#lookAtMainProcess(container);
  }

  /** Whether the main process is the victim of a counted kill shows in /proc within milliseconds. */
  #lookAtMainProcess(container: Container, look = 0): void {
    const delayMs = looksAtMainProcessAfterMs[look];
    if (delayMs === undefined || (look === 0 && this.#lookedAt.has(container.id))) return;
    this.#lookedAt.add(container.id);
    this.#after(delayMs, () => {
      const alive = this.#isMainProcessAlive(container);
      if (alive === true && look + 1 < looksAtMainProcessAfterMs.length) {
        this.#lookAtMainProcess(container, look + 1);
        return;
      }
      this.#lookedAt.delete(container.id);
      if (alive === undefined) return;
      this.#take('proc', { kind: 'main_process_seen', containerId: container.id, atMs: Date.now(), alive });
    });
  }

  #isMainProcessAlive(container: Container): boolean | undefined {
    const pid = isRunning(container) ? container.life?.pid : undefined;
    return pid === undefined ? undefined : isProcessAlive(this.#config.root_path, pid);
  }

  /** Counts the incidents, and hands on one log record for each. */
  #tell(incidents: readonly Incident[]): void {
    if (incidents.length === 0) return;
    countIncidents(incidents);
    const { logs } = this.#next;
    if (logs === undefined) return;
    const records = incidents.map((incident) => this.#toLogs.of(incident));
    this.#handOn(logs.consumeLogs(records), 'log_records', records.length);
  }

  #collect(): void {
    const nowMs = Date.now();
    this.#table.expire(nowMs - this.#config.grace_period);
    const { metrics } = this.#next;
    if (metrics === undefined) return;
    const ofContainers = Array.from(this.#table.all(), (container) => {
      const memory = this.#memcg?.readMemory(container.id);
      container.memory = memory ?? container.memory;
      return this.#toMetrics.ofContainer(container, memory, nowMs);
    });
    const ofNode = this.#toMetrics.ofNode(this.#ledger, this.#bootedAtMs, this.#startedAtMs, nowMs);
    const all = ofNode === undefined ? ofContainers : [ofNode, ...ofContainers];
    if (all.length === 0) return;
    const points = all.flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
    this.#handOn(
      metrics.consumeMetrics(all),
      'metric_points',
      points.reduce((sum, { dataPoints }) => sum + dataPoints.length, 0),
    );
  }

  #handOn(taken: Promise<void>, items: 'log_records' | 'metric_points', count: number): void {
    const counted = taken.then(
      () => this.#telemetry.accepted(items, count),
      (error: unknown) => this.#telemetry.refused(items, count, describeError(error)),
    );
    this.#handingOn.add(counted);
    void counted.finally(() => this.#handingOn.delete(counted));
  }

  /** Wakes up when the next case or ledger entry is due. */
  #scheduleSettling(): void {
    clearTimeout(this.#settleTimer);
    const dueAtMs = Math.min(this.#correlator.dueAtMs ?? Infinity, this.#ledger.dueAtMs ?? Infinity);
    if (dueAtMs === Infinity || this.#stopping.signal.aborted) return;
    const delayMs = Math.max(0, Math.ceil(dueAtMs - performance.now()));
    this.#settleTimer = setTimeout(() => {
      const now = readClock();
      this.#tell(this.#correlator.settle(now));
      this.#ledger.settle(now);
      this.#scheduleSettling();
    }, delayMs);
  }

  #after(delayMs: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, delayMs);
    this.#timers.add(timer);
  }
}

/** The counters of deaths follow the records: what is told is counted, once. */
function countIncidents(incidents: readonly Incident[]): void {
  const told = new Set<string>();
  for (const incident of incidents) {
    const { workload } = incident.container;
    switch (incident.kind) {
      case 'oom_kill':
        workload.oomKills++;
        if (!told.has(incident.incidentId)) workload.oomIncidents++;
        told.add(incident.incidentId);
        break;
      case 'exit':
        workload.exits[incident.reason]++;
        break;
      case 'restart':
        workload.restarts++;
        break;
    }
  }
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

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => resolve(), { once: true });
  return promise;
}
