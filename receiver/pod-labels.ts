import type { ContainerFacts, PodFacts } from './observation.ts';
import { printable, type OnBadInput } from './sources/bad-input.ts';

type Texts = Readonly<Record<string, unknown>>;

/**
 * Reads a container's place in Kubernetes from what the kubelet had the runtime write down. The kubelet gives each
 * container these labels (pkg/kubelet/types/labels.go) and this annotation (kuberuntime/labels.go):
 *
 *     io.kubernetes.pod.namespace=shop  io.kubernetes.pod.name=web-7d9f-x2x  io.kubernetes.container.name=app
 *     io.kubernetes.pod.uid=5a1f3c62-0b5e-4a51-9e0f-6f1f5b1d2c3e  io.kubernetes.container.restartCount=4
 *
 * Docker has no annotations: cri-dockerd writes them as labels that begin with `annotation.`. A sandbox is marked by each
 * runtime in its own way: `io.kubernetes.docker.type=podsandbox` (cri-dockerd), `io.cri-containerd.kind=sandbox` or
 * `io.kubernetes.cri.container-type=sandbox` (containerd), `io.kubernetes.cri-o.ContainerType=sandbox` (CRI-O), and the
 * container's name `POD` (cri-dockerd, CRI-O).
 *
 * All of it is text that anybody who may start a container can write: what is longer than a name can be, or holds what
 * no name can hold, is cut and told. Empty where no pod's uid is among the labels.
 */
export function readPodLabels(
  labels: Texts,
  annotations: Texts,
  onBadInput: OnBadInput,
): Pick<ContainerFacts, 'pod' | 'sandbox'> {
  const uid = uidOf(labels['io.kubernetes.pod.uid'], onBadInput);
  if (uid === undefined) return {};
  const nameOf = (label: string, longest: number): string | undefined =>
    cutName(labels[label], longest, `label ${label}`, onBadInput);
  const containerName = nameOf('io.kubernetes.container.name', longestLabel);
  const isMarked = sandboxMarks.some(([key, mark]) => (annotations[key] ?? labels[key]) === mark);
  // A mark on what the kubelet calls a container is a label of its image, which the runtime has added.
  const sandbox = containerName === 'POD' || (containerName === undefined && isMarked);
  const pod: PodFacts = {
    uid,
    namespace: nameOf('io.kubernetes.pod.namespace', longestLabel),
    name: nameOf('io.kubernetes.pod.name', longestSubdomain),
    containerName: sandbox ? undefined : containerName,
    restartCount: sandbox ? undefined : restartCountOf(labels, annotations, onBadInput),
  };
  return { pod, sandbox };
}

/** Lengths of names by RFC 1123: of namespaces and containers, and of pods. */
const longestLabel = 63;
const longestSubdomain = 253;

const sandboxMarks = [
  ['io.kubernetes.docker.type', 'podsandbox'],
  ['io.cri-containerd.kind', 'sandbox'],
  ['io.kubernetes.cri.container-type', 'sandbox'],
  ['io.kubernetes.cri-o.ContainerType', 'sandbox'],
] as const;

/** A UUID, or the 32 hex digits of a static pod's manifest; a cut one would be that of another pod. */
function uidOf(value: unknown, onBadInput: OnBadInput): string | undefined {
  if (value === undefined || value === '') return undefined;
  if (typeof value === 'string' && /^(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.test(value))
    return value;
  onBadInput('label io.kubernetes.pod.uid is no uid of a pod', printable(value));
  return undefined;
}

/** Without what no name of Kubernetes holds, and no longer than one can be; undefined where nothing is left. */
function cutName(value: unknown, longest: number, what: string, onBadInput: OnBadInput): string | undefined {
  if (typeof value !== 'string' || value === '') return undefined;
  if (value.length <= longest && !/[^A-Za-z0-9._-]/.test(value)) return value;
  onBadInput(`${what} is no name of Kubernetes`, printable(value));
  // Before the rest is looked at: it can be of any length.
  return value.slice(0, longest).replaceAll(/[^A-Za-z0-9._-]/g, '') || undefined;
}

function restartCountOf(labels: Texts, annotations: Texts, onBadInput: OnBadInput): number | undefined {
  const key = 'io.kubernetes.container.restartCount';
  // A label of this name is one of the image's.
  const value = annotations[key] ?? labels[`annotation.${key}`];
  if (value === undefined) return undefined;
  if (typeof value === 'string' && /^\d{1,9}$/.test(value)) return Number(value);
  onBadInput(`annotation ${key} is no number`, printable(value));
  return undefined;
}
