import { ValueType, type Attributes } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import {
  AggregationTemporality,
  DataPointType,
  type GaugeMetricData,
  type ResourceMetrics,
  type SumMetricData,
} from '@opentelemetry/sdk-metrics';

const SCOPE = { name: 'exit137', version: '1.2.3' };

/** 2026-11-21T10:42:07.123456789Z. */
export const SOME_TIME: [number, number] = [1_795_257_727, 123_456_789];

const START_TIME: [number, number] = [1_795_250_000, 1];

/** Metrics of `resources` containers with `points` gauges each. */
export function makeMetrics(resources: number, points: number): ResourceMetrics[] {
  return Array.from({ length: resources }, (_, index) => ({
    resource: containerResource(index),
    scopeMetrics: [
      {
        scope: SCOPE,
        metrics: Array.from({ length: points }, (_unused, point) => makeGauge(`metric_${point}`, point)),
      },
    ],
  }));
}

/** An integer gauge with one point. */
export function makeGauge(name: string, value: number, attributes: Attributes = {}): GaugeMetricData {
  return {
    descriptor: { name, description: `What ${name} is.`, unit: 'By', valueType: ValueType.INT },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPointType: DataPointType.GAUGE,
    dataPoints: [{ startTime: START_TIME, endTime: SOME_TIME, attributes, value }],
  };
}

/** A cumulative integer sum with one point. */
export function makeSum(name: string, value: number, attributes: Attributes = {}, isMonotonic = true): SumMetricData {
  return { ...makeGauge(name, value, attributes), dataPointType: DataPointType.SUM, isMonotonic };
}

/** The record of an OOM kill; `change` replaces fields. */
export function makeLog(change: Partial<ReadableLogRecord> = {}): ReadableLogRecord {
  return {
    hrTime: SOME_TIME,
    hrTimeObserved: [SOME_TIME[0], SOME_TIME[1] + 1],
    severityNumber: 17,
    severityText: 'ERROR',
    eventName: 'container.oom_kill',
    body: "The kernel's OOM killer killed a child process of web-1; its main process lives on.",
    attributes: { 'oom.scope': 'container', 'oom.victim': 'child', 'oom.group': false, 'process.pid': 4711 },
    droppedAttributesCount: 0,
    resource: LOG_RESOURCE,
    instrumentationScope: SCOPE,
    ...change,
  };
}

function containerResource(index: number): ResourceMetrics['resource'] {
  return resourceFromAttributes({
    'container.id': index.toString(16).padStart(64, '0'),
    'container.name': `web-${index}`,
    'container.runtime': 'docker',
    'host.name': 'node-1',
  });
}

const LOG_RESOURCE = containerResource(1);
