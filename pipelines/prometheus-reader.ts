import type { Attributes } from '@opentelemetry/api';
import { DataPointType, MetricReader, type MetricData, type ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { makeHttpEndpoint, type HttpEndpoint } from './http-endpoint.ts';

/**
 * Offers our own metrics for scraping at `/metrics`, under their own names: like the Collector's, they get no `_total`
 * and no unit.
 */
export class PrometheusReader extends MetricReader {
  readonly #endpoint: HttpEndpoint;

  constructor(host: string, port: number, onError: (error: unknown) => void) {
    super();
    const answer = async () => {
      const { resourceMetrics } = await this.collect();
      return { status: 200, contentType: 'text/plain; version=0.0.4; charset=utf-8', body: toText(resourceMetrics) };
    };
    this.#endpoint = makeHttpEndpoint({ host, port, path: '/metrics', answer, onError });
  }

  /** Rejects when it cannot listen. Resolves with the address and the port that it listens on. */
  start(): Promise<string> {
    return this.#endpoint.start();
  }

  protected override async onShutdown(): Promise<void> {
    await this.#endpoint.close();
  }

  /** Nothing waits here to be sent. */
  protected override async onForceFlush(): Promise<void> {}
}

/**
 * The text format of Prometheus, 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/):
 *
 *     # TYPE otelcol_exporter_sent_log_records counter
 *     otelcol_exporter_sent_log_records{exporter="debug"} 2
 */
function toText({ resource, scopeMetrics }: ResourceMetrics): string {
  const families = scopeMetrics.flatMap(({ metrics }) => metrics).map(toFamily);
  return ['# TYPE target_info gauge\n', sampleOf('target_info', resource.attributes, 1), ...families].join('');
}

/** We make counters and gauges only. */
function toFamily(metric: MetricData): string {
  if (metric.dataPointType !== DataPointType.SUM && metric.dataPointType !== DataPointType.GAUGE) return '';
  const { name, description } = metric.descriptor;
  const type = metric.dataPointType === DataPointType.SUM && metric.isMonotonic ? 'counter' : 'gauge';
  const help = description === '' ? '' : `# HELP ${name} ${escape(description)}\n`;
  const samples = metric.dataPoints.map(({ attributes, value }) => sampleOf(name, attributes, value));
  return `${help}# TYPE ${name} ${type}\n${samples.join('')}`;
}

function sampleOf(name: string, attributes: Attributes, value: number): string {
  const labels = Object.entries(attributes).map(([key, text]) => {
    return `${key.replaceAll(/[^A-Za-z0-9_]/g, '_')}="${escape(String(text)).replaceAll('"', '\\"')}"`;
  });
  return `${name}${labels.length > 0 ? `{${labels.join(',')}}` : ''} ${value}\n`;
}

function escape(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}
