import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AggregationTemporality, DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { ValueType } from '@opentelemetry/api';
import { Frame, MetricTemplate, toHrTime, type Slot } from '../../receiver/metrics-frame.ts';

interface Facts {
  kills?: number;
  swaps?: number;
  usage?: number;
  startMs: number;
}

const startMs = 1_700_000_000_000;
const resource = resourceFromAttributes({ 'container.id': 'a' });
const scope = { name: 'scope', version: '1' };
const events = new MetricTemplate('events', {
  enabled: true,
  identity: 'workload',
  kind: 'sum',
  monotonic: true,
  type: 'int',
  unit: '{event}',
  description: 'Events.',
});
const usage = new MetricTemplate('usage', {
  enabled: true,
  identity: 'workload',
  kind: 'gauge',
  type: 'double',
  unit: 'By',
  description: 'Usage.',
});
const startOf = (facts: Facts) => facts.startMs;
const slots: readonly Slot<Facts>[] = [
  { template: events, attributes: { event: 'kill' }, value: ({ kills }) => kills, startMs: startOf },
  { template: usage, value: (facts) => facts.usage, startMs: startOf },
  { template: events, attributes: { event: 'swap' }, value: ({ swaps }) => swaps, startMs: startOf },
];

const makeFrame = (facts: Facts) => new Frame(resource, scope, slots, facts);

function metricsOf(frame: Frame<Facts>): MetricData[] {
  assert.equal(frame.metrics.scopeMetrics.length, 1);
  return frame.metrics.scopeMetrics[0]!.metrics;
}

describe('a frame', () => {
  it('is the metrics of a resource, with the points of one metric together', () => {
    const facts: Facts = { kills: 0, swaps: 3, usage: 0.5, startMs };
    const frame = makeFrame(facts);
    assert.equal(frame.fill(resource, facts, toHrTime(startMs + 1)), true);
    assert.equal(frame.metrics.resource, resource);
    assert.equal(frame.metrics.scopeMetrics[0]!.scope, scope);
    const endTime = toHrTime(startMs + 1);
    const aggregationTemporality = AggregationTemporality.CUMULATIVE;
    assert.deepEqual(metricsOf(frame), [
      {
        descriptor: { name: 'events', unit: '{event}', description: 'Events.', valueType: ValueType.INT },
        aggregationTemporality,
        dataPointType: DataPointType.SUM,
        isMonotonic: true,
        dataPoints: [
          { startTime: toHrTime(startMs), endTime, attributes: { event: 'kill' }, value: 0 },
          { startTime: toHrTime(startMs), endTime, attributes: { event: 'swap' }, value: 3 },
        ],
      },
      {
        descriptor: { name: 'usage', unit: 'By', description: 'Usage.', valueType: ValueType.DOUBLE },
        aggregationTemporality,
        dataPointType: DataPointType.GAUGE,
        dataPoints: [{ startTime: [0, 0], endTime, attributes: {}, value: 0.5 }],
      },
    ]);
  });

  it('is filled again in place: new values and times, the same objects, starts and attributes', () => {
    const frame = makeFrame({ kills: 1, usage: 10, startMs });
    frame.fill(resource, { kills: 1, usage: 10, startMs }, toHrTime(startMs + 1000));
    const [sum, gauge] = metricsOf(frame);
    const [point] = sum!.dataPoints;
    const { startTime, attributes } = point!;
    assert.equal(frame.fill(resource, { kills: 2, usage: 20, startMs }, toHrTime(startMs + 2000)), true);
    assert.equal(metricsOf(frame)[0], sum);
    assert.equal(sum!.dataPoints[0], point);
    assert.deepEqual([point!.value, gauge!.dataPoints[0]!.value], [2, 20]);
    for (const { dataPoints } of metricsOf(frame)) {
      assert.equal(dataPoints.length, 1);
      assert.deepEqual(dataPoints[0]!.endTime, toHrTime(startMs + 2000));
    }
    assert.equal(point!.startTime, startTime);
    assert.equal(point!.attributes, attributes);
    assert.deepEqual(gauge!.dataPoints[0]!.startTime, [0, 0]);
  });

  it('takes a new start for its sums when the counter began anew', () => {
    const frame = makeFrame({ kills: 7, startMs });
    frame.fill(resource, { kills: 7, startMs }, toHrTime(startMs + 1000));
    frame.fill(resource, { kills: 0, startMs: startMs + 1500 }, toHrTime(startMs + 2000));
    const [point] = metricsOf(frame)[0]!.dataPoints;
    assert.deepEqual(point!.startTime, toHrTime(startMs + 1500));
  });

  it('is of no more use when a point has vanished or come between two fills', () => {
    const both: Facts = { kills: 1, usage: 10, startMs };
    for (const other of [
      { ...both, usage: undefined },
      { ...both, usage: NaN },
      { ...both, kills: undefined },
      { ...both, swaps: 0 },
    ]) {
      const frame = makeFrame(both);
      assert.equal(frame.fill(resource, both, toHrTime(startMs)), true);
      assert.equal(frame.fill(resource, other, toHrTime(startMs)), false);
    }
  });

  it('is of no more use for another resource, and leaves its numbers as they were sent', () => {
    const frame = makeFrame({ kills: 1, startMs });
    frame.fill(resource, { kills: 1, startMs }, toHrTime(startMs + 1000));
    const renamed = resourceFromAttributes({ 'container.id': 'a' });
    assert.equal(frame.fill(renamed, { kills: 2, startMs }, toHrTime(startMs + 2000)), false);
    const [point] = metricsOf(frame)[0]!.dataPoints;
    assert.equal(point!.value, 1);
    assert.deepEqual(point!.endTime, toHrTime(startMs + 1000));
  });

  it('has no metric without a point', () => {
    assert.deepEqual(
      metricsOf(makeFrame({ usage: 0, startMs })).map(({ descriptor: { name } }) => name),
      ['usage'],
    );
    assert.deepEqual(metricsOf(makeFrame({ startMs })), []);
  });
});
