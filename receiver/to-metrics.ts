import type { Attributes } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
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
  readonly #slots: Readonly<Record<Part, readonly Slot<ContainerFacts>[]>>;
  readonly #nodeSlots: readonly Slot<NodeFacts>[];
  readonly #startTimes = new StartTimes();
  #frames = makeFrames();

  constructor(config: Config, resources: Resources, version: string) {
    this.#resources = resources;
    this.#scope = { name: scopeName, version };
    const on = [...metrics].filter(([name, { enabled }]) => config.metrics[name]?.enabled ?? enabled !== false);
    const templates = new Map(on.map(([name, definition]) => [name, new MetricTemplate(name, definition)]));
    const isForced = (name: string): boolean => config.metrics[name]?.enabled === true;
    const [workload, instance] = [workloadSlots(templates), memorySlots(templates, isForced)];
    this.#slots = { workload, instance, container: [...workload, ...instance] };
    this.#nodeSlots = nodeSlots(templates);
  }

  /** Leaves what was returned so far to those who hold it. */
  letGo(): void {
    this.#frames = makeFrames();
  }

  /** One `ResourceMetrics` for a container: its counters, and its memory where `memory` was read just now. */
  ofContainer(container: Container, memory: MemoryReading | undefined, nowMs: number): ResourceMetrics {
    return this.#fill('container', container, this.#resources.ofMetrics(container), container, memory, nowMs);
  }

  /** The memory of one instance of a pod's container. */
  ofInstance(container: Container, memory: MemoryReading, nowMs: number): ResourceMetrics {
    return this.#fill('instance', container, this.#resources.ofMetrics(container), container, memory, nowMs);
  }

  /** The counters of a pod's container, which `teller` stands for. */
  ofWorkload(teller: Container, nowMs: number): ResourceMetrics {
    return this.#fill('workload', teller.workload, this.#resources.ofWorkload(teller), teller, undefined, nowMs);
  }

  /** `owner`: whose frame it is. */
  #fill(
    part: Part,
    owner: object,
    resource: Resource,
    container: Container,
    memory: MemoryReading | undefined,
    nowMs: number,
  ): ResourceMetrics {
    const starts = this.#startTimes.ofContainer(container, memory !== undefined, nowMs);
    const facts = { container, memory, starts };
    const now = toHrTime(nowMs);
    const frames = this.#frames[part];
    let frame = frames.get(owner);
    if (frame?.fill(resource, facts, now) !== true) {
      frame = new Frame(resource, this.#scope, this.#slots[part], facts);
      frame.fill(resource, facts, now);
      frames.set(owner, frame);
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

/** What one `ResourceMetrics` holds: all of a container outside Kubernetes; of one in a pod its counters and memory apart. */
type Part = 'container' | 'workload' | 'instance';

function makeFrames(): Record<Part, WeakMap<object, Frame<ContainerFacts>>> {
  return { container: new WeakMap(), workload: new WeakMap(), instance: new WeakMap() };
}

type Templates = ReadonlyMap<string, MetricTemplate>;

function workloadSlots(templates: Templates): Slot<ContainerFacts>[] {
  const slot = (
    name: MetricName,
    value: (workload: Container['workload'], container: Container) => number | undefined,
    attributes?: Attributes,
  ): Slot<ContainerFacts>[] =>
    slotOf(templates, name, {
      value: ({ container }) => value(container.workload, container),
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
    slot('k8s.container.restarts', (_workload, { pod }) => pod?.restartCount),
    slot('k8s.container.restart.count', (_workload, { pod }) => pod?.restartCount),
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

/** `isForced`: it is to be sent of pods as well, though kubelet_stats sends the same. */
function memorySlots(templates: Templates, isForced: (name: string) => boolean): Slot<ContainerFacts>[] {
  const slot = (
    name: string,
    value: (memory: MemoryReading) => number | undefined,
    attributes?: Attributes,
  ): Slot<ContainerFacts>[] => {
    const isLeftToKubelet = metrics.get(name)?.enabled === 'outside_kubernetes' && !isForced(name);
    return slotOf(templates, name, {
      value: ({ container, memory }) =>
        memory === undefined || (isLeftToKubelet && container.pod !== undefined) ? undefined : value(memory),
      // Absent only where nothing was read, and then there is no point.
      startMs: ({ starts }) => starts.memcgMs ?? 0,
      attributes,
    });
  };
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
