import { ValueType, type HrTime } from '@opentelemetry/api';
import { ProtobufMetricsSerializer } from '@opentelemetry/otlp-transformer';
import type { Resource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  DataPointType,
  type DataPoint,
  type GaugeMetricData,
  type MetricData,
  type ResourceMetrics,
  type ScopeMetrics,
  type SumMetricData,
} from '@opentelemetry/sdk-metrics';
import { addAttributes, ProtobufMessage } from './protobuf-message.ts';

/** The serialised metrics of one resource, and where in it the numbers are that change from batch to batch. */
interface Template {
  /** The whole field 1 of a request. */
  readonly bytes: Uint8Array;
  /** Offset of the first of the three numbers of each point. */
  readonly points: readonly number[];
  /** Everything else that went into `bytes`, by identity. */
  readonly shape: readonly unknown[];
}

/** Start time, time and value of a point stand side by side, eight bytes each behind a tag of one. */
const TIME_OFFSET = 9;
const VALUE_OFFSET = 18;

/** Fields of a NumberDataPoint: opentelemetry/proto/metrics/v1/metrics.proto. */
const START_TIME = 2;
const TIME = 3;
const AS_DOUBLE = 4;
const AS_INT = 6;
const POINT_ATTRIBUTES = 7;

const EIGHT_BYTES = new Uint8Array(8);

/**
 * Writes metrics as OTLP protobuf at a fraction of the cost of serialising them anew: names, units and attributes of
 * a resource are encoded once, and only times and values are written again as long as the rest stays the same. It
 * tells sameness by identity of the resource, the scopes, the descriptors and the attributes, so these must not be
 * changed in place. Histograms go through the SDK's serializer.
 */
export class MetricsWriter {
  readonly #templates = new WeakMap<Resource, Template>();
  /** Memory of an earlier request, for the next one: the garbage of large requests is collected late. */
  #spare: ArrayBuffer | undefined;

  /** Takes back what `write` returned, once nobody reads it any more. */
  recycle(request: Uint8Array): void {
    if (request.buffer instanceof ArrayBuffer) this.#spare = request.buffer;
  }

  /** One ExportMetricsServiceRequest. */
  write(metrics: readonly ResourceMetrics[]): Uint8Array {
    const parts = metrics.map((one) => this.#templateOf(one) ?? ProtobufMetricsSerializer.serializeRequest(one)!);
    const length = parts.reduce((sum, part) => sum + bytesOf(part).byteLength, 0);
    const request = this.#allocate(length);
    const numbers = new NumberWriter(request);
    let offset = 0;
    for (const [index, part] of parts.entries()) {
      request.set(bytesOf(part), offset);
      if (!(part instanceof Uint8Array)) writeNumbers(numbers, offset, part.points, metrics[index]!);
      offset += bytesOf(part).byteLength;
    }
    return request;
  }

  #allocate(length: number): Uint8Array {
    const spare = this.#spare;
    this.#spare = undefined;
    const fits = spare !== undefined && spare.byteLength >= length && spare.byteLength <= length * 2;
    return new Uint8Array(fits ? spare : new ArrayBuffer(length), 0, length);
  }

  /** Undefined where there is more in it than numbers. */
  #templateOf(metrics: ResourceMetrics): Template | undefined {
    const known = this.#templates.get(metrics.resource);
    if (known !== undefined && hasShape(metrics, known.shape)) return known;
    if (!metrics.scopeMetrics.every((scope) => scope.metrics.every(isOfNumbers))) return undefined;
    const made = makeTemplate(metrics);
    this.#templates.set(metrics.resource, made);
    return made;
  }
}

function bytesOf(part: Template | Uint8Array): Uint8Array {
  return part instanceof Uint8Array ? part : part.bytes;
}

function isOfNumbers(metric: MetricData): metric is SumMetricData | GaugeMetricData {
  return metric.dataPointType === DataPointType.SUM || metric.dataPointType === DataPointType.GAUGE;
}

/**
 * Shows `visit` what decides the bytes of a template, in the order in which it is met, for as long as that returns
 * true. Returns whether it always did.
 */
function visitShape({ scopeMetrics }: ResourceMetrics, visit: (part: unknown) => boolean): boolean {
  for (const { scope, metrics } of scopeMetrics) {
    if (!visit(scope)) return false;
    for (const metric of metrics) {
      if (!visit(metric.descriptor) || !visit(kindOf(metric))) return false;
      for (const point of metric.dataPoints) if (!visit(point.attributes)) return false;
    }
  }
  return true;
}

/** A number that is the same for metrics of one kind, temporality and monotonicity only. */
function kindOf(metric: MetricData): number {
  const isMonotonic = metric.dataPointType === DataPointType.SUM && metric.isMonotonic;
  return metric.dataPointType * 16 + metric.aggregationTemporality * 2 + (isMonotonic ? 1 : 0);
}

function shapeOf(metrics: ResourceMetrics): unknown[] {
  const shape: unknown[] = [];
  visitShape(metrics, (part) => shape.push(part) > 0);
  return shape;
}

function hasShape(metrics: ResourceMetrics, shape: readonly unknown[]): boolean {
  let index = 0;
  return visitShape(metrics, (part) => part === shape[index++]) && index === shape.length;
}

function writeNumbers(
  numbers: NumberWriter,
  offset: number,
  points: readonly number[],
  { scopeMetrics }: ResourceMetrics,
): void {
  let index = 0;
  for (const { metrics } of scopeMetrics) {
    for (const metric of metrics) {
      const isInt = metric.descriptor.valueType === ValueType.INT;
      for (const { startTime, endTime, value } of metric.dataPoints as DataPoint<number>[]) {
        const at = offset + points[index++]!;
        numbers.startTime(at, startTime);
        numbers.time(at + TIME_OFFSET, endTime);
        if (isInt) numbers.int64(at + VALUE_OFFSET, value);
        else numbers.double(at + VALUE_OFFSET, value);
      }
    }
  }
}

/** Writes numbers of eight bytes, the lowest first. */
class NumberWriter {
  readonly #view: DataView;
  readonly #startTime = new Nanoseconds();
  readonly #time = new Nanoseconds();

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  startTime(offset: number, time: HrTime): void {
    // 0 is what stands there already: unknown.
    if (time[0] !== 0 || time[1] !== 0) this.#nanoseconds(offset, this.#startTime.of(time));
  }

  time(offset: number, time: HrTime): void {
    this.#nanoseconds(offset, this.#time.of(time));
  }

  int64(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true);
    this.#view.setInt32(offset + 4, Math.floor(value / 2 ** 32), true);
  }

  double(offset: number, value: number): void {
    this.#view.setFloat64(offset, value, true);
  }

  #nanoseconds(offset: number, { low, high }: Nanoseconds): void {
    this.#view.setUint32(offset, low, true);
    this.#view.setUint32(offset + 4, high, true);
  }
}

/** A time as a 64-bit integer in two halves. Worked out anew only when it differs from the one before. */
class Nanoseconds {
  low = 0;
  high = 0;
  #seconds = 0;
  #nanoseconds = 0;

  of([seconds, nanoseconds]: HrTime): this {
    if (seconds === this.#seconds && nanoseconds === this.#nanoseconds) return this;
    this.#seconds = seconds;
    this.#nanoseconds = nanoseconds;
    const total = BigInt(seconds) * 1_000_000_000n + BigInt(Math.trunc(nanoseconds));
    this.low = Number(total & 0xffff_ffffn);
    this.high = Number(total >> 32n);
    return this;
  }
}

function makeTemplate(metrics: ResourceMetrics): Template {
  const { resource, scopeMetrics } = metrics;
  const message = new ProtobufMessage();
  const resourceMessage = new ProtobufMessage();
  addAttributes(resourceMessage, 1, resource.attributes);
  message.message(1, resourceMessage);
  for (const scope of scopeMetrics) message.message(2, scopeMetricsMessage(scope));
  message.optionalText(3, resource.schemaUrl);
  const request = new ProtobufMessage().message(1, message);
  // A copy of its own: one from the pool would keep its neighbours alive.
  return { bytes: new Uint8Array(request.finish()), points: request.places, shape: shapeOf(metrics) };
}

function scopeMetricsMessage({ scope, metrics }: ScopeMetrics): ProtobufMessage {
  const scopeMessage = new ProtobufMessage().text(1, scope.name).optionalText(2, scope.version);
  const message = new ProtobufMessage().message(1, scopeMessage);
  for (const metric of metrics) if (isOfNumbers(metric)) message.message(2, metricMessage(metric));
  return message.optionalText(3, scope.schemaUrl);
}

function metricMessage(metric: SumMetricData | GaugeMetricData): ProtobufMessage {
  const { name, description, unit, valueType } = metric.descriptor;
  const data = new ProtobufMessage();
  for (const point of metric.dataPoints) data.message(1, pointMessage(point, valueType));
  const message = new ProtobufMessage().text(1, name).optionalText(2, description).optionalText(3, unit);
  if (metric.dataPointType === DataPointType.GAUGE) return message.message(5, data);
  data.varint(2, metric.aggregationTemporality === AggregationTemporality.DELTA ? 1 : 2);
  if (metric.isMonotonic) data.varint(3, 1);
  return message.message(7, data);
}

/** The numbers are left at 0. */
function pointMessage({ attributes }: DataPoint<number>, valueType: ValueType): ProtobufMessage {
  const message = new ProtobufMessage();
  message.fixed64(START_TIME, EIGHT_BYTES, true).fixed64(TIME, EIGHT_BYTES);
  message.fixed64(valueType === ValueType.INT ? AS_INT : AS_DOUBLE, EIGHT_BYTES);
  addAttributes(message, POINT_ATTRIBUTES, attributes);
  return message;
}
