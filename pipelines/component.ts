import type { Meter } from '@opentelemetry/api';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { z } from 'zod';

/**
 * Anything the service runs. It is made, started once and shut down once, in that order; downstream components are
 * started first and shut down last.
 */
export interface Component {
  /**
   * Resolves when the component can work. It does not wait for a connection: connecting happens in the background
   * and a peer that is away is not a failure. Rejects only for what no patience mends (a port in use, a directory
   * that cannot be written).
   */
  start(): Promise<void>;

  /**
   * Takes no more data, passes on what it holds and releases everything. Past the deadline it drops what is left and
   * counts it. Never rejects; safe to call twice, and before `start`.
   */
  shutdown(deadline: AbortSignal): Promise<void>;
}

/** Resolves once `signal` is aborted: for who waits no longer than a deadline. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => resolve(), { once: true });
  return promise;
}

/** The signals that travel through pipelines. */
export type SignalKind = 'metrics' | 'logs';

/**
 * Takes metrics, one entry per resource. The numbers in them are the sender's to write again once the promise is
 * settled: who keeps metrics longer keeps a copy. Rejects with `PermanentError` when trying again is useless.
 */
export interface MetricsConsumer {
  consumeMetrics(metrics: readonly ResourceMetrics[]): Promise<void>;
}

/** Number of data points in `metrics`: what metrics are counted by, as log records are counted one by one. */
export function countPoints(metrics: readonly ResourceMetrics[]): number {
  let points = 0;
  for (const { scopeMetrics } of metrics) {
    for (const scope of scopeMetrics) {
      for (const { dataPoints } of scope.metrics) points += dataPoints.length;
    }
  }
  return points;
}

/**
 * Takes log records. Records of one resource share one `resource` object, and all records of one scope share one
 * `instrumentationScope` object: serializers group by identity. Rejects with `PermanentError` when trying again is
 * useless.
 */
export interface LogsConsumer {
  consumeLogs(logs: readonly ReadableLogRecord[]): Promise<void>;
}

/** Where a pipeline ends. */
export interface Exporter extends Component, MetricsConsumer, LogsConsumer {
  /**
   * Told when the service begins to shut down, before any component does: whatever is held or comes now is tried once
   * more. Those upstream are shut down first, and must not wait for retries with the time that there is.
   */
  stopRetrying?(): void;
}

/** Where a component sends what it has; a signal that is in no pipeline is absent. */
export interface Consumers {
  metrics?: MetricsConsumer;
  logs?: LogsConsumer;
}

/** Our own log: one line per change of state, never one per attempt or per event. Fields carry the values. */
export interface Logger {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

/** What every component is given besides its own configuration. */
export interface ComponentSettings {
  /** The component's id as configured: `type` or `type/name`. */
  id: string;
  logger: Logger;
  /** For self-telemetry; names follow the Collector's (`otelcol_exporter_sent_log_records`). */
  meter: Meter;
  /** Version of this program, for user agents and scopes. */
  version: string;
  /** Where the component keeps what must outlive the process; absent where its configuration names no storage. */
  storage?: Storage;
  /** Of a receiver: this node's pods; absent where no processor of its pipelines knows them. */
  pods?: PodDirectory;
}

/** The files of one component. They can be opened from its `start` on. */
export interface Storage {
  /** `name` is of lower-case letters and tells the component's files apart. Throws where the file cannot be read. */
  open(name: string): StateFile;
}

/**
 * A file that holds what a component must know again after a restart: one piece that is replaced now and then, and
 * smaller ones that are added to it. What has been written survives the end of the process at whatever moment.
 */
export interface StateFile {
  readonly path: string;
  /** What an earlier run has left; undefined where it left nothing. Its last piece may be cut off. */
  readonly kept: Buffer | undefined;
  /**
   * Adds a piece, at once. Throws where that cannot be done; the file may end in a part of the piece then, and nothing
   * must be added before it is replaced.
   */
  append(piece: Uint8Array): void;
  /**
   * Replaces everything: whoever reads sees either the old or the new. What is added meanwhile is added to the new.
   * `durable`: survives the machine's end as well. One call at a time; rejects where it cannot be written.
   */
  replace(content: Uint8Array, durable?: boolean): Promise<void>;
  /** Moves a file that cannot be used out of the way, and tells where to. Throws where that cannot be done. */
  setAside(): string;
  close(): Promise<void>;
}

/** One thing outside of the process that a component can use, and how it stands. */
export interface Finding {
  what: string;
  state: 'found' | 'missing' | 'unused';
  /** What was found, or why it cannot be used. */
  detail: string;
  /** What cannot be told without it. */
  lost?: string;
  /** What to do to get it. */
  grant?: string;
}

/** One instance of a pod's container, as the pod's status has it. Text and numbers are the API's. */
export interface PodInstance {
  /** `containerd://` and 64 hex digits, say. */
  containerId: string;
  name: string;
  image: string | undefined;
  /** Instances before it. */
  restartCount: number | undefined;
  running: boolean;
  /** Both with a grain of one second. */
  startedAtMs: number | undefined;
  finishedAtMs: number | undefined;
  /** Of one that has ended; absent where the kubelet does not know it. */
  exitCode: number | undefined;
}

/** A pod of this node, as the Kubernetes API has it. */
export interface PodReport {
  /** As the node's runtime has it. */
  uid: string;
  namespace: string;
  name: string;
  /** Of each container the present one and the one before it, that first; init and ephemeral containers as well. */
  instances: readonly PodInstance[];
  /** A container of it waits to be started, or has ended and may be started again. */
  isWaiting: boolean;
}

/** What a processor knows of this node's pods, for the receivers of its pipelines. */
export interface PodDirectory {
  get(uid: string): PodReport | undefined;
  /**
   * `seen` is told of each pod that is known and, until `signal` is aborted, of each that is new or has changed.
   * Resolves once all pods were told. Never rejects.
   */
  follow(seen: (pod: PodReport) => void, signal: AbortSignal): Promise<void>;
}

/** A component type as it stands in a configuration file. Its schema is strict: an unknown key is an error. */
interface Factory<Config> {
  /** The name before the slash, `lower_snake_case`. */
  type: string;
  /** Older names that are accepted as well, e.g. `otlp` for `otlp_grpc`. */
  aliases?: readonly string[];
  /** Parses the component's section; a null section is parsed as `{}`, so every default must stand in the schema. */
  configSchema: z.ZodType<Config>;
  /** The key of the section that names an extension to keep state in, as `['sending_queue', 'storage']`. */
  storageKey?: readonly string[];
  /** Looks at what a component with this configuration could use, and makes none. Never rejects; some seconds at most. */
  probe?(config: Config): Promise<readonly Finding[]>;
}

/** One instance serves all pipelines in which its id stands. */
export interface ReceiverFactory<Config = unknown> extends Factory<Config> {
  create(config: Config, settings: ComponentSettings, next: Consumers): Component;
}

/** One instance per pipeline in which its id stands. */
export interface ProcessorFactory<Config = unknown> extends Factory<Config> {
  createMetrics(config: Config, settings: ComponentSettings, next: MetricsConsumer): Component & MetricsConsumer;
  createLogs(config: Config, settings: ComponentSettings, next: LogsConsumer): Component & LogsConsumer;
}

/** A processor whose instances have something in common: one watch of an API, say, whatever the number of pipelines. */
export interface SharingProcessorFactory<Config = unknown> extends Factory<Config> {
  /** Once for each id. */
  createShared(config: Config, settings: ComponentSettings): SharedProcessor;
}

/** What the instances of one processor have in common. It is started before them, and shut down after them. */
export interface SharedProcessor extends Component {
  readonly pods?: PodDirectory;
  createMetrics(next: MetricsConsumer): Component & MetricsConsumer;
  createLogs(next: LogsConsumer): Component & LogsConsumer;
}

/** One instance serves all pipelines in which its id stands. */
export interface ExporterFactory<Config = unknown> extends Factory<Config> {
  create(config: Config, settings: ComponentSettings): Exporter;
}

/** Something that serves the service itself rather than its data. Started before and stopped after all pipelines. */
export interface ExtensionFactory<Config = unknown> extends Factory<Config> {
  /** Whether components can keep state in it: it has `storageOf`. */
  isStorage?: true;
  create(config: Config, settings: ComponentSettings): Extension;
}

export interface Extension extends Component {
  /** Told when the pipelines are all started (`true`) and when shutdown begins (`false`). */
  setReady?(ready: boolean): void;
  /** The files of one component. `owner` is its kind and id: `receiver_container_lifecycle`. */
  storageOf?(owner: string): Storage;
}

/** What is built in. */
export interface Factories {
  receivers: readonly ReceiverFactory[];
  processors: readonly (ProcessorFactory | SharingProcessorFactory)[];
  exporters: readonly ExporterFactory[];
  extensions: readonly ExtensionFactory[];
}
