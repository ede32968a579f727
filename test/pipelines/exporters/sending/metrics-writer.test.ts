import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ValueType, type Attributes, type HrTime } from '@opentelemetry/api';
import { ProtobufMetricsSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes, type Resource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  DataPointType,
  type MetricData,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics';
import fc from 'fast-check';
import { MetricsWriter } from '../../../../pipelines/exporters/sending/metrics-writer.ts';
import { decodeRequest } from '../../../helpers/otlp-decoding.ts';
import { makeGauge, makeMetrics, makeSum, SOME_TIME } from '../../../helpers/telemetry.ts';

const SCOPE = { name: 'exit137', version: '1.2.3' };

/** What the SDK's serializer makes of the same metrics, read by the same decoder. */
function decodeExpected(metrics: readonly ResourceMetrics[]): unknown {
  return decode(Buffer.concat(metrics.map((one) => ProtobufMetricsSerializer.serializeRequest(one)!)));
}

function decode(bytes: Uint8Array): unknown {
  return decodeRequest('metrics', 'proto', Buffer.from(bytes)).metrics;
}

function metricsOf(resource: Resource, ...metrics: MetricData[]): ResourceMetrics {
  return { resource, scopeMetrics: [{ scope: SCOPE, metrics }] };
}

test('any batches, one after the other, arrive as the SDK would send them', () => {
  const time = fc.tuple(fc.integer({ min: 0, max: 9_000_000_000 }), fc.integer({ min: 0, max: 999_999_999 }));
  const attributes = fc.constantFrom<Attributes>(
    {},
    { 'container.exit.reason': 'error' },
    { a: [1, 2], b: true, c: 0.5 },
  );
  const text = fc.constantFrom('', 'By', 'ünit', 'x'.repeat(300));
  const descriptors = fc.record({
    name: fc.string(),
    description: text,
    unit: text,
    valueType: fc.constantFrom(ValueType.INT, ValueType.DOUBLE),
  });
  // A pool that batches draw from, so that the same descriptors come again, as they do from a receiver.
  const batches = fc
    .tuple(fc.array(descriptors, { minLength: 1, maxLength: 4 }), fc.constantFrom(1, 3))
    .chain(([pool, resourceCount]) => {
      const metric = fc
        .record({
          descriptor: fc.constantFrom(...pool),
          aggregationTemporality: fc.constantFrom(AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA),
          dataPointType: fc.constantFrom(DataPointType.SUM, DataPointType.GAUGE),
          isMonotonic: fc.boolean(),
          dataPoints: fc.array(fc.record({ startTime: time, endTime: time, attributes, value: fc.maxSafeInteger() }), {
            maxLength: 3,
          }),
        })
        .map((one) => one as MetricData);
      const batch = fc.array(fc.tuple(fc.nat(resourceCount - 1), fc.array(metric, { maxLength: 3 })), { maxLength: 3 });
      return fc.array(batch, { minLength: 1, maxLength: 5 });
    });
  const resources = [0, 1, 2].map((n) => resourceFromAttributes({ 'container.name': `web-${n}`, n, list: ['a', n] }));

  fc.assert(
    fc.property(batches, (all) => {
      const writer = new MetricsWriter();
      for (const batch of all) {
        const metrics = batch.map(([resource, found]) => metricsOf(resources[resource]!, ...found));
        assert.deepEqual(decode(writer.write(metrics)), decodeExpected(metrics));
      }
    }),
    { numRuns: 300 },
  );
});

test('a batch of the same shape carries its own times and values', () => {
  const writer = new MetricsWriter();
  const [first] = makeMetrics(1, 3);
  writer.write([first!]);
  for (const value of [0, 1, -1, 2 ** 31, 2 ** 32, -(2 ** 32), 2 ** 53, -(2 ** 53)]) {
    const endTime: HrTime = [SOME_TIME[0] + 1, 5];
    const scopeMetrics = first!.scopeMetrics.map(({ scope, metrics }) => ({
      scope,
      metrics: metrics.map((metric) => ({
        ...metric,
        dataPoints: [{ ...metric.dataPoints[0]!, endTime, value }],
      })),
    })) as ResourceMetrics['scopeMetrics'];
    const next = { ...first!, scopeMetrics };
    assert.deepEqual(decode(writer.write([next])), decodeExpected([next]));
  }
});

test('what would be larger than the bound is not written, unless it is of one resource', () => {
  const writer = new MetricsWriter();
  const metrics = makeMetrics(2, 3);
  const length = writer.write(metrics).byteLength;
  assert.equal(writer.writeWithin(metrics, length)?.byteLength, length);
  assert.equal(writer.writeWithin(metrics, length - 1), undefined);
  assert.deepEqual(decode(writer.writeWithin([metrics[0]!], 1)!), decodeExpected([metrics[0]!]));
});

test('what was written before is not touched by what is written later', () => {
  const writer = new MetricsWriter();
  const [metrics] = makeMetrics(1, 1);
  const first = writer.write([metrics!]);
  const before = Buffer.from(first);
  const [gauge] = metrics!.scopeMetrics[0]!.metrics;
  writer.write([
    metricsOf(metrics!.resource, { ...gauge!, dataPoints: [{ ...gauge!.dataPoints[0]!, value: 99 }] } as MetricData),
  ]);
  assert.deepEqual(Buffer.from(first), before);
});

test('memory that was given back is used again, and memory that was not is left alone', () => {
  const writer = new MetricsWriter();
  const large = makeMetrics(3, 3);
  const small = makeMetrics(2, 3);
  const first = writer.write(large);
  const second = writer.write(large);
  assert.notEqual(first.buffer, second.buffer);
  writer.recycle(first);
  const third = writer.write(small);
  assert.equal(third.buffer, first.buffer);
  assert.deepEqual(decode(third), decodeExpected(small));
  assert.deepEqual(decode(second), decodeExpected(large));
  writer.recycle(third);
  assert.deepEqual(decode(writer.write(large)), decodeExpected(large));
});

test('one resource may come twice in a batch, with other metrics', () => {
  const [one] = makeMetrics(1, 0);
  const batch = [metricsOf(one!.resource, makeSum('a', 1)), metricsOf(one!.resource, makeGauge('b', 2))];
  const writer = new MetricsWriter();
  for (let i = 0; i < 3; i++) assert.deepEqual(decode(writer.write(batch)), decodeExpected(batch));
});

test('doubles keep every bit, and histograms among them arrive, too', () => {
  const resource = resourceFromAttributes({ 'host.name': 'node-1' });
  const descriptor = { name: 'd', description: '', unit: '1', valueType: ValueType.DOUBLE };
  const histogram: MetricData = {
    descriptor: { ...descriptor, name: 'h' },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPointType: DataPointType.HISTOGRAM,
    dataPoints: [
      {
        startTime: SOME_TIME,
        endTime: SOME_TIME,
        attributes: {},
        value: { count: 1, sum: 2, min: 2, max: 2, buckets: { boundaries: [1], counts: [0, 1] } },
      },
    ],
  };
  const writer = new MetricsWriter();
  for (const value of [0.1, -0, Infinity, 5e-324]) {
    const batch: ResourceMetrics[] = [
      metricsOf(resource, { ...makeGauge('d', value), descriptor }),
      metricsOf(resource, { ...makeGauge('d', value), descriptor }, histogram),
    ];
    assert.deepEqual(decode(writer.write(batch)), decodeExpected(batch));
  }
});

test('the schema of a resource and of a scope are sent', () => {
  const resource = resourceFromAttributes({ a: 1 }, { schemaUrl: 'https://opentelemetry.io/schemas/1.45.0' });
  const scope = { name: 'exit137', schemaUrl: 'https://example.org/1' };
  const batch: ResourceMetrics[] = [{ resource, scopeMetrics: [{ scope, metrics: [makeGauge('g', 1)] }] }];
  const bytes = Buffer.from(new MetricsWriter().write(batch));
  assert.ok(bytes.includes('https://opentelemetry.io/schemas/1.45.0'));
  assert.ok(bytes.includes('https://example.org/1'));
  assert.deepEqual(decode(bytes), decodeExpected(batch));
});

test('no metrics are an empty request', () => {
  assert.equal(new MetricsWriter().write([]).byteLength, 0);
});
