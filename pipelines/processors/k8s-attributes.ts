import { setTimeout as sleep } from 'node:timers/promises';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type {
  Component,
  ComponentSettings,
  LogsConsumer,
  MetricsConsumer,
  PodDirectory,
  SharedProcessor,
  SharingProcessorFactory,
} from '../component.ts';
import { aborted } from '../component.ts';
import { ApiServer } from './k8s-attributes/api-server.ts';
import { findCluster } from './k8s-attributes/cluster.ts';
import { configSchema, type K8sAttributesConfig } from './k8s-attributes/config.ts';
import { Enrichment, podUidOf } from './k8s-attributes/enrichment.ts';
import { makeExtraction } from './k8s-attributes/extraction.ts';
import { PodTable } from './k8s-attributes/pod-table.ts';
import { PodWatch } from './k8s-attributes/pod-watch.ts';
import { probe } from './k8s-attributes/probe.ts';
import { WatchTelemetry } from './k8s-attributes/watch-telemetry.ts';

/**
 * Adds to resources with `k8s.pod.uid` what the Kubernetes API knows of that pod: who owns it, chosen labels and
 * annotations. One watch of this node's pods serves all pipelines. Needs to get, list and watch pods.
 */
export const k8sAttributes: SharingProcessorFactory<K8sAttributesConfig> = {
  type: 'k8s_attributes',
  aliases: ['k8sattributes'],
  configSchema,
  probe: async (config) => [await probe(config, process.env)],
  createShared: (config, settings) => new K8sAttributes(config, settings, process.env),
};

/** Records that wait for their pod; more are passed on without. */
const mostWaiting = 1_000;

/** Pods for which nobody waits any more. */
const mostGivenUp = 1_000;

class K8sAttributes implements SharedProcessor {
  readonly #config: K8sAttributesConfig;
  readonly #settings: ComponentSettings;
  readonly #env: NodeJS.ProcessEnv;
  readonly #table: PodTable;
  readonly #enrichment: Enrichment;
  readonly #stop = new AbortController();
  readonly #givenUp = new Set<string>();
  #telemetry: WatchTelemetry | undefined;
  #running: Promise<void> | undefined;
  #server: ApiServer | undefined;
  #valuesCut = 0;
  #waiting = 0;

  constructor(config: K8sAttributesConfig, settings: ComponentSettings, env: NodeJS.ProcessEnv) {
    this.#config = config;
    this.#settings = settings;
    this.#env = env;
    this.#table = new PodTable(makeExtraction(config, () => this.#valuesCut++));
    this.#enrichment = new Enrichment(this.#table, config.extract.metadata);
  }

  readonly pods: PodDirectory = {
    get: (uid) => this.#table.get(uid)?.report,
    follow: async (seen, signal) => {
      this.#table.follow(seen, signal);
      await Promise.race([this.#telemetry?.known, aborted(signal)]);
    },
  };

  async start(): Promise<void> {
    const { node, pods, server } = findCluster(this.#config, this.#env);
    const where = { node, server: server.url };
    this.#telemetry = new WatchTelemetry(this.#settings, where, this.#table, () => this.#valuesCut);
    this.#server = new ApiServer({ ...server, userAgent: `exit137/${this.#settings.version}` });
    this.#running = new PodWatch(this.#server, pods, this.#table, this.#telemetry).run(this.#stop.signal);
    if (this.#config.wait_for_metadata) await this.#untilKnown(this.#telemetry);
  }

  async #untilKnown(telemetry: WatchTelemetry): Promise<void> {
    const ended = new AbortController();
    const late = sleep(this.#config.wait_for_metadata_timeout, 'late', { signal: ended.signal });
    const outcome = await Promise.race([telemetry.known, late]);
    ended.abort();
    late.catch(() => undefined);
    if (outcome === undefined) return;
    const cause = telemetry.lastReason === undefined ? undefined : new Error(telemetry.lastReason);
    throw new Error('cannot wait any longer for the metadata of pods', { cause });
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    this.#stop.abort();
    this.#table.releaseAll();
    await Promise.race([this.#running, aborted(deadline)]);
    await this.#server?.close();
  }

  createMetrics(next: MetricsConsumer): Component & MetricsConsumer {
    return {
      ...nothingToRun,
      consumeMetrics: (metrics) =>
        next.consumeMetrics(metrics.map((entry) => ({ ...entry, resource: this.#enrichment.enrich(entry.resource) }))),
    };
  }

  createLogs(next: LogsConsumer): Component & LogsConsumer {
    const pass = async (logs: readonly ReadableLogRecord[]): Promise<void> => {
      if (logs.length === 0) return;
      await next.consumeLogs(logs.map((record) => ({ ...record, resource: this.#enrichment.enrich(record.resource) })));
    };
    let stopped = false;
    return {
      async start() {},
      shutdown: async () => {
        stopped = true;
        this.#table.releaseAll();
      },
      consumeLogs: async (logs) => {
        const unknown = stopped ? new Set<string>() : this.#awaited(logs);
        if (unknown.size === 0) return pass(logs);
        const waits = ({ resource }: ReadableLogRecord) => unknown.has(podUidOf(resource) ?? '');
        const waiting = logs.filter(waits);
        const results = await Promise.allSettled([
          pass(logs.filter((record) => !waits(record))),
          this.#known(unknown, waiting.length).then(() => pass(waiting)),
        ]);
        const failed = results.find((result) => result.status === 'rejected');
        if (failed !== undefined) throw failed.reason;
      },
    };
  }

  /** Pods that are not known, and likely will be in a moment. */
  #awaited(logs: readonly ReadableLogRecord[]): Set<string> {
    const isWaiting = this.#config.wait_for_pod > 0 && this.#telemetry?.isComing === true;
    if (!isWaiting || this.#waiting + logs.length > mostWaiting) return new Set();
    const uids = logs.flatMap(({ resource }) => podUidOf(resource) ?? []);
    return new Set(uids.filter((uid) => this.#table.get(uid) === undefined && !this.#givenUp.has(uid)));
  }

  async #known(uids: ReadonlySet<string>, records: number): Promise<void> {
    this.#waiting += records;
    try {
      await Promise.all(Array.from(uids, (uid) => this.#table.known(uid, this.#config.wait_for_pod)));
    } finally {
      this.#waiting -= records;
    }
    for (const uid of uids) if (this.#table.get(uid) === undefined) this.#giveUp(uid);
  }

  #giveUp(uid: string): void {
    if (this.#givenUp.size >= mostGivenUp) this.#givenUp.clear();
    this.#givenUp.add(uid);
  }
}

const nothingToRun: Component = { async start() {}, async shutdown() {} };
