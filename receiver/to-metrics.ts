import { ValueType, type Attributes, type HrTime } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  DataPointType,
  type DataPoint,
  type MetricData,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics';
import type { Config } from './config.ts';
import type { Container } from './container-table.ts';
import type { MemoryEvents, MemoryReading } from './cgroup/memory-reading.ts';
import type { Ledger } from './ledger.ts';
import { memoryStatMetrics, metrics, scopeName, type MetricDefinition, type MetricName } from './metadata.ts';
import type { Resources } from './resources.ts';
import type { Workload } from './workload.ts';

/** Milliseconds since the epoch as the SDK's pair of seconds and nanoseconds. */
export function toHrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.min(999_999_999, Math.round((ms - seconds * 1000) * 1e6))];
}

/** Makes metrics of what is known. Pure: the same table at the same time gives the same metrics. */
export class MetricsBuilder {
  readonly #resources: Resources;
  readonly #scope: { name: string; version: string };
  /** Makes the `MetricData` of one metric; absent for those that are switched off. */
  readonly #templates: ReadonlyMap<string, Template>;
  readonly #statTemplates: readonly (Template | undefined)[];

  constructor(config: Config, resources: Resources, version: string) {
    this.#resources = resources;
    this.#scope = { name: scopeName, version };
    const on = [...metrics].filter(([name, { enabled }]) => config.metrics[name]?.enabled ?? enabled !== false);
    this.#templates = new Map(on.map(([name, definition]) => [name, new Template(name, definition)]));
    this.#statTemplates = memoryStatMetrics.map(({ name }) => this.#templates.get(name));
  }

  /** One `ResourceMetrics` for a container: its counters, and its memory where `memory` was read just now. */
  ofContainer(container: Container, memory: MemoryReading | undefined, nowMs: number): ResourceMetrics {
    const now = toHrTime(nowMs);
    const found = this.#ofWorkload(container.workload, now);
    if (memory !== undefined) found.push(...this.#ofMemory(memory, startOfMemcg(container), now));
    return this.#wrap(this.#resources.ofMetrics(container), found);
  }

  /** What the kernel counted on the whole machine. Undefined until it was read. */
  ofNode(ledger: Ledger, bootedAtMs: number, startedAtMs: number, nowMs: number): ResourceMetrics | undefined {
    if (ledger.total === undefined) return undefined;
    const now = toHrTime(nowMs);
    const sink = new Sink(this.#templates, now);
    sink.add('system.linux.oom_kills', ledger.total, toHrTime(bootedAtMs));
    sink.add('system.linux.oom_kills.unattributed', ledger.unattributed, toHrTime(startedAtMs));
    return this.#wrap(this.#resources.node, sink.metrics);
  }

  #ofWorkload(workload: Workload, now: HrTime): MetricData[] {
    const start = toHrTime(workload.firstSeenAtMs);
    const sink = new Sink(this.#templates, now);
    sink.add('container.memory.oom_kills', workload.oomKills, start);
    sink.add('container.memory.oom_incidents', workload.oomIncidents, start);
    sink.addEach('container.exits', 'container.exit.reason', workload.exits, start);
    sink.add('container.exit.code', workload.lastExitCode, start);
    sink.add('container.restarts', workload.restarts, start);
    return sink.metrics;
  }

  #ofMemory(memory: MemoryReading, start: HrTime, now: HrTime): MetricData[] {
    const sink = new Sink(this.#templates, now);
    if (memory.events)
      sink.addEach('container.memory.events', 'cgroup.memory.event', byKernelName(memory.events), start);
    sink.add('container.memory.usage', memory.usageBytes, start);
    sink.add('container.memory.working_set', memory.workingSetBytes, start);
    sink.add('container.memory.rss', memory.rssBytes, start);
    sink.add('container.memory.available', memory.availableBytes, start);
    sink.add('container.memory.usage.limit', memory.limitBytes, start);
    sink.add('container.memory.usage.max', memory.maxUsageBytes, start);
    sink.add('container.memory.unreclaimable', memory.unreclaimableBytes, start);
    sink.add('container.memory.limit.utilization', utilizationOf(memory), start);
    for (const [index, template] of this.#statTemplates.entries()) {
      const value = memory.stat?.[index];
      if (template !== undefined && value !== undefined && !Number.isNaN(value)) {
        sink.metrics.push(template.make([template.point(value, start, now)]));
      }
    }
    return sink.metrics;
  }

  #wrap(resource: Resource, found: MetricData[]): ResourceMetrics {
    return { resource, scopeMetrics: [{ scope: this.#scope, metrics: found }] };
  }
}

/** Collects the metrics of one resource; a value that is absent leaves no metric. */
class Sink {
  readonly metrics: MetricData[] = [];
  readonly #templates: ReadonlyMap<string, Template>;
  readonly #now: HrTime;

  constructor(templates: ReadonlyMap<string, Template>, now: HrTime) {
    this.#templates = templates;
    this.#now = now;
  }

  add(name: MetricName, value: number | undefined, start: HrTime): void {
    const template = this.#templates.get(name);
    if (template === undefined || value === undefined) return;
    this.metrics.push(template.make([template.point(value, start, this.#now)]));
  }

  /** One point for each value, told apart by the attribute. */
  addEach(name: MetricName, attribute: string, values: Record<string, number | undefined>, start: HrTime): void {
    const template = this.#templates.get(name);
    if (template === undefined) return;
    const points = Object.entries(values).flatMap(([key, value]) =>
      value === undefined ? [] : template.point(value, start, this.#now, template.attributes(attribute, key)),
    );
    if (points.length > 0) this.metrics.push(template.make(points));
  }
}

const noAttributes: Attributes = Object.freeze({});

/** What stays the same in every `MetricData` of one metric. */
class Template {
  readonly #descriptor: MetricData['descriptor'];
  readonly #isSum: boolean;
  readonly #isMonotonic: boolean;
  readonly #attributes = new Map<string, Attributes>();

  constructor(name: string, { kind, monotonic, type, unit, description }: MetricDefinition) {
    this.#descriptor = { name, unit, description, valueType: type === 'int' ? ValueType.INT : ValueType.DOUBLE };
    this.#isSum = kind === 'sum';
    this.#isMonotonic = monotonic === true;
  }

  make(dataPoints: DataPoint<number>[]): MetricData {
    const common = { descriptor: this.#descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE };
    return this.#isSum
      ? { ...common, dataPointType: DataPointType.SUM, isMonotonic: this.#isMonotonic, dataPoints }
      : { ...common, dataPointType: DataPointType.GAUGE, dataPoints };
  }

  /** A gauge has no start time: it goes over the wire as 0, which means unknown. */
  point(value: number, start: HrTime, now: HrTime, attributes = noAttributes): DataPoint<number> {
    return { startTime: this.#isSum ? start : [0, 0], endTime: now, attributes, value };
  }

  /** The values of an attribute are few: one object for each. */
  attributes(key: string, value: string): Attributes {
    let found = this.#attributes.get(value);
    if (found === undefined) this.#attributes.set(value, (found = { [key]: value }));
    return found;
  }
}

function byKernelName({ low, high, max, oom, oomGroupKill }: MemoryEvents): Record<string, number | undefined> {
  return { low, high, max, oom, oom_group_kill: oomGroupKill };
}

function utilizationOf({ unreclaimableBytes, effectiveLimitBytes }: MemoryReading): number | undefined {
  if (unreclaimableBytes === undefined || effectiveLimitBytes === undefined || effectiveLimitBytes === 0)
    return undefined;
  return unreclaimableBytes / effectiveLimitBytes;
}

/** Where we did not see the group being made, its counters began with the container's life. */
function startOfMemcg({ memcgSinceMs, life, workload }: Container): HrTime {
  return toHrTime(memcgSinceMs ?? life?.startedAtMs ?? workload.firstSeenAtMs);
}
