import { ValueType, type Attributes, type HrTime } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  DataPointType,
  type DataPoint,
  type MetricData,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics';
import type { MetricDefinition } from './metadata.ts';

/** Milliseconds since the epoch as the SDK's pair of seconds and nanoseconds. */
export function toHrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.min(999_999_999, Math.round((ms - seconds * 1000) * 1e6))];
}

/** A gauge has no start time: it goes over the wire as 0, which means unknown. */
const noStart: HrTime = [0, 0];

const noAttributes: Attributes = Object.freeze({});

/** What stays the same in every `MetricData` of one metric. */
export class MetricTemplate {
  readonly isSum: boolean;
  readonly #descriptor: MetricData['descriptor'];
  readonly #isMonotonic: boolean;

  constructor(name: string, { kind, monotonic, type, unit, description }: MetricDefinition) {
    this.#descriptor = { name, unit, description, valueType: type === 'int' ? ValueType.INT : ValueType.DOUBLE };
    this.isSum = kind === 'sum';
    this.#isMonotonic = monotonic === true;
  }

  make(dataPoints: DataPoint<number>[]): MetricData {
    const common = { descriptor: this.#descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE };
    return this.isSum
      ? { ...common, dataPointType: DataPointType.SUM, isMonotonic: this.#isMonotonic, dataPoints }
      : { ...common, dataPointType: DataPointType.GAUGE, dataPoints };
  }
}

/** One possible data point of a resource: which metric it belongs to, and where in the facts its value stands. */
export interface Slot<Facts> {
  template: MetricTemplate;
  /** The same object in every frame: serializers tell sameness by identity. */
  attributes?: Attributes;
  /** Undefined and NaN: absent. */
  value: (facts: Facts) => number | undefined;
  startMs: (facts: Facts) => number;
}

/** A data point that is written again at every collection. */
interface Point {
  startTime: HrTime;
  endTime: HrTime;
  attributes: Attributes;
  value: number;
}

/**
 * The metrics of one resource, made once and then filled with new numbers at each collection, for as long as the same
 * points are present: with 250 containers 10,000 new objects at each collection would be a third of the CPU, and twice
 * the memory until the garbage is collected.
 */
export class Frame<Facts> {
  readonly metrics: ResourceMetrics;
  readonly #slots: readonly Slot<Facts>[];
  /** One for each slot; undefined where it is absent. */
  readonly #points: readonly (Point | undefined)[];
  readonly #startsMs: number[] = [];

  constructor(
    resource: Resource,
    scope: { name: string; version: string },
    slots: readonly Slot<Facts>[],
    facts: Facts,
  ) {
    this.#slots = slots;
    this.#points = slots.map(({ value, attributes = noAttributes }) =>
      isAbsent(value(facts)) ? undefined : { startTime: noStart, endTime: noStart, attributes, value: 0 },
    );
    const metrics: MetricData[] = [];
    for (const [template, points] of this.#pointsByTemplate()) metrics.push(template.make(points));
    this.metrics = { resource, scopeMetrics: [{ scope, metrics }] };
  }

  /** Writes the numbers of now. False where other points are present than in this frame: then it is of no more use. */
  fill(resource: Resource, facts: Facts, now: HrTime): boolean {
    if (resource !== this.metrics.resource) return false;
    for (let index = 0; index < this.#slots.length; index++) {
      const slot = this.#slots[index]!;
      const value = slot.value(facts);
      const point = this.#points[index];
      if (isAbsent(value)) {
        if (point !== undefined) return false;
        continue;
      }
      if (point === undefined) return false;
      point.value = value;
      point.endTime = now;
      if (slot.template.isSum) this.#start(index, point, slot.startMs(facts));
    }
    return true;
  }

  #start(index: number, point: Point, startMs: number): void {
    if (this.#startsMs[index] === startMs) return;
    this.#startsMs[index] = startMs;
    point.startTime = toHrTime(startMs);
  }

  #pointsByTemplate(): Map<MetricTemplate, Point[]> {
    const found = new Map<MetricTemplate, Point[]>();
    for (const [index, point] of this.#points.entries()) {
      if (point === undefined) continue;
      const { template } = this.#slots[index]!;
      const points = found.get(template);
      if (points === undefined) found.set(template, [point]);
      else points.push(point);
    }
    return found;
  }
}

function isAbsent(value: number | undefined): value is undefined {
  return value === undefined || Number.isNaN(value);
}
