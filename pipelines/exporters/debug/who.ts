import type { Attributes } from '@opentelemetry/api';
import { safeText } from './text.ts';

/** Names are cut at this length. */
const MAX_NAME_LENGTH = 96;

/** As many digits of a container id as its runtime shows. */
const SHORT_ID_LENGTH = 12;

/** Whom a resource is about, as people name it, safe for a terminal. */
export interface Who {
  /** Namespace, pod and container, or the container's name; the node where it is about no container. */
  name: string;
  /** The first digits of the container's id. */
  shortId?: string;
  /** The same for all resources about one container, whatever else they say. Absent where it is about none. */
  containerKey?: string;
}

/** Reads the resource attributes of OpenTelemetry's semantic conventions. */
export function whoIs(attributes: Attributes): Who {
  const text = (key: string): string | undefined => {
    const value = attributes[key];
    return typeof value === 'string' && value !== '' ? safeText(value, MAX_NAME_LENGTH) : undefined;
  };
  const id = text('container.id');
  const shortId = id?.slice(0, SHORT_ID_LENGTH);
  const inPod = text('k8s.container.name');
  const pod = text('k8s.pod.name');
  const uid = text('k8s.pod.uid');
  const path = [text('k8s.namespace.name'), pod, inPod].filter((part) => part !== undefined).join('/');
  if (inPod !== undefined && pod !== undefined) return { name: path, shortId, containerKey: `${uid ?? ''} ${path}` };
  // A sandbox has no name in its pod; where no runtime tells, its uid is all that is known of the pod.
  const podName = pod === undefined ? uid && `pod ${uid}` : path;
  const containerName = text('container.name') ?? inPod ?? podName;
  if (id === undefined && containerName === undefined) return { name: text('host.name') ?? 'this node' };
  return { name: containerName ?? 'container', shortId, containerKey: id ?? containerName };
}

/** `web-1 (7c1f9d0e2b3a)` */
export function whoText({ name, shortId }: Who): string {
  return shortId === undefined ? name : `${name} (${shortId})`;
}
