// What it costs to serialise, compress and send the metrics of a large node, and how fast an event leaves.
// Usage: node test/bench/exporters.bench.ts [--containers 250] [--points 35].
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { jsonSerializer, makeProtobufSerializer } from '../../pipelines/exporters/sending/serializer.ts';
import { startGrpcEndpoint, startHttpEndpoint, type OtlpEndpoint } from '../helpers/otlp-endpoint.ts';
import { makeLog } from '../helpers/telemetry.ts';
import { BATCHES, changeValues, makeNode, startSending, type ExporterType, type Footprint } from './exporter-load.ts';
import { formatMs, percentile, printReport } from './report.ts';

const { values } = parseArgs({
  options: { containers: { type: 'string', default: '250' }, points: { type: 'string', default: '35' } },
});
const containers = Number(values.containers);
const points = Number(values.points);

printReport(
  `Exporters: serialising ${containers} containers with ${points} points each`,
  'One request with the metrics of all containers, values changing; median and 99th percentile of 200.',
  [serializerRow('protobuf', makeProtobufSerializer().metrics), serializerRow('JSON', jsonSerializer.metrics)],
);
printReport(
  'Exporters: an event on its way',
  'From consumeLogs until the server, in the same process, has read the request; queue enabled, gzip; 300 events, ' +
    '10 to 30 ms apart.',
  [await latencyRow('otlp_grpc'), await latencyRow('otlp_http')],
);
printReport(
  `Exporters: sending ${containers} containers with ${points} points each`,
  `A process that does nothing else, not bundled; ${BATCHES} batches 400 ms apart, gzip; CPU of one batch, all threads.`,
  [await footprintRow('otlp_grpc'), await footprintRow('otlp_http')],
);

function startEndpoint(type: ExporterType): Promise<OtlpEndpoint> {
  return type === 'otlp_grpc' ? startGrpcEndpoint() : startHttpEndpoint();
}

function serializerRow(
  encoding: string,
  serialize: (metrics: readonly ResourceMetrics[]) => Uint8Array,
): Record<string, string> {
  const serializeMs: number[] = [];
  const gzipMs: number[] = [];
  let bytes = 0;
  let gzippedBytes = 0;
  const metrics = makeNode(containers, points);
  for (let i = 0; i < 300; i++) {
    changeValues(metrics, i);
    const beganMs = performance.now();
    const body = serialize(metrics);
    const serializedMs = performance.now();
    const gzipped = gzipSync(body);
    if (i < 100) continue;
    serializeMs.push(serializedMs - beganMs);
    gzipMs.push(performance.now() - serializedMs);
    bytes = body.byteLength;
    gzippedBytes = gzipped.byteLength;
  }
  return {
    encoding,
    serialise: formatMs(percentile(serializeMs, 0.5)),
    'serialise p99': formatMs(percentile(serializeMs, 0.99)),
    gzip: formatMs(percentile(gzipMs, 0.5)),
    size: `${Math.round(bytes / 1024)} KiB`,
    gzipped: `${Math.round(gzippedBytes / 1024)} KiB`,
  };
}

async function latencyRow(type: ExporterType): Promise<Record<string, string>> {
  const server = await startEndpoint(type);
  const exporter = await startSending(type, server.endpoint);
  const latenciesMs: number[] = [];
  for (let n = 1; n <= 350; n++) {
    await sleep(10 + Math.random() * 20);
    const beganMs = performance.now();
    await exporter.consumeLogs([makeLog({ attributes: { n } })]);
    await server.request(n);
    if (n > 50) latenciesMs.push(performance.now() - beganMs);
  }
  await exporter.shutdown(AbortSignal.timeout(1_000));
  await server.close();
  return {
    exporter: type,
    p50: formatMs(percentile(latenciesMs, 0.5)),
    p99: formatMs(percentile(latenciesMs, 0.99)),
    max: formatMs(Math.max(...latenciesMs)),
  };
}

async function footprintRow(type: ExporterType): Promise<Record<string, string>> {
  const server = await startEndpoint(type);
  const args = [type, server.endpoint, String(containers), String(points)];
  const execArgv = ['--max-semi-space-size=1'];
  const child = fork(new URL('exporter-load.ts', import.meta.url), args, { execArgv });
  const [{ cpuMs, startRssMb, highestRssMb }] = (await once(child, 'message')) as [Footprint];
  await server.close();
  return {
    exporter: type,
    'CPU of a batch': formatMs(cpuMs),
    'of a core at 10 s': `${((cpuMs / 10_000) * 100).toFixed(2)} %`,
    'RSS at start': `${Math.round(startRssMb)} MB`,
    'highest RSS': `${Math.round(highestRssMb)} MB`,
  };
}
