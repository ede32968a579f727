import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { eventually, patience } from './eventually.ts';
import { startGrpcEndpoint, type OtlpEndpoint } from './otlp-endpoint.ts';
import type { ReceivedLog, ReceivedMetric } from './otlp-decoding.ts';

const bundle = join(import.meta.dirname, '../../dist/main.mjs');

interface AgentOptions {
  /** Configuration of the receiver beyond the defaults. */
  receiver?: Record<string, unknown>;
  /** Where it sends; default: an endpoint of its own, which `stop` closes. */
  grpcPort?: number;
  /** Whether it writes a file as well (default true). */
  toFile?: boolean;
  /** Requests under way at once (default 1, so that they arrive in their order). */
  consumers?: number;
  /** A command that starts it. */
  through?: string[];
  /** The folder in which it keeps its state; default: none. */
  stateFolder?: string;
}

/** The bundle as it runs in production, and what it has sent. */
export interface Agent {
  readonly pid: number;
  readonly endpoint: OtlpEndpoint;
  /** Resolves when these sources work: what happens from then on is seen. */
  observes(...sources: string[]): Promise<unknown>;
  /** The log records of one container that arrived so far, in their order. */
  logsOf(containerId: string): ReceivedLog[];
  /** The newest metrics of one container, by name. Throws where none have arrived. */
  metricsOf(containerId: string): Record<string, ReceivedMetric>;
  /** Every collection's metrics of one container, oldest first. */
  allMetricsOf(containerId: string): Record<string, ReceivedMetric>[];
  /** Resolves with the next metrics of a container that are collected from now on. */
  nextMetricsOf(containerId: string): Promise<Record<string, ReceivedMetric>>;
  /** What its `file` exporter has written: one OTLP-JSON object a line. */
  fileLines(): Promise<Record<string, unknown>[]>;
  /** Its own log. */
  stderr(): string;
  /** SIGTERM, and what it exited with. Safe to call twice. */
  stop(): Promise<number | null>;
  /** Closes the endpoint and removes its files; stops it first. */
  close(): Promise<void>;
}

/** Starts the bundle with a configuration file; resolves when its process is there. */
export async function startAgent({
  receiver = {},
  grpcPort,
  toFile = true,
  consumers = 1,
  through = [],
  stateFolder,
}: AgentOptions = {}): Promise<Agent> {
  const folder = await mkdtemp(join(tmpdir(), 'exit137-agent-'));
  const endpoint = await startGrpcEndpoint();
  const configFile = join(folder, 'config.yaml');
  const output = join(folder, 'telemetry.jsonl');
  await writeFile(
    configFile,
    stringify(configuration(receiver, grpcPort ?? endpoint.port, consumers, toFile ? output : undefined, stateFolder)),
  );

  const [program, ...args] = [...through, bundle, '--config', configFile];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(child, 'exit');
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdout.resume();

  const collections = () => endpoint.received.flatMap(({ metrics }) => metrics);
  const allMetricsOf = (containerId: string) =>
    collections().flatMap(({ resource, metrics }) => (resource['container.id'] === containerId ? [metrics] : []));
  const stop = async () => {
    child.kill('SIGTERM');
    await exited;
    return child.exitCode;
  };
  await once(child, 'spawn');
  return {
    pid: child.pid!,
    endpoint,
    observes: (...sources) =>
      eventually(`the sources ${sources.join(', ')} work`, () => {
        const works = (source: string) => (line: string) =>
          line.includes('source works') && line.includes(`"source":"${source}"`);
        return sources.every((source) => stderr.split('\n').some(works(source))) || undefined;
      }),
    logsOf: (containerId) =>
      endpoint.received.flatMap(({ logs }) => logs.filter(({ resource }) => resource['container.id'] === containerId)),
    metricsOf: (containerId) => {
      const newest = allMetricsOf(containerId).at(-1);
      if (newest === undefined) throw new Error(`no metrics of container ${containerId} have arrived`);
      return newest;
    },
    allMetricsOf,
    nextMetricsOf: (containerId) => {
      // What is under way now, or waits in the queue, was collected before the call.
      const nowMs = Date.now();
      return eventually(`metrics of ${containerId} arrive`, () =>
        allMetricsOf(containerId).find((metrics) => collectedAtMs(metrics) > nowMs),
      );
    },
    fileLines: async () => {
      const text = await readFile(output, 'utf8');
      const lines = text.slice(0, text.lastIndexOf('\n')).split('\n');
      return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    },
    stderr: () => stderr,
    stop,
    close: async () => {
      await stop();
      await endpoint.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** All points of one collection have the same time. */
function collectedAtMs(metrics: Record<string, ReceivedMetric>): number {
  const [point] = Object.values(metrics).flatMap(({ points }) => points);
  return Number(BigInt(point?.timeUnixNano ?? 0) / 1_000_000n);
}

function configuration(
  receiver: Record<string, unknown>,
  grpcPort: number,
  consumers: number,
  output: string | undefined,
  stateFolder: string | undefined,
): unknown {
  const exporters = {
    otlp_grpc: {
      endpoint: `127.0.0.1:${grpcPort}`,
      tls: { insecure: true },
      // What comes too late is sent again, and arrives twice.
      timeout: '60s',
      // What is told counts as told once it has arrived, where somebody keeps account of it.
      sending_queue: { num_consumers: consumers, wait_for_result: stateFolder !== undefined },
    },
    ...(output === undefined ? {} : { file: { path: output } }),
  };
  const storage = stateFolder === undefined ? {} : { storage: 'file_storage' };
  // Where everything takes ten times as long, so do a runtime's events and the reading of the log.
  const patient = patience > 1 ? { settle_time: '8s' } : {};
  const pipeline = { receivers: ['container_lifecycle'], exporters: Object.keys(exporters) };
  return {
    receivers: { container_lifecycle: { collection_interval: '500ms', ...patient, ...storage, ...receiver } },
    exporters,
    ...(stateFolder === undefined ? {} : { extensions: { file_storage: { directory: stateFolder } } }),
    service: {
      extensions: Object.values(storage),
      // Two agents on one machine must not want the same port.
      telemetry: { metrics: { level: 'none' } },
      pipelines: { metrics: pipeline, logs: pipeline },
    },
  };
}
