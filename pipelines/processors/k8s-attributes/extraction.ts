import type { Attributes } from '@opentelemetry/api';
import { wholeKey, type ExtractionRule, type K8sAttributesConfig, type MetadataName } from './config.ts';
import type { Owner, Pod } from './pod.ts';

/** Values of labels are 63 characters at most, those of annotations 256 KiB: what is longer than this is cut. */
export const mostValueLength = 4096;

/** More attributes of one pod than this are left out. */
const mostAttributes = 256;

/** How annotations are marked that stand for attributes; their names follow. */
const otelAnnotation = 'resource.opentelemetry.io/';

/** What `extract` asks for, nothing of pods that are excluded. `cut` is told of each value that was too long, and each attribute that was too many. */
export function makeExtraction(
  { extract, exclude }: Pick<K8sAttributesConfig, 'extract' | 'exclude'>,
  cut: () => void,
): (pod: Pod) => Attributes {
  const { metadata, labels, annotations, otel_annotations } = extract;
  const excluded = exclude.pods.map(({ name }) => wholeKey(name));
  const ofMetadata = metadata.map((name) => [name, metadataOf[name]] as const);
  const ofLabels = labels.map((rule) => makeRule(rule, 'k8s.pod.label.'));
  const ofAnnotations = annotations.map((rule) => makeRule(rule, 'k8s.pod.annotation.'));
  return (pod) => {
    if (excluded.some((pattern) => pattern.test(pod.name))) return nothing;
    const entries = new Map<string, string>();
    const add = (name: string, value: unknown): void => {
      if (typeof value !== 'string' || value === '') return;
      if (entries.size >= mostAttributes && !entries.has(name)) return cut();
      if (value.length > mostValueLength) cut();
      entries.set(name, value.length > mostValueLength ? beginOf(value) : value.toWellFormed());
    };
    for (const [name, read] of ofMetadata) add(name, read(pod));
    for (const apply of ofLabels) apply(pod.labels, add);
    for (const apply of ofAnnotations) apply(pod.annotations, add);
    for (const [key, value] of otel_annotations ? Object.entries(pod.annotations) : []) {
      const name = key.startsWith(otelAnnotation) ? key.slice(otelAnnotation.length) : '';
      // Whoever made the pod has no say in what the API knows of it.
      if (name !== '' && !entries.has(name)) add(name, value);
    }
    return Object.freeze(Object.fromEntries(entries));
  };
}

/** As a text of its own: V8 keeps the whole of a text as long as there is a slice of it. */
function beginOf(value: string): string {
  return Buffer.from(value.slice(0, mostValueLength)).toString();
}

const nothing: Attributes = Object.freeze({});

/** What the pod does not tell, the resource has already, or whoever enriches adds. */
const ofResource = () => undefined;

const metadataOf: Record<MetadataName, (pod: Pod) => string | undefined> = {
  'k8s.namespace.name': ({ namespace }) => namespace,
  'k8s.node.name': ({ nodeName }) => nodeName,
  'k8s.node.uid': ofResource,
  'k8s.pod.uid': ofResource,
  'k8s.pod.name': ({ name }) => name,
  'k8s.pod.hostname': ({ hostname, name }) => hostname ?? name,
  'k8s.pod.ip': ({ ip }) => ip,
  'k8s.pod.start_time': ({ startTime }) => startTime,
  'k8s.deployment.name': deploymentOf,
  'k8s.replicaset.name': (pod) => controllerOf('ReplicaSet', pod)?.name,
  'k8s.replicaset.uid': (pod) => controllerOf('ReplicaSet', pod)?.uid,
  'k8s.statefulset.name': (pod) => controllerOf('StatefulSet', pod)?.name,
  'k8s.statefulset.uid': (pod) => controllerOf('StatefulSet', pod)?.uid,
  'k8s.daemonset.name': (pod) => controllerOf('DaemonSet', pod)?.name,
  'k8s.daemonset.uid': (pod) => controllerOf('DaemonSet', pod)?.uid,
  'k8s.job.name': (pod) => controllerOf('Job', pod)?.name,
  'k8s.job.uid': (pod) => controllerOf('Job', pod)?.uid,
  'k8s.cronjob.name': cronJobOf,
  'k8s.container.name': ofResource,
  'container.id': ofResource,
  'container.image.name': ofResource,
  'container.image.tag': ofResource,
  'service.namespace': (pod) => annotatedAs('service.namespace', pod) ?? pod.namespace,
  'service.name': serviceOf,
  'service.version': (pod) => annotatedAs('service.version', pod) ?? textOf(pod.labels['app.kubernetes.io/version']),
  'service.instance.id': (pod) => annotatedAs('service.instance.id', pod),
};

/** https://opentelemetry.io/docs/specs/semconv/non-normative/k8s-attributes/ */
function serviceOf(pod: Pod): string | undefined {
  return (
    annotatedAs('service.name', pod) ??
    textOf(pod.labels['app.kubernetes.io/instance']) ??
    textOf(pod.labels['app.kubernetes.io/name']) ??
    deploymentOf(pod) ??
    cronJobOf(pod) ??
    (serviceOwners.has(pod.controller?.kind ?? '') ? pod.controller?.name : pod.name)
  );
}

const serviceOwners = new Set(['ReplicaSet', 'StatefulSet', 'DaemonSet', 'Job']);

function annotatedAs(attribute: string, { annotations }: Pod): string | undefined {
  return textOf(annotations[otelAnnotation + attribute]);
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function controllerOf(kind: string, { controller }: Pod): Owner | undefined {
  return controller?.kind === kind ? controller : undefined;
}

/**
 * A deployment names its replicasets `<deployment>-<hash>`, and gives their pods the hash as the label
 * `pod-template-hash`. A replicaset of another's making has no such label.
 */
function deploymentOf(pod: Pod): string | undefined {
  const replicaSet = controllerOf('ReplicaSet', pod)?.name;
  const hash = pod.labels['pod-template-hash'];
  if (typeof hash !== 'string' || hash === '' || replicaSet?.endsWith(`-${hash}`) !== true) return undefined;
  return replicaSet.slice(0, -hash.length - 1) || undefined;
}

/** A pod comes no later after the time for which its job was planned, nor that after the pod. */
const longestDelayMs = 31 * 86_400_000;
const clockSkewMs = 3_600_000;

/**
 * A cronjob names its jobs `<cronjob>-<minutes since 1970 of the planned time>`; before Kubernetes 1.21 these were
 * seconds. A number that is no such time is part of a name that somebody else gave: `load-20261121`.
 */
function cronJobOf(pod: Pod): string | undefined {
  const job = controllerOf('Job', pod)?.name;
  const { name, minutes, seconds } =
    /^(?<name>.+)-(?:(?<minutes>\d{8})|(?<seconds>\d{10}))$/.exec(job ?? '')?.groups ?? {};
  if (name === undefined || pod.createdAtMs === undefined) return undefined;
  const plannedAtMs = minutes === undefined ? Number(seconds) * 1000 : Number(minutes) * 60_000;
  const delayMs = pod.createdAtMs - plannedAtMs;
  return delayMs >= -clockSkewMs && delayMs <= longestDelayMs ? name : undefined;
}

type Add = (name: string, value: unknown) => void;

function makeRule(
  { tag_name, key, key_regex }: ExtractionRule,
  prefix: string,
): (values: Readonly<Record<string, unknown>>, add: Add) => void {
  if (key !== undefined) {
    const name = tag_name ?? prefix + key;
    return (values, add) => Object.hasOwn(values, key) && add(name, values[key]);
  }
  const pattern = wholeKey(key_regex ?? '');
  // Go writes a group $1 or ${1}.
  const template = tag_name?.replaceAll(/\$\{(\d+|\w+)\}/g, (_whole, group: string) =>
    /^\d/.test(group) ? `$${group}` : `$<${group}>`,
  );
  return (values, add) => {
    for (const [candidate, value] of Object.entries(values)) {
      if (pattern.test(candidate))
        add(template === undefined ? prefix + candidate : candidate.replace(pattern, template), value);
    }
  };
}
