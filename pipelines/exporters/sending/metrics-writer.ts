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

/** Serialised metrics of any resource, and where in them the numbers are that change from batch to batch. */
interface Body {
  /** The fields 2 of a ResourceMetrics. */
  readonly bytes: Uint8Array;
  /** Offset of the first of the three numbers of each point. */
  readonly points: readonly number[];
  /** Everything else that went into `bytes`, by identity. */
  readonly shape: readonly unknown[];
}

/** The serialised metrics of one resource. Containers mostly differ in their resource only, and share a body. */
interface Template {
  /** Field 1 of a request, up to where the body begins. */
  readonly head: Uint8Array;
  readonly body: Body;
}

/** Bodies that were written lately: containers come in a few kinds, with and without a limit say. */
const mostBodies = 16;

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
  /** The one that was used last is first. */
  readonly #bodies: Body[] = [];
  /** Memory of an earlier request, for the next one: the garbage of large requests is collected late. */
  #spare: ArrayBuffer | undefined;

  /** Takes back what `write` or `writeWithin` returned, once nobody reads it any more. */
  recycle(request: Uint8Array): void {
    if (request.buffer instanceof ArrayBuffer) this.#spare = request.buffer;
  }

  /** One ExportMetricsServiceRequest. */
  write(metrics: readonly ResourceMetrics[]): Uint8Array {
    return this.writeWithin(metrics, Infinity)!;
  }

  /** As `write`; undefined, and nothing is allocated for it, where that would be of several resources and larger. */
  writeWithin(metrics: readonly ResourceMetrics[], maxBytes: number): Uint8Array | undefined {
    const parts = metrics.map((one) => this.#templateOf(one) ?? ProtobufMetricsSerializer.serializeRequest(one)!);
    const length = parts.reduce((sum, part) => sum + lengthOf(part), 0);
    if (length > maxBytes && metrics.length > 1) return undefined;
    const request = this.#allocate(length);
    const numbers = new NumberWriter(request);
    let offset = 0;
    for (const [index, part] of parts.entries()) {
      if (part instanceof Uint8Array) request.set(part, offset);
      else writeTemplate(request, numbers, offset, part, metrics[index]!);
      offset += lengthOf(part);
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
    if (known !== undefined && hasShape(metrics, known.body.shape)) return known;
    if (!metrics.scopeMetrics.every((scope) => scope.metrics.every(isOfNumbers))) return undefined;
    const body = this.#bodyOf(metrics);
    const made = { head: makeHead(metrics.resource, body.bytes.byteLength), body };
    this.#templates.set(metrics.resource, made);
    return made;
  }

  #bodyOf(metrics: ResourceMetrics): Body {
    const index = this.#bodies.findIndex(({ shape }) => hasShape(metrics, shape));
    const body = index < 0 ? makeBody(metrics) : this.#bodies.splice(index, 1)[0]!;
    this.#bodies.unshift(body);
    this.#bodies.length = Math.min(this.#bodies.length, mostBodies);
    return body;
  }
}

function lengthOf(part: Template | Uint8Array): number {
  return part instanceof Uint8Array ? part.byteLength : part.head.byteLength + part.body.bytes.byteLength;
}

function writeTemplate(
  request: Uint8Array,
  numbers: NumberWriter,
  offset: number,
  { head, body }: Template,
  metrics: ResourceMetrics,
): void {
  request.set(head, offset);
  request.set(body.bytes, offset + head.byteLength);
  writeNumbers(numbers, offset + head.byteLength, body.points, metrics);
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
    // Without iterators, which would be most of the garbage of a collection: here and in writeNumbers.
    for (let index = 0; index < metrics.length; index++) {
      const metric = metrics[index]!;
      const { dataPoints } = metric;
      if (!visit(metric.descriptor) || !visit(kindOf(metric))) return false;
      for (let n = 0; n < dataPoints.length; n++) if (!visit(dataPoints[n]!.attributes)) return false;
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
  let place = 0;
  for (const { metrics } of scopeMetrics) {
    for (let index = 0; index < metrics.length; index++) {
      const { descriptor, dataPoints } = metrics[index]!;
      const isInt = descriptor.valueType === ValueType.INT;
      for (let n = 0; n < dataPoints.length; n++) {
        const { startTime, endTime, value } = dataPoints[n] as DataPoint<number>;
        const at = offset + points[place++]!;
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

  of(time: HrTime): this {
    const seconds = time[0];
    const nanoseconds = time[1];
    if (seconds === this.#seconds && nanoseconds === this.#nanoseconds) return this;
    this.#seconds = seconds;
    this.#nanoseconds = nanoseconds;
    const total = BigInt(seconds) * 1_000_000_000n + BigInt(Math.trunc(nanoseconds));
    this.low = Number(total & 0xffff_ffffn);
    this.high = Number(total >> 32n);
    return this;
  }
}

function makeHead(resource: Resource, bodyLength: number): Uint8Array {
  const resourceMessage = new ProtobufMessage();
  addAttributes(resourceMessage, 1, resource.attributes);
  const message = new ProtobufMessage().message(1, resourceMessage).optionalText(3, resource.schemaUrl);
  return copyOf(new ProtobufMessage().message(1, message, bodyLength).finish());
}

function makeBody(metrics: ResourceMetrics): Body {
  const message = new ProtobufMessage();
  for (const scope of metrics.scopeMetrics) message.message(2, scopeMetricsMessage(scope));
  return { bytes: copyOf(message.finish()), points: message.places, shape: shapeOf(metrics) };
}

/** One of its own: bytes from Node's pool would keep their neighbours alive. */
function copyOf(bytes: Buffer): Uint8Array {
  return new Uint8Array(bytes);
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
