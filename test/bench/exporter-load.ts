// A process that sends the metrics of a node and tells what that cost it; exporters.bench.ts starts it.
import { setTimeout as sleep } from 'node:timers/promises';
import { createNoopMeter } from '@opentelemetry/api';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { Component, ExporterFactory, LogsConsumer, MetricsConsumer } from '../../pipelines/component.ts';
import { otlpGrpc } from '../../pipelines/exporters/otlp-grpc.ts';
import { otlpHttp } from '../../pipelines/exporters/otlp-http.ts';
import { makeMetrics } from '../helpers/telemetry.ts';

export type ExporterType = 'otlp_grpc' | 'otlp_http';

/** What a process took. */
export interface Footprint {
  /** CPU time of one batch, all threads. */
  cpuMs: number;
  startRssMb: number;
  highestRssMb: number;
}

/** Batches that are counted; some go before them to warm up. */
export const BATCHES = 60;

const WARM_UP_BATCHES = 20;

if (import.meta.main) {
  const [type, endpoint, containers, points] = process.argv.slice(2) as [ExporterType, string, string, string];
  const footprint = await sendBatches(type, endpoint, makeNode(Number(containers), Number(points)));
  process.send?.(footprint);
  process.disconnect();
}

/** An exporter that sends to `endpoint`. */
export function startSending(
  type: ExporterType,
  endpoint: string,
): Promise<Component & MetricsConsumer & LogsConsumer> {
  return type === 'otlp_grpc' ? start(otlpGrpc, endpoint) : start(otlpHttp, endpoint);
}

/** Metrics of a node whose containers share scope, descriptors and attributes, as those of the receiver do. */
export function makeNode(containers: number, points: number): ResourceMetrics[] {
  const metrics = makeMetrics(containers, points);
  const [first] = metrics;
  for (const { scopeMetrics } of metrics) {
    for (const [index, metric] of scopeMetrics[0]!.metrics.entries()) {
      const like = first!.scopeMetrics[0]!.metrics[index]!;
      Object.assign(metric, { descriptor: like.descriptor });
      Object.assign(metric.dataPoints[0]!, { attributes: like.dataPoints[0]!.attributes });
    }
  }
  return metrics;
}

/** Gives all points the time of batch number `n`, and a third of them another value. */
export function changeValues(metrics: readonly ResourceMetrics[], n: number): void {
  const endTime = [1_795_257_727 + n, 123_456_789];
  for (const metric of metrics.flatMap(({ scopeMetrics }) => scopeMetrics[0]!.metrics)) {
    const [point] = metric.dataPoints;
    Object.assign(point!, { endTime });
    if (Math.random() < 1 / 3) Object.assign(point!, { value: Math.floor(Math.random() * 2 ** 28) });
  }
}

async function sendBatches(type: ExporterType, endpoint: string, metrics: ResourceMetrics[]): Promise<Footprint> {
  const exporter = await startSending(type, endpoint);
  const startRssMb = rssMb();
  let highestRssMb = startRssMb;
  let cpuMs = 0;
  for (let n = 0; n < WARM_UP_BATCHES + BATCHES; n++) {
    changeValues(metrics, n);
    const before = process.cpuUsage();
    await exporter.consumeMetrics(metrics);
    await sleep(400);
    const { user, system } = process.cpuUsage(before);
    if (n >= WARM_UP_BATCHES) cpuMs += (user + system) / 1000;
    highestRssMb = Math.max(highestRssMb, rssMb());
  }
  await exporter.shutdown(AbortSignal.timeout(1_000));
  return { cpuMs: cpuMs / BATCHES, startRssMb, highestRssMb };
}

async function start<Config>(
  factory: ExporterFactory<Config>,
  endpoint: string,
): Promise<Component & MetricsConsumer & LogsConsumer> {
  const noLine = () => {};
  const exporter = factory.create(factory.configSchema.parse({ endpoint, tls: { insecure: true } }), {
    id: factory.type,
    version: '0.0.0',
    meter: createNoopMeter(),
    logger: { debug: noLine, info: noLine, warn: noLine, error: noLine },
  });
  await exporter.start();
  return exporter;
}

function rssMb(): number {
  return process.memoryUsage.rss() / 1e6;
}
