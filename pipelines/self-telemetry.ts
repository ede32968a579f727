import type { Meter } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider, PeriodicExportingMetricReader, type IMetricReader } from '@opentelemetry/sdk-metrics';
import type { Logger } from './component.ts';
import { describeError } from './errors.ts';
import type { TelemetryConfig } from './telemetry-config.ts';

/** What the service tells of itself. */
export interface SelfTelemetry {
  meter: Meter;
  /** Sends what is left and closes the readers. Never rejects. */
  shutdown(): Promise<void>;
}

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
        .shutdown()
        .catch((error: unknown) => logger.warn('self-telemetry could not be closed', { error: describeError(error) })),
  };
}

type ReaderConfig = TelemetryConfig['metrics']['readers'][number];

/** The exporters are loaded where they are configured only: each costs memory. */
async function makeReader({ pull, periodic }: ReaderConfig, logger: Logger): Promise<IMetricReader | undefined> {
  if (periodic !== undefined) {
    const { OTLPMetricExporter } = await import('@opentelemetry/exporter-metrics-otlp-grpc');
    const { endpoint, headers } = periodic.exporter.otlp;
    const { Metadata } = await import('@grpc/grpc-js');
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(headers)) metadata.set(key, value);
    const exporter = new OTLPMetricExporter({ url: endpoint, metadata });
    return new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: periodic.interval });
  }
  if (pull === undefined) return undefined;
  const { PrometheusExporter } = await import('@opentelemetry/exporter-prometheus');
  const { host, port } = pull.exporter.prometheus;
  const reader = new PrometheusExporter({ host, port, preventServerStart: true });
  try {
    await reader.startServer();
    return reader;
  } catch (error) {
    const endpoint = `${host}:${port}`;
    logger.warn('self-telemetry cannot be offered for scraping; going on without', {
      endpoint,
      error: describeError(error),
    });
    return undefined;
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
