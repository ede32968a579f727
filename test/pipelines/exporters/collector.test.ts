import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ValueType } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { ExporterFactory } from '../../../pipelines/component.ts';
import { file } from '../../../pipelines/exporters/file.ts';
import { otlpGrpc } from '../../../pipelines/exporters/otlp-grpc.ts';
import { otlpHttp } from '../../../pipelines/exporters/otlp-http.ts';
import { startCollector } from '../../helpers/collector.ts';
import { eventually } from '../../helpers/eventually.ts';
import { requires } from '../../helpers/requires.ts';
import { makeGauge, makeLog, makeMetrics, makeSum } from '../../helpers/telemetry.ts';
import { startExporter } from './exporters.ts';

test(
  'a real Collector takes every encoding, and writes to a file what we write',
  requires('collector'),
  async (context) => {
    const collector = await startCollector();
    context.after(() => collector.stop());
    const folder = await mkdtemp(join(tmpdir(), 'exit137-file-'));
    context.after(() => rm(folder, { recursive: true }));
    const path = join(folder, 'otlp.jsonl');

    await send(file, { path });
    const expected = (await readFile(path, 'utf8')).trimEnd().split('\n').toSorted();

    const sections: (() => Promise<void>)[] = [
      () => send(otlpGrpc, { endpoint: `http://127.0.0.1:${collector.grpcPort}` }),
      () => send(otlpHttp, { endpoint: `http://127.0.0.1:${collector.httpPort}` }),
      () =>
        send(otlpHttp, { endpoint: `http://127.0.0.1:${collector.httpPort}`, encoding: 'json', compression: 'zstd' }),
    ];
    for (const [index, sendAll] of sections.entries()) {
      await sendAll();
      const received = await eventually('the Collector has written what it received', async () => {
        const all = await collector.received();
        return all.length === 2 * (index + 1) ? all.slice(-2) : undefined;
      });
      // Text, not objects: the order of keys and the form of numbers are the Collector's, too.
      assert.deepEqual(received.map((request) => JSON.stringify(request)).toSorted(), expected);
    }

    async function send<Config>(factory: ExporterFactory<Config>, section: Record<string, unknown>): Promise<void> {
      const { exporter, settings } = await startExporter(context, factory, section);
      await exporter.consumeMetrics(everyMetric());
      await exporter.consumeLogs(everyLog());
      await exporter.shutdown(AbortSignal.timeout(10_000));
      assert.deepEqual(settings.lines, []);
    }
  },
);

function everyMetric(): ReturnType<typeof makeMetrics> {
  const metrics = makeMetrics(2, 1);
  const { descriptor, ...ratio } = makeGauge('ratio', 0.5);
  const absent = makeGauge('without.start', 0);
  metrics[0]!.scopeMetrics[0]!.metrics.push(
    makeSum('sum', 3, { 'container.exit.reason': 'error' }),
    makeSum('sum.negative', -(2 ** 53), {}, false),
    { ...ratio, descriptor: { ...descriptor, valueType: ValueType.DOUBLE, description: '', unit: '' } },
    { ...absent, dataPoints: [{ ...absent.dataPoints[0]!, startTime: [0, 0] }] },
  );
  return metrics;
}

function everyLog(): ReturnType<typeof makeLog>[] {
  const attributes = {
    text: 'x',
    int: -7,
    double: 0.5,
    bool: false,
    list: ['a', 1],
    empty: '',
    tasks: [{ pid: 1, comm: 'x' }],
    bytes: Buffer.from([0, 255]),
    huge: 1e300,
  };
  const spanContext = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 1 };
  const bare = { body: undefined, eventName: undefined, severityText: undefined, severityNumber: undefined };
  return [
    makeLog({ attributes, spanContext }),
    makeLog({ ...bare, attributes: {}, resource: resourceFromAttributes({}) }),
  ];
}
