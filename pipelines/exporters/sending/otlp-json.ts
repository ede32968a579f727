import { ValueType, type AnyValue, type Attributes, type HrTime } from '@opentelemetry/api';
import type { InstrumentationScope } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import {
  AggregationTemporality,
  DataPointType,
  type DataPoint,
  type ExponentialHistogram,
  type Histogram,
  type MetricData,
  type ResourceMetrics,
  type ScopeMetrics,
} from '@opentelemetry/sdk-metrics';
import { isInt64 } from './protobuf-message.ts';

/**
 * OTLP in its JSON encoding, as plain objects for `JSON.stringify`. It follows the specification where the SDK's own
 * JSON serializer does not: 64-bit integers are decimal strings, a double that is not finite is the string "NaN",
 * "Infinity" or "-Infinity", one request holds many resources.
 *
 * https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
 */

type Json = Record<string, unknown>;

/** An ExportMetricsServiceRequest, which is also the MetricsData that a file of OTLP JSON lines holds. */
export function metricsRequest(metrics: readonly ResourceMetrics[]): Json {
  return {
    resourceMetrics: metrics.map(({ resource, scopeMetrics }) => ({
      resource: toResource(resource),
      scopeMetrics: scopeMetrics.map(toScopeMetrics),
      schemaUrl: nonEmpty(resource.schemaUrl),
    })),
  };
}

/** An ExportLogsServiceRequest, which is also the LogsData that a file of OTLP JSON lines holds. */
export function logsRequest(logs: readonly ReadableLogRecord[]): Json {
  const byResource = Map.groupBy(logs, (record) => record.resource);
  return {
    resourceLogs: Array.from(byResource, ([resource, records]) => ({
      resource: toResource(resource),
      scopeLogs: Array.from(
        Map.groupBy(records, (record) => record.instrumentationScope),
        ([scope, ofScope]) => ({
          scope: toScope(scope),
          logRecords: ofScope.map(toLogRecord),
          schemaUrl: nonEmpty(scope.schemaUrl),
        }),
      ),
      schemaUrl: nonEmpty(resource.schemaUrl),
    })),
  };
}

function toResource(resource: Resource): Json {
  return { attributes: toKeyValues(resource.attributes) };
}

function toScope(scope: ReadableLogRecord['instrumentationScope'] | InstrumentationScope): Json {
  const attributes = 'attributes' in scope ? scope.attributes : undefined;
  return {
    name: scope.name,
    version: nonEmpty(scope.version),
    attributes: attributes && toKeyValues(attributes),
  };
}

function toLogRecord(record: ReadableLogRecord): Json {
  const { spanContext } = record;
  return {
    timeUnixNano: toNanoseconds(record.hrTime),
    observedTimeUnixNano: toNanoseconds(record.hrTimeObserved),
    severityNumber: record.severityNumber,
    severityText: nonEmpty(record.severityText),
    // Even where there is none: so writes the Collector.
    body: toAnyValue(record.body),
    attributes: toKeyValues(record.attributes),
    droppedAttributesCount: record.droppedAttributesCount || undefined,
    flags: spanContext?.traceFlags || undefined,
    traceId: spanContext?.traceId,
    spanId: spanContext?.spanId,
    eventName: nonEmpty(record.eventName),
  };
}

function toScopeMetrics({ scope, metrics }: ScopeMetrics): Json {
  return { scope: toScope(scope), metrics: metrics.map(toMetric), schemaUrl: nonEmpty(scope.schemaUrl) };
}

function toMetric(metric: MetricData): Json {
  const { name, description, unit, valueType } = metric.descriptor;
  const json: Json = { name, description: nonEmpty(description), unit: nonEmpty(unit) };
  const aggregationTemporality = toTemporality(metric.aggregationTemporality);
  switch (metric.dataPointType) {
    case DataPointType.SUM: {
      const dataPoints = metric.dataPoints.map((point) => toNumberPoint(point, valueType));
      json.sum = { dataPoints, aggregationTemporality, isMonotonic: metric.isMonotonic || undefined };
      break;
    }
    case DataPointType.GAUGE:
      json.gauge = { dataPoints: metric.dataPoints.map((point) => toNumberPoint(point, valueType)) };
      break;
    case DataPointType.HISTOGRAM:
      json.histogram = { dataPoints: metric.dataPoints.map(toHistogramPoint), aggregationTemporality };
      break;
    case DataPointType.EXPONENTIAL_HISTOGRAM:
      json.exponentialHistogram = { dataPoints: metric.dataPoints.map(toExponentialPoint), aggregationTemporality };
      break;
  }
  return json;
}

/** OTLP counts from 1, the SDK from 0. */
function toTemporality(temporality: AggregationTemporality): number {
  return temporality === AggregationTemporality.DELTA ? 1 : 2;
}

function toPoint(point: DataPoint<unknown>): Json {
  return {
    attributes: toKeyValues(point.attributes),
    // 0 is unknown, the default.
    startTimeUnixNano: isZero(point.startTime) ? undefined : toNanoseconds(point.startTime),
    timeUnixNano: toNanoseconds(point.endTime),
  };
}

function toNumberPoint(point: DataPoint<number>, valueType: ValueType): Json {
  const json = toPoint(point);
  if (valueType === ValueType.INT) json.asInt = toInt64(point.value);
  else json.asDouble = toDouble(point.value);
  return json;
}

function toHistogramPoint(point: DataPoint<Histogram>): Json {
  const { count, sum, min, max, buckets } = point.value;
  return {
    ...toPoint(point),
    count: toInt64(count),
    sum: toOptionalDouble(sum),
    bucketCounts: buckets.counts.map(toInt64),
    explicitBounds: buckets.boundaries.map(toDouble),
    min: toOptionalDouble(min),
    max: toOptionalDouble(max),
  };
}

function toExponentialPoint(point: DataPoint<ExponentialHistogram>): Json {
  const { count, sum, min, max, scale, zeroCount, positive, negative } = point.value;
  return {
    ...toPoint(point),
    count: toInt64(count),
    sum: toOptionalDouble(sum),
    scale,
    zeroCount: toInt64(zeroCount),
    positive: { offset: positive.offset, bucketCounts: positive.bucketCounts.map(toInt64) },
    negative: { offset: negative.offset, bucketCounts: negative.bucketCounts.map(toInt64) },
    min: toOptionalDouble(min),
    max: toOptionalDouble(max),
  };
}

/** Absent where there are none: a proto3 field at its default is left out. */
function toKeyValues(attributes: Attributes): Json[] | undefined {
  const keyValues = Object.entries(attributes).map(([key, value]) => ({ key, value: toAnyValue(value) }));
  return keyValues.length === 0 ? undefined : keyValues;
}

function toAnyValue(value: AnyValue): Json {
  if (value === undefined || value === null) return {};
  switch (typeof value) {
    case 'string':
      return { stringValue: value };
    case 'boolean':
      return { boolValue: value };
    case 'number':
      return isInt64(value) ? { intValue: toInt64(value) } : { doubleValue: toDouble(value) };
    default:
  }
  if (value instanceof Uint8Array) return { bytesValue: Buffer.from(value).toString('base64') };
  if (Array.isArray(value)) return { arrayValue: { values: value.map((item) => toAnyValue(item)) } };
  return { kvlistValue: { values: toKeyValues(value as Attributes) } };
}

function toInt64(value: number): string {
  return Number.isFinite(value) ? BigInt(Math.trunc(value)).toString() : '0';
}

function toDouble(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}

function toOptionalDouble(value: number | undefined): number | string | undefined {
  return value === undefined ? undefined : toDouble(value);
}

function toNanoseconds([seconds, nanoseconds]: HrTime): string {
  return (BigInt(seconds) * 1_000_000_000n + BigInt(Math.trunc(nanoseconds))).toString();
}

function isZero([seconds, nanoseconds]: HrTime): boolean {
  return seconds === 0 && nanoseconds === 0;
}

/** A proto3 field at its default is left out. */
function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
