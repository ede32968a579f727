import * as z from 'zod';
import { duration } from '../pipelines/units.ts';
import { defaultThreshold } from './crash-loop.ts';
import { metrics, resourceAttributes } from './metadata.ts';

/** One for all names: each schema object takes 50 KB. */
const enabledSwitch = z.strictObject({ enabled: z.boolean() }).optional();

/** `<name>: {enabled: …}`: what is not named keeps its default. */
function switchesOf(names: Iterable<string>) {
  return z.strictObject(Object.fromEntries(Array.from(names, (name) => [name, enabledSwitch])));
}

/** What runs again and again must leave time for the rest. */
function atLeast(leastMs: number, text: string) {
  return duration.refine((ms) => ms >= leastMs, `must be at least ${text}`);
}

const dockerConfig = z.strictObject({
  /** False where the runtime must not be asked; the rest then works without names, exit codes and restarts. */
  enabled: z.boolean().default(true),
  /** `unix:///…` or `tcp://host:port`; empty: DOCKER_HOST, else the first of the usual sockets that answers. */
  endpoint: z.string().default(''),
  /** For one call; the stream of events has no limit. */
  timeout: duration.default(5_000),
});

const containerdConfig = z.strictObject({
  enabled: z.boolean().default(true),
  /** `unix:///path` or `/path`; empty: the first of the usual sockets below `root_path` that answers. */
  endpoint: z
    .string()
    .regex(/^(?:(?:unix:\/\/)?\/.*)?$/, 'expected unix:///path')
    .default(''),
  /** For one question; the stream of events has no limit. */
  timeout: duration.default(5_000),
  /** Whose containers are watched. As containerd wants their names: its filters are made of them. */
  namespaces: z
    .array(z.string().regex(/^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/, "expected a namespace of containerd's"))
    .min(1)
    .default(['k8s.io']),
});

const criConfig = z.strictObject({
  /** False where the runtime must not be asked over the CRI. */
  enabled: z.boolean().default(true),
  /**
   * `unix:///path` or `/path`; empty: the first of the usual sockets below `root_path` that answers, and only as long as
   * no other source tells what that runtime does.
   */
  endpoint: z
    .string()
    .regex(/^(?:(?:unix:\/\/)?\/.*)?$/, 'expected unix:///path')
    .default(''),
  /** How often the runtime is asked where nothing hints at a change; after a hint it is asked at once. */
  poll_interval: atLeast(100, '100ms').default(5_000),
  /** For one call. */
  timeout: duration.default(5_000),
});

const memcgConfig = z.strictObject({
  enabled: z.boolean().default(true),
  /** How often the machine's count of kills is read; where it rose, the counters of all groups are. */
  poll_interval: atLeast(10, '10ms').default(250),
  /** How often usage is sampled for container.memory.usage.max where the kernel keeps no resettable peak. */
  sample_interval: duration.default(5_000),
  /** Groups beyond this number are left out and counted. */
  max_groups: z.int().positive().default(10_000),
});

const kernelLogConfig = z.strictObject({
  /** False where the log must not be read; kills are then known by the counters alone. */
  enabled: z.boolean().default(true),
  /** How often the log is read where nothing hints at a kill. */
  poll_interval: atLeast(10, '10ms').default(1_000),
  /** File that holds the kernel's messages, such as /var/log/kern.log, for where the kernel gives its log to nobody. */
  file: z.string().default(''),
});

/** Configuration of `container_lifecycle`. */
export const configSchema = z.strictObject({
  /** How often metrics are sent. Events are sent when they happen. */
  collection_interval: atLeast(100, '100ms').default(10_000),
  /** Where the host's root file system is seen from here; `/` outside a container. */
  root_path: z.string().default('/'),
  /** How long the series of a container go on after it is gone. */
  grace_period: duration.default(300_000),
  /** How long a kill or an exit waits for the rest of its evidence, where that is not complete at once. */
  settle_time: duration.default(1_000),
  /** When restarts of a container are told as a crash loop. */
  crash_loop: z
    .strictObject({
      /** So many of them within the window. */
      restarts: z.int().min(2).max(100).default(defaultThreshold.restarts),
      window: duration.default(defaultThreshold.windowMs),
    })
    .prefault({}),
  /** Containers beyond this number are left out and counted; gone ones make room first. */
  max_containers: z.int().positive().default(10_000),
  /** Name of the Kubernetes node, as in the API; empty: that in K8S_NODE_NAME, if any. */
  node_name: z.string().default(''),
  /**
   * By which conventions for Kubernetes the resource attributes are named that these name differently: what the gates
   * EmitV1K8sConventions and DontEmitV0K8sConventions are to a Collector's receiver.
   */
  conventions: z.enum(['v0', 'both', 'v1']).default('v0'),
  /** Id of the extension that keeps the state from one run to the next; absent: it is in memory only. */
  storage: z.string().min(1).optional(),
  sources: z
    .strictObject({
      docker: dockerConfig.prefault({}),
      containerd: containerdConfig.prefault({}),
      cri: criConfig.prefault({}),
      memcg: memcgConfig.prefault({}),
      kernel_log: kernelLogConfig.prefault({}),
    })
    .refine(
      ({ docker, containerd, cri, memcg }) => docker.enabled || containerd.enabled || cri.enabled || memcg.enabled,
      'at least one source must be enabled',
    )
    .refine(
      ({ docker, containerd }) => !docker.enabled || !containerd.enabled || !containerd.namespaces.includes('moby'),
      "namespace moby holds Docker's containers, which docker tells of: leave it out, or disable docker",
    )
    .prefault({}),
  metrics: switchesOf(metrics.keys()).prefault({}),
  resource_attributes: switchesOf(Object.keys(resourceAttributes)).prefault({}),
});

export type Config = z.infer<typeof configSchema>;
