import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { resourceFromAttributes, type Resource } from '@opentelemetry/resources';
import type { QosClass } from './cgroup/identity.ts';
import type { Config } from './config.ts';
import type { Container } from './container-table.ts';
import type { PodFacts } from './observation.ts';
import { attributesByConventions, resourceAttributes, type ResourceAttributeName } from './metadata.ts';
import { hasWorkloadOfPod } from './workload-table.ts';

type ResourceFacts = Partial<Record<ResourceAttributeName, string | number | string[]>>;

/** The resources of one container's telemetry. */
interface ContainerResources {
  metrics: Resource;
  workload: Resource;
  logs: Resource;
}

/**
 * Makes the resources of what we send, one object for each identity as long as its facts stay the same: serializers
 * group log records by identity of the resource.
 */
export class Resources {
  readonly #host: ResourceFacts;
  readonly #enabled: ReadonlySet<string>;
  /** The node itself: host.name, host.id, os.type, and k8s.node.name where that is known. */
  readonly node: Resource;
  readonly #made = new WeakMap<Container, ContainerResources & { factsVersion: number }>();

  constructor(config: Config, host: ResourceFacts) {
    this.#host = host;
    this.#enabled = enabledAttributes(config);
    this.node = this.#make(host);
  }

  /** Of a container's own metrics. */
  ofMetrics(container: Container): Resource {
    return this.#of(container).metrics;
  }

  /** Of the counters of its workload: without the container's id where they outlive it. */
  ofWorkload(container: Container): Resource {
    return this.#of(container).workload;
  }

  /** Of a container's log records, which name the node as well. */
  ofLogs(container: Container): Resource {
    return this.#of(container).logs;
  }

  /** Of a pod's log records. */
  ofPod({ uid, namespace, name }: PodFacts): Resource {
    const facts = { 'k8s.namespace.name': namespace, 'k8s.pod.name': name, 'k8s.pod.uid': uid };
    return this.#make({ ...facts, ...this.#host });
  }

  #of(container: Container): ContainerResources {
    const known = this.#made.get(container);
    if (known?.factsVersion === container.factsVersion) return known;
    const facts = { ...placeFacts(container, this.#host['k8s.node.name']), ...containerFacts(container) };
    const { 'container.id': _id, ...ofWorkload } = facts;
    const metrics = this.#make(facts);
    const made = {
      factsVersion: container.factsVersion,
      metrics,
      workload: hasWorkloadOfPod(container) ? this.#make(ofWorkload) : metrics,
      logs: this.#make({ ...facts, 'k8s.container.restart_count': container.pod?.restartCount, ...this.#host }),
    };
    this.#made.set(container, made);
    return made;
  }

  #make(facts: ResourceFacts): Resource {
    const kept = Object.entries(facts).filter(([name, value]) => value !== undefined && this.#enabled.has(name));
    return resourceFromAttributes(Object.fromEntries(kept));
  }
}

/** What identifies the machine whose root file system is at `rootPath`; `nodeName` is its name in Kubernetes, if any. */
export function readHost(rootPath: string, nodeName?: string): ResourceFacts {
  // Inside a container our own host name is the container's.
  const name = rootPath === '/' ? undefined : readLine(join(rootPath, 'etc/hostname'));
  return {
    'host.name': name ?? hostname(),
    'host.id': readLine(join(rootPath, 'etc/machine-id')),
    'os.type': 'linux',
    ...(nodeName && { 'k8s.node.name': nodeName }),
  };
}

/** Its place in Kubernetes: what kubelet_stats and k8s_cluster send of a container, by the same names. */
function placeFacts({ pod, qosClass }: Container, nodeName: ResourceFacts['k8s.node.name']): ResourceFacts {
  if (pod === undefined) return {};
  return {
    'k8s.namespace.name': pod.namespace,
    'k8s.pod.name': pod.name,
    'k8s.pod.uid': pod.uid,
    'k8s.pod.qos_class': qosClass && qosClasses[qosClass],
    'k8s.container.name': pod.containerName,
    'k8s.node.name': nodeName,
  };
}

/** As the API writes them. */
const qosClasses: Record<QosClass, string> = {
  guaranteed: 'Guaranteed',
  burstable: 'Burstable',
  besteffort: 'BestEffort',
};

function containerFacts({ id, name, image, runtime, pod }: Container): ResourceFacts {
  const reference = image === undefined ? undefined : splitImage(image);
  return {
    'container.id': id,
    // What a runtime calls a pod's container is made of the names above.
    'container.name': pod === undefined ? name : undefined,
    'container.image.name': reference?.name,
    'container.image.tag': reference?.tag,
    'container.image.tags': reference?.tag === undefined ? undefined : [reference.tag],
    'container.runtime': runtime,
    'container.runtime.name': runtime,
  };
}

/**
 * Splits an image reference: `registry:5000/team/app:1.2@sha256:…` is `registry:5000/team/app` and `1.2`. A bare image
 * id has neither name nor tag. Grammar: distribution/reference.
 */
export function splitImage(reference: string): { name: string; tag?: string } | undefined {
  if (/^(sha256:)?[0-9a-f]{64}$/.test(reference)) return undefined;
  const withoutDigest = reference.split('@', 1)[0] ?? '';
  const colon = withoutDigest.lastIndexOf(':');
  if (colon <= withoutDigest.lastIndexOf('/')) return { name: withoutDigest };
  return { name: withoutDigest.slice(0, colon), tag: withoutDigest.slice(colon + 1) };
}

function enabledAttributes({ resource_attributes: switches, conventions }: Config): ReadonlySet<string> {
  const isDefault = (name: ResourceAttributeName): boolean => {
    if (attributesByConventions.v0.includes(name)) return conventions !== 'v1';
    if (attributesByConventions.v1.includes(name)) return conventions !== 'v0';
    return resourceAttributes[name].enabled;
  };
  const names = Object.keys(resourceAttributes) as ResourceAttributeName[];
  return new Set(names.filter((name) => switches[name]?.enabled ?? isDefault(name)));
}

function readLine(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim() || undefined;
  } catch {
    return undefined;
  }
}
