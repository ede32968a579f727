import type { Attributes } from '@opentelemetry/api';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { Config } from './config.ts';
import type { Container } from './container-table.ts';
import type { MemoryEvents, MemoryReading } from './cgroup/memory-reading.ts';
import type { Ledger } from './ledger.ts';
import { memoryStatMetrics, metrics, scopeName, type MetricName } from './metadata.ts';
import { Frame, MetricTemplate, toHrTime, type Slot } from './metrics-frame.ts';
import type { Resources } from './resources.ts';
import { StartTimes } from './start-times.ts';
import { exitReasons } from './workload.ts';

/** What the metrics of a container are made of. */
interface ContainerFacts {
  container: Container;
  memory: MemoryReading | undefined;
  starts: ReturnType<StartTimes['ofContainer']>;
}

/** What the metrics of the node are made of. */
interface NodeFacts {
  ledger: Ledger;
  bootedAtMs: number;
  startedAtMs: number;
}

/**
 * Makes metrics of what is known: the same table at the same time gives the same metrics. What it returns is written
 * again at the next call for the same container.
 */
export class MetricsBuilder {
  readonly #resources: Resources;
  readonly #scope: { name: string; version: string };
  readonly #containerSlots: readonly Slot<ContainerFacts>[];
  readonly #nodeSlots: readonly Slot<NodeFacts>[];
  readonly #startTimes = new StartTimes();
  #frames = new WeakMap<Container, Frame<ContainerFacts>>();

  constructor(config: Config, resources: Resources, version: string) {
    this.#resources = resources;
    this.#scope = { name: scopeName, version };
    const on = [...metrics].filter(([name, { enabled }]) => config.metrics[name]?.enabled ?? enabled !== false);
    const templates = new Map(on.map(([name, definition]) => [name, new MetricTemplate(name, definition)]));
    this.#containerSlots = [...workloadSlots(templates), ...memorySlots(templates)];
    this.#nodeSlots = nodeSlots(templates);
  }

  /** Leaves what was returned so far to those who hold it. */
  letGo(): void {
    this.#frames = new WeakMap();
  }

  /** One `ResourceMetrics` for a container: its counters, and its memory where `memory` was read just now. */
  ofContainer(container: Container, memory: MemoryReading | undefined, nowMs: number): ResourceMetrics {
    const resource = this.#resources.ofMetrics(container);
    const starts = this.#startTimes.ofContainer(container, memory !== undefined, nowMs);
    const facts = { container, memory, starts };
    const now = toHrTime(nowMs);
    let frame = this.#frames.get(container);
    if (frame?.fill(resource, facts, now) !== true) {
      frame = new Frame(resource, this.#scope, this.#containerSlots, facts);
      frame.fill(resource, facts, now);
      this.#frames.set(container, frame);
    }
    return frame.metrics;
  }

  /** What the kernel counted on the whole machine. Undefined until it was read. */
  ofNode(ledger: Ledger, bootedAtMs: number, startedAtMs: number, nowMs: number): ResourceMetrics | undefined {
    if (ledger.total === undefined) return undefined;
    const facts = { ledger, ...this.#startTimes.ofNode(bootedAtMs, startedAtMs, nowMs) };
    const frame = new Frame(this.#resources.node, this.#scope, this.#nodeSlots, facts);
    frame.fill(this.#resources.node, facts, toHrTime(nowMs));
    return frame.metrics;
  }
}

type Templates = ReadonlyMap<string, MetricTemplate>;

function workloadSlots(templates: Templates): Slot<ContainerFacts>[] {
  const slot = (
    name: MetricName,
    value: (workload: Container['workload']) => number | undefined,
    attributes?: Attributes,
  ): Slot<ContainerFacts>[] =>
    slotOf(templates, name, {
      value: ({ container }) => value(container.workload),
      startMs: ({ starts }) => starts.workloadMs,
      attributes,
    });
  return [
    slot('container.memory.oom_kills', ({ oomKills }) => oomKills),
    slot('container.memory.oom_incidents', ({ oomIncidents }) => oomIncidents),
    ...exitReasons.map((reason) =>
      slot('container.exits', ({ exits }) => exits[reason], { 'container.exit.reason': reason }),
    ),
    slot('container.exit.code', ({ lastExitCode }) => lastExitCode),
    slot('container.restarts', ({ restarts }) => restarts),
  ].flat();
}

/** Counters of memory.events by the kernel's names. */
const eventNames: readonly [string, keyof MemoryEvents][] = [
  ['low', 'low'],
  ['high', 'high'],
  ['max', 'max'],
  ['oom', 'oom'],
  ['oom_group_kill', 'oomGroupKill'],
];

function memorySlots(templates: Templates): Slot<ContainerFacts>[] {
  const slot = (
    name: string,
    value: (memory: MemoryReading) => number | undefined,
    attributes?: Attributes,
  ): Slot<ContainerFacts>[] =>
    slotOf(templates, name, {
      value: ({ memory }) => (memory === undefined ? undefined : value(memory)),
      // Absent only where nothing was read, and then there is no point.
      startMs: ({ starts }) => starts.memcgMs ?? 0,
      attributes,
    });
  return [
    ...eventNames.map(([name, key]) =>
      slot('container.memory.events', ({ events }) => events?.[key], { 'cgroup.memory.event': name }),
    ),
    slot('container.memory.usage', ({ usageBytes }) => usageBytes),
    slot('container.memory.working_set', ({ workingSetBytes }) => workingSetBytes),
    slot('container.memory.rss', ({ rssBytes }) => rssBytes),
    slot('container.memory.available', ({ availableBytes }) => availableBytes),
    slot('container.memory.usage.limit', ({ limitBytes }) => limitBytes),
    slot('container.memory.usage.max', ({ maxUsageBytes }) => maxUsageBytes),
    slot('container.memory.unreclaimable', ({ unreclaimableBytes }) => unreclaimableBytes),
    slot('container.memory.limit.utilization', utilizationOf),
    ...memoryStatMetrics.map(({ name }, index) => slot(name, ({ stat }) => stat?.[index])),
  ].flat();
}

function nodeSlots(templates: Templates): Slot<NodeFacts>[] {
  return [
    slotOf<NodeFacts>(templates, 'system.linux.oom_kills', {
      value: ({ ledger }) => ledger.total,
      startMs: ({ bootedAtMs }) => bootedAtMs,
    }),
    slotOf<NodeFacts>(templates, 'system.linux.oom_kills.unattributed', {
      value: ({ ledger }) => ledger.unattributed,
      startMs: ({ startedAtMs }) => startedAtMs,
    }),
  ].flat();
}

/** None where the metric is switched off. */
function slotOf<Facts>(templates: Templates, name: string, rest: Omit<Slot<Facts>, 'template'>): Slot<Facts>[] {
  const template = templates.get(name);
  return template === undefined ? [] : [{ template, ...rest }];
}

function utilizationOf({ unreclaimableBytes, effectiveLimitBytes }: MemoryReading): number | undefined {
  if (unreclaimableBytes === undefined || effectiveLimitBytes === undefined || effectiveLimitBytes === 0)
    return undefined;
  return unreclaimableBytes / effectiveLimitBytes;
}
