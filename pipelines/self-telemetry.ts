import { readFile } from 'node:fs/promises';
import type { Meter } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider, PeriodicExportingMetricReader, type IMetricReader } from '@opentelemetry/sdk-metrics';
import type { Logger } from './component.ts';
import { describeError } from './errors.ts';
import { PrometheusReader } from './prometheus-reader.ts';
import type { TelemetryConfig } from './telemetry-config.ts';

/** What the service tells of itself. */
export interface SelfTelemetry {
  meter: Meter;
  /** Sends what is left and closes the readers. Never rejects. */
  shutdown(): Promise<void>;
}

/** A reader whose destination is away must not keep the process. */
const shutdownTimeoutMs = 2_000;

/**
 * Sets up the metrics of the service itself, read as `service::telemetry::metrics` says. A reader that cannot work (a
 * port in use) is a warning: the service goes on without it.
 */
export async function startSelfTelemetry(
  { metrics, resource }: TelemetryConfig,
  version: string,
  logger: Logger,
): Promise<SelfTelemetry> {
  const readers =
    metrics.level === 'none' ? [] : await Promise.all(metrics.readers.map((reader) => makeReader(reader, logger)));
  const provider = new MeterProvider({
    resource: resourceFromAttributes({ 'service.name': 'exit137', 'service.version': version, ...resource }),
    readers: readers.filter((reader) => reader !== undefined),
  });
  const meter = provider.getMeter('exit137', version);
  observeProcess(meter);
  return {
    meter,
    shutdown: () =>
      provider
        .shutdown({ timeoutMillis: shutdownTimeoutMs })
        .catch((error: unknown) => logger.warn('self-telemetry could not be closed', { error: describeError(error) })),
  };
}

type ReaderConfig = TelemetryConfig['metrics']['readers'][number];

async function makeReader({ pull, periodic }: ReaderConfig, logger: Logger): Promise<IMetricReader | undefined> {
  try {
    if (periodic !== undefined) return await makePeriodicReader(periodic);
    return pull === undefined ? undefined : await makePullReader(pull.exporter.prometheus, logger);
  } catch (error) {
    const what = periodic === undefined ? 'offered for scraping' : 'sent';
    logger.warn(`self-telemetry cannot be ${what}; going on without`, { error: describeError(error) });
    return undefined;
  }
}

async function makePullReader(
  { host, port }: NonNullable<ReaderConfig['pull']>['exporter']['prometheus'],
  logger: Logger,
): Promise<IMetricReader> {
  let told = false;
  const reader = new PrometheusReader(host, port, (error) => {
    if (!told) logger.warn('a scrape of self-telemetry failed; told once', { error: describeError(error) });
    told = true;
  });
  const address = await reader.start();
  logger.info('self-telemetry can be scraped', { url: `http://${address}/metrics` });
  return reader;
}

/** gRPC is loaded where it is configured only: it costs memory. */
async function makePeriodicReader({
  interval,
  timeout,
  exporter,
}: NonNullable<ReaderConfig['periodic']>): Promise<IMetricReader> {
  const { OTLPMetricExporter } = await import('@opentelemetry/exporter-metrics-otlp-grpc');
  const { credentials, Metadata } = await import('@grpc/grpc-js');
  const { endpoint, certificate, headers } = exporter.otlp;
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(headers)) metadata.set(key, value);
  const exportTimeoutMillis = Math.min(timeout, interval);
  return new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter({
      url: endpoint,
      metadata,
      timeoutMillis: exportTimeoutMillis,
      credentials: endpoint.startsWith('http:')
        ? credentials.createInsecure()
        : credentials.createSsl(certificate === undefined ? undefined : await readCertificate(certificate)),
    }),
    exportIntervalMillis: interval,
    exportTimeoutMillis,
  });
}

async function readCertificate(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new Error(`cannot read certificate "${path}"`, { cause: error });
  }
}

function observeProcess(meter: Meter): void {
  meter
    .createObservableCounter('otelcol_process_uptime', { unit: 's', description: 'Time since the process started.' })
    .addCallback((result) => result.observe(process.uptime()));
  meter
    .createObservableGauge('otelcol_process_memory_rss', { unit: 'By', description: 'Resident memory.' })
    .addCallback((result) => result.observe(process.memoryUsage.rss()));
  meter
    .createObservableCounter('otelcol_process_cpu_seconds', { unit: 's', description: 'CPU time, user and system.' })
    .addCallback((result) => {
      const { user, system } = process.cpuUsage();
      result.observe((user + system) / 1e6);
    });
}
