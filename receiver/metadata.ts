import { SeverityNumber } from '@opentelemetry/api-logs';
import { STAT_KEYS } from './cgroup/memory-stat.ts';

/** The instrumentation scope of everything we send. */
export const scopeName = 'exit137';

/** Whose series a metric is: of the node, of a workload container, or of one instance of it. */
export type Identity = 'node' | 'workload' | 'instance';

/** One metric as it goes over the wire. */
export interface MetricDefinition {
  identity: Identity;
  kind: 'sum' | 'gauge';
  /** Only sums have it. */
  monotonic?: true;
  type: 'int' | 'double';
  unit: string;
  /** Attribute keys with all their values. */
  attributes?: Readonly<Record<string, readonly string[]>>;
  /** `outside_kubernetes`: off for containers of pods, where kubelet_stats sends the same. */
  enabled: boolean | 'outside_kubernetes';
  description: string;
}

const counter = { kind: 'sum', monotonic: true, type: 'int' } as const;
const byteSum = { kind: 'sum', type: 'int', unit: 'By' } as const;
const byteGauge = { kind: 'gauge', type: 'int', unit: 'By', enabled: 'outside_kubernetes' } as const;

const lifecycleMetrics = {
  'container.memory.oom_kills': {
    ...counter,
    identity: 'workload',
    unit: '{kill}',
    enabled: true,
    description: "Processes of this container killed by the kernel's OOM killer, each once.",
  },
  'container.memory.oom_incidents': {
    ...counter,
    identity: 'workload',
    unit: '{incident}',
    enabled: true,
    description: 'OOM-killer invocations that hit this container; a memory.oom.group kill of four processes is one.',
  },
  'container.exits': {
    ...counter,
    identity: 'workload',
    unit: '{exit}',
    enabled: true,
    attributes: { 'container.exit.reason': ['completed', 'error', 'oom_killed', 'killed'] },
    description: "Ends of the container's main process, by reason; all four reasons are always sent.",
  },
  'container.exit.code': {
    identity: 'workload',
    kind: 'gauge',
    type: 'int',
    unit: '1',
    enabled: true,
    description: 'Last exit code of the main process; absent before the first exit.',
  },
  'container.restarts': {
    ...counter,
    identity: 'workload',
    unit: '{restart}',
    enabled: true,
    description: 'Times a new instance of the same workload container was started.',
  },
  'k8s.container.restarts': {
    identity: 'workload',
    kind: 'gauge',
    type: 'int',
    unit: '{restart}',
    enabled: false,
    description: "The kubelet's own count, as k8s_cluster sends it: it begins at 0 again when the kubelet loses it.",
  },
  'k8s.container.restart.count': {
    identity: 'workload',
    kind: 'sum',
    type: 'int',
    unit: '{restart}',
    enabled: false,
    description: 'The same by the v1 conventions.',
  },
} as const satisfies Record<string, MetricDefinition>;

const memoryMetrics = {
  'container.memory.events': {
    ...counter,
    identity: 'instance',
    unit: '{event}',
    enabled: true,
    attributes: { 'cgroup.memory.event': ['low', 'high', 'max', 'oom', 'oom_group_kill'] },
    description: "Counters of the cgroup's memory.events; on cgroup v1 only max, from memory.failcnt.",
  },
  'container.memory.usage': {
    ...byteGauge,
    identity: 'instance',
    description: 'Memory charged to the cgroup, page cache included.',
  },
  'container.memory.working_set': {
    ...byteGauge,
    identity: 'instance',
    description: 'Usage less inactive file pages, as the kubelet computes it.',
  },
  'container.memory.rss': {
    ...byteGauge,
    identity: 'instance',
    description: 'Anonymous memory, as kubelet_stats names it.',
  },
  'container.memory.available': {
    ...byteGauge,
    identity: 'instance',
    description: 'Limit less working set; absent without a limit.',
  },
  'container.memory.usage.limit': {
    ...byteSum,
    identity: 'instance',
    enabled: true,
    description: "The container's own memory limit; absent where there is none.",
  },
  'container.memory.usage.max': {
    ...byteSum,
    identity: 'instance',
    enabled: true,
    description:
      'Highest usage since the previous collection: exact on kernels from 6.12, from sampling and the lifetime peak before.',
  },
  'container.memory.unreclaimable': {
    ...byteSum,
    identity: 'instance',
    enabled: true,
    description: 'What the kernel cannot take back without swap: what decides an OOM.',
  },
  'container.memory.limit.utilization': {
    identity: 'instance',
    kind: 'gauge',
    type: 'double',
    unit: '1',
    enabled: true,
    description: 'Unreclaimable memory by the effective limit, the smallest on the way up to the root.',
  },
} as const satisfies Record<string, MetricDefinition>;

const nodeMetrics = {
  'system.linux.oom_kills': {
    ...counter,
    identity: 'node',
    unit: '{kill}',
    enabled: true,
    description: 'Processes killed by the OOM killer on this machine since boot, as the kernel counts them.',
  },
  'system.linux.oom_kills.unattributed': {
    ...counter,
    identity: 'node',
    unit: '{kill}',
    enabled: true,
    description:
      "The kernel's count less what was attributed to containers: kills outside of containers, and any that were missed.",
  },
} as const satisfies Record<string, MetricDefinition>;

/** `container.memory.<key>` for each key of memory.stat, in the order of `STAT_KEYS`. */
export const memoryStatMetrics: readonly { name: string; definition: MetricDefinition }[] = STAT_KEYS.map((stat) => ({
  name: `container.memory.${stat.key}`,
  definition: {
    identity: 'instance',
    kind: 'sum',
    ...(stat.monotonic ? { monotonic: true as const } : {}),
    type: 'int',
    unit: stat.unit,
    enabled: stat.defaultOn,
    description: stat.description,
  },
}));

/** Names of the metrics that are not keys of memory.stat. */
export type MetricName = keyof typeof lifecycleMetrics | keyof typeof memoryMetrics | keyof typeof nodeMetrics;

/** Metrics by name, but those of memory.stat. */
export const namedMetrics: Readonly<Record<MetricName, MetricDefinition>> = {
  ...lifecycleMetrics,
  ...memoryMetrics,
  ...nodeMetrics,
};

/** Every metric by name. */
export const metrics: ReadonlyMap<string, MetricDefinition> = new Map<string, MetricDefinition>([
  ...Object.entries(namedMetrics),
  ...memoryStatMetrics.map(({ name, definition }) => [name, definition] as const),
]);

/** Where a resource attribute can stand. */
export type ResourcePlace =
  | 'containers'
  | 'containers outside Kubernetes'
  | "pods' containers"
  | "logs of pods' containers"
  | 'logs and node'
  | "pods' containers, logs and node";

/** One resource attribute; `on` is where it stands. */
export interface ResourceAttributeDefinition {
  on: ResourcePlace;
  type: 'string' | 'string[]' | 'int';
  enabled: boolean;
  description: string;
}

/** Names of resource attributes. */
export type ResourceAttributeName = keyof typeof resourceAttributes;

const onPods = { on: "pods' containers", type: 'string', enabled: true } as const;
const onContainers = { on: 'containers', type: 'string', enabled: true } as const;

export const resourceAttributes = {
  'k8s.namespace.name': { ...onPods, description: "The pod's namespace." },
  'k8s.pod.name': { ...onPods, description: "The pod's name." },
  'k8s.pod.uid': {
    ...onPods,
    description: "The pod's uid; of a static pod the hash of its manifest (kubernetes.io/config.hash).",
  },
  'k8s.pod.qos_class': {
    ...onPods,
    enabled: false,
    description: 'Guaranteed, Burstable or BestEffort, by the path of the memory cgroup.',
  },
  'k8s.container.name': {
    ...onPods,
    description: 'Name in the specification of the pod; absent where no runtime tells it, and for its sandbox.',
  },
  'k8s.container.restart_count': {
    on: "logs of pods' containers",
    type: 'int',
    enabled: true,
    description: "The kubelet's count of restarts before this instance; on metrics it would fork the series.",
  },
  'k8s.node.name': {
    on: "pods' containers, logs and node",
    type: 'string',
    enabled: true,
    description: 'node_name of the configuration, else of the environment (K8S_NODE_NAME).',
  },
  'container.id': {
    ...onContainers,
    description: "64 hex digits, without a scheme; not on counters of a pod's container, which outlive it.",
  },
  'container.name': {
    ...onContainers,
    on: 'containers outside Kubernetes',
    description: 'Name given by the user or the runtime.',
  },
  'container.image.name': { ...onContainers, description: 'Image without tag and digest.' },
  'container.image.tag': { ...onContainers, description: 'Tag of the image, where it has one.' },
  'container.image.tags': {
    ...onContainers,
    type: 'string[]',
    enabled: false,
    description: 'The same by the v1 conventions: see conventions.',
  },
  'container.runtime': { ...onContainers, description: 'docker, containerd, cri-o or podman.' },
  'container.runtime.name': {
    ...onContainers,
    enabled: false,
    description: 'The same by the v1 conventions: see conventions.',
  },
  'host.name': { on: 'logs and node', type: 'string', enabled: true, description: "The node's host name." },
  'host.id': { on: 'logs and node', type: 'string', enabled: true, description: "The node's machine id." },
  'os.type': { on: 'logs and node', type: 'string', enabled: true, description: 'linux' },
} as const satisfies Record<string, ResourceAttributeDefinition>;

/** Names of resource attributes that the Collector's v1 conventions for Kubernetes have changed. */
export const attributesByConventions: Readonly<Record<'v0' | 'v1', readonly ResourceAttributeName[]>> = {
  v0: ['container.image.tag', 'container.runtime'],
  v1: ['container.image.tags', 'container.runtime.name'],
};

/** One event: a log record with this EventName. */
export interface EventDefinition {
  severity: readonly SeverityNumber[];
  when: string;
  /** Attributes in the order of the document. */
  attributes: readonly (keyof typeof eventAttributes)[];
}

/** What only the kernel log tells of a victim. */
const logged = [
  'oom.memcg',
  'oom.task_memcg',
  'oom.constraint',
  'process.pid',
  'process.executable.name',
  'process.user.id',
  'oom.process.total_vm',
  'oom.process.anon_rss',
  'oom.process.file_rss',
  'oom.process.shmem_rss',
  'oom.process.pgtables',
  'oom.score_adj',
  'oom.memory.anon',
  'oom.memory.file',
  'oom.memory.shmem',
  'oom.memory.kernel',
  'oom.memory.slab',
  'oom.memory.sock',
  'oom.memory.pagetables',
  'oom.tasks',
] as const;

export const events = {
  'container.oom_kill': {
    severity: [SeverityNumber.ERROR],
    when: 'One for each process of a container that the OOM killer killed.',
    attributes: [
      'oom.incident.id',
      'oom.scope',
      'oom.victim',
      'oom.group',
      'oom.evidence',
      'oom.inferred',
      ...logged,
      'container.memory.usage',
      'container.memory.usage.limit',
      'error.type',
    ],
  },
  'system.oom_kill': {
    severity: [SeverityNumber.ERROR],
    when: 'One for each process outside of containers that the OOM killer killed; on the resource of the node.',
    attributes: ['oom.incident.id', 'oom.scope', 'oom.evidence', 'oom.inferred', ...logged, 'error.type'],
  },
  'container.memory.stuck': {
    severity: [SeverityNumber.ERROR],
    when: 'A container is out of memory and nothing can be killed: its tasks wait, or fail again and again. Once for as long as it goes on.',
    attributes: ['memory.stuck.reason', 'oom.memcg', 'oom.evidence', 'container.memory.usage.limit'],
  },
  'container.exit': {
    severity: [SeverityNumber.INFO, SeverityNumber.ERROR],
    when: 'The main process ended: INFO for exit code 0 and for an end that was asked for, else ERROR.',
    attributes: [
      'process.exit.code',
      'container.exit.signal',
      'container.exit.reason',
      'container.exit.cause',
      'oom.evidence',
      'container.uptime',
      'error.type',
    ],
  },
  'container.restart': {
    severity: [SeverityNumber.WARN],
    when: 'A new instance of the same workload container was started.',
    attributes: [],
  },
  'container.crash_loop': {
    severity: [SeverityNumber.ERROR, SeverityNumber.INFO],
    when: 'Restarts have passed the threshold (crash_loop): once for each loop. Again, with INFO, when it has ended: the container has run for 10 minutes, or is gone.',
    attributes: ['crash_loop.state', 'crash_loop.restarts', 'process.exit.code'],
  },
} as const satisfies Record<string, EventDefinition>;

/** Attributes of log records. */
export const eventAttributes = {
  'oom.incident.id': { type: 'string', description: 'The same for all victims of one OOM-killer invocation.' },
  'oom.scope': {
    type: 'string',
    description:
      'Whose limit was hit: container, pod, node_allocatable (that of all pods), nested (a group in the container), node, cpuset or unknown.',
  },
  'oom.victim': {
    type: 'string',
    description: 'init (the main process), child (invisible to the runtime) or unknown.',
  },
  'oom.group': {
    type: 'bool',
    description: 'memory.oom.group took the whole cgroup; absent where the kernel does not tell.',
  },
  'oom.evidence': {
    type: 'string[]',
    description: 'Who bears witness: kernel_log, memory_events, vmstat, runtime_event, exit_status.',
  },
  'oom.inferred': { type: 'bool', description: 'True where the kernel log did not name the victim and a counter did.' },
  'oom.memcg': { type: 'string', description: 'Group whose limit was hit, in the words of the kernel (oom_memcg).' },
  'oom.task_memcg': { type: 'string', description: 'Group of the victim, in the words of the kernel (task_memcg).' },
  'oom.constraint': { type: 'string', description: 'CONSTRAINT_MEMCG, CONSTRAINT_NONE, CONSTRAINT_CPUSET and so on.' },
  'process.pid': { type: 'int', description: "The victim's pid on the host." },
  'process.executable.name': { type: 'string', description: 'Its name (comm), at most 15 bytes, chosen by itself.' },
  'process.user.id': { type: 'int', description: 'Its user on the host.' },
  'oom.process.total_vm': { type: 'int (By)', description: 'Its virtual memory.' },
  'oom.process.anon_rss': { type: 'int (By)', description: 'Its anonymous memory.' },
  'oom.process.file_rss': { type: 'int (By)', description: 'Its mapped file memory.' },
  'oom.process.shmem_rss': { type: 'int (By)', description: 'Its mapped shared memory.' },
  'oom.process.pgtables': { type: 'int (By)', description: 'Its page tables.' },
  'oom.score_adj': { type: 'int', description: 'Its oom_score_adj, -1000 to 1000.' },
  'oom.memory.anon': { type: 'int (By)', description: 'What filled the group whose limit was hit: anonymous memory.' },
  'oom.memory.file': { type: 'int (By)', description: 'The same: page cache, shared memory included.' },
  'oom.memory.shmem': { type: 'int (By)', description: 'The same: shared memory and tmpfs.' },
  'oom.memory.kernel': {
    type: 'int (By)',
    description: 'The same: memory of the kernel, slab and page tables included.',
  },
  'oom.memory.slab': { type: 'int (By)', description: 'The same: slab.' },
  'oom.memory.sock': { type: 'int (By)', description: 'The same: network buffers.' },
  'oom.memory.pagetables': { type: 'int (By)', description: 'The same: page tables.' },
  'oom.tasks': {
    type: 'map[]',
    description: 'The largest tasks that could have been killed, at most 10: pid, comm, rss in bytes.',
  },
  'memory.stuck.reason': {
    type: 'string',
    description: 'oom_kill_disabled (v1: its OOM killer is disabled) or nothing_killable.',
  },
  'container.memory.usage': { type: 'int (By)', description: "The container's memory at the kill." },
  'container.memory.usage.limit': { type: 'int (By)', description: "The container's own memory limit." },
  'process.exit.code': { type: 'int', description: 'Exit code, 128 + n where signal n ended the process.' },
  'container.exit.signal': { type: 'string', description: 'Name of the signal that ended it, SIGKILL say.' },
  'container.exit.reason': { type: 'string', description: 'As counted by container.exits.' },
  'container.exit.cause': {
    type: 'string',
    description:
      'completed, app_error, app_signal, oom_container, oom_pod, oom_node_allocatable, oom_node, stopped, killed_externally, killed_by_userspace_oom or unknown.',
  },
  'container.uptime': { type: 'double (s)', description: 'How long it ran.' },
  'crash_loop.state': {
    type: 'string',
    description: 'begun, ended (the container has run for 10 minutes) or gone (it will not be started again).',
  },
  'crash_loop.restarts': { type: 'int', description: 'Restarts of the loop so far.' },
  'error.type': { type: 'string', description: 'On failures: oom_killed, exit_<code> or signal_<name>.' },
} as const;
