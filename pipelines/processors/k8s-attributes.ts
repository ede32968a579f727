import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type {
  Component,
  ComponentSettings,
  LogsConsumer,
  MetricsConsumer,
  SharedProcessor,
  SharingProcessorFactory,
} from '../component.ts';
import { aborted } from '../component.ts';
import { ApiServer } from './k8s-attributes/api-server.ts';
import { configSchema, type K8sAttributesConfig } from './k8s-attributes/config.ts';
import { Enrichment, podUidOf } from './k8s-attributes/enrichment.ts';
import { makeExtraction } from './k8s-attributes/extraction.ts';
import { PodTable } from './k8s-attributes/pod-table.ts';
import { PodWatch } from './k8s-attributes/pod-watch.ts';
import { WatchTelemetry } from './k8s-attributes/watch-telemetry.ts';

/**
 * Adds to resources with `k8s.pod.uid` what the Kubernetes API knows of that pod: who owns it, chosen labels and
 * annotations. One watch of this node's pods serves all pipelines. Needs to get, list and watch pods.
 */
export const k8sAttributes: SharingProcessorFactory<K8sAttributesConfig> = {
  type: 'k8s_attributes',
  aliases: ['k8sattributes'],
  configSchema,
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
    this.#table = new PodTable(makeExtraction(config.extract, () => this.#valuesCut++));
    this.#enrichment = new Enrichment(this.#table, config.extract.metadata.includes('k8s.node.uid'));
  }

  async start(): Promise<void> {
    const { auth_type, ca_file, token_file } = this.#config;
    const node = nodeName(this.#config, this.#env);
    const url = serverUrl(this.#config, this.#env);
    this.#telemetry = new WatchTelemetry(this.#settings, { node, server: url }, this.#table, () => this.#valuesCut);
    this.#server = new ApiServer({
      url,
      caFile: ca_file,
      tokenFile: auth_type === 'serviceAccount' ? token_file : undefined,
      userAgent: `exit137/${this.#settings.version}`,
    });
    this.#running = new PodWatch(this.#server, node, this.#table, this.#telemetry).run(this.#stop.signal);
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
    const isWaiting = this.#config.wait_for_metadata && this.#telemetry?.isComing === true;
    if (!isWaiting || this.#waiting + logs.length > mostWaiting) return new Set();
    const uids = logs.flatMap(({ resource }) => podUidOf(resource) ?? []);
    return new Set(uids.filter((uid) => this.#table.get(uid) === undefined && !this.#givenUp.has(uid)));
  }

  async #known(uids: ReadonlySet<string>, records: number): Promise<void> {
    this.#waiting += records;
    try {
      await Promise.all(Array.from(uids, (uid) => this.#table.known(uid, this.#config.wait_for_metadata_timeout)));
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

/** Throws where nothing says which node this is. */
function nodeName({ filter: { node, node_from_env_var } }: K8sAttributesConfig, env: NodeJS.ProcessEnv): string {
  const name = node ?? env[node_from_env_var];
  if (name !== undefined && name !== '') return name;
  throw new Error(
    `cannot tell which node this is: the environment variable ${node_from_env_var} is not set, nor is filter::node`,
  );
}

/** Throws where nothing says where the API server is. */
function serverUrl({ endpoint }: K8sAttributesConfig, env: NodeJS.ProcessEnv): string {
  if (endpoint !== undefined) return new URL(endpoint).origin;
  const host = env['KUBERNETES_SERVICE_HOST'];
  const port = env['KUBERNETES_SERVICE_PORT'];
  if (host === undefined || port === undefined || host === '' || port === '') {
    throw new Error(
      'cannot find the API server: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, nor is endpoint',
    );
  }
  return `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
