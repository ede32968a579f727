import { parseQuantity } from './quantity.ts';

/** What a container asks for and what it may use at most; what is not set is absent. */
export interface ContainerResources {
  memoryRequestBytes?: number;
  memoryLimitBytes?: number;
  cpuRequestCores?: number;
  cpuLimitCores?: number;
}

/** An object that a pod belongs to. */
export interface Owner {
  kind: string;
  name: string;
  uid: string;
}

/** What we read of a pod of the Kubernetes API. Labels and annotations are as the API has them, of any length. */
export interface Pod {
  /** As the API has it. */
  uid: string;
  /**
   * As the node's runtime has it. Of a static pod that is not the API's, which is its mirror's: it is in the mirror's
   * annotation `kubernetes.io/config.hash` (pkg/kubelet/config/common.go).
   */
  localUid: string;
  name: string;
  namespace: string;
  nodeName: string | undefined;
  hostname: string | undefined;
  ip: string | undefined;
  /** RFC 3339. */
  startTime: string | undefined;
  createdAtMs: number | undefined;
  labels: Readonly<Record<string, unknown>>;
  annotations: Readonly<Record<string, unknown>>;
  controller: Owner | undefined;
  /** Of a mirror pod: the node, which owns it (pkg/kubelet/pod/mirror_client.go). */
  node: Owner | undefined;
  /** Guaranteed, Burstable or BestEffort. */
  qosClass: string | undefined;
  /** By name: init containers as well. */
  resources: ReadonlyMap<string, ContainerResources>;
}

/** More containers of one pod than this are not looked at. */
const mostContainers = 200;

/**
 * Reads a pod as the API sends it; undefined where it has no uid, name or namespace. In short (v1.33):
 *
 * `{"metadata":{"name":"web-7d9c5b6f4-x2x9z","namespace":"shop","uid":"5f7c…","labels":{"pod-template-hash":"7d9c5b6f4"},
 * "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-7d9c5b6f4","uid":"0b1c…","controller":true}]},
 * "spec":{"nodeName":"node-1","containers":[{"name":"web","resources":{"limits":{"memory":"64Mi"}}}]},
 * "status":{"qosClass":"Burstable","podIP":"10.0.0.7","startTime":"2026-11-21T12:00:00Z"}}`
 */
export function readPod(value: unknown): Pod | undefined {
  const metadata = map(map(value)['metadata']);
  const spec = map(map(value)['spec']);
  const status = map(map(value)['status']);
  const [uid, name, namespace] = [text(metadata['uid']), text(metadata['name']), text(metadata['namespace'])];
  if (uid === undefined || name === undefined || namespace === undefined) return undefined;
  const annotations = map(metadata['annotations']);
  const owners = list(metadata['ownerReferences']).map(map);
  const nodeName = text(spec['nodeName']);
  const localUid = localUidOf(annotations);
  return {
    uid,
    localUid: localUid ?? uid,
    name,
    namespace,
    nodeName,
    hostname: text(spec['hostname']),
    ip: text(status['podIP']),
    startTime: text(status['startTime']),
    createdAtMs: timeOf(metadata['creationTimestamp']),
    labels: map(metadata['labels']),
    annotations,
    controller: ownerOf(owners.find(({ controller }) => controller === true)),
    node:
      localUid === undefined
        ? undefined
        : ownerOf(owners.find(({ kind, name: owner }) => kind === 'Node' && owner === nodeName)),
    qosClass: text(status['qosClass']),
    resources: new Map(
      [...list(spec['initContainers']), ...list(spec['containers'])]
        .slice(0, mostContainers)
        .map(map)
        .flatMap((container) => {
          const containerName = text(container['name']);
          return containerName === undefined ? [] : [[containerName, readResources(container['resources'])] as const];
        }),
    ),
  };
}

function localUidOf(annotations: Record<string, unknown>): string | undefined {
  return annotations['kubernetes.io/config.mirror'] === undefined
    ? undefined
    : text(annotations['kubernetes.io/config.hash']);
}

function readResources(value: unknown): ContainerResources {
  const [requests, limits] = [map(map(value)['requests']), map(map(value)['limits'])];
  const resources: ContainerResources = {};
  const set = (key: keyof ContainerResources, quantity: unknown): void => {
    const number = parseQuantity(quantity);
    if (number !== undefined) resources[key] = number;
  };
  set('memoryRequestBytes', requests['memory']);
  set('memoryLimitBytes', limits['memory']);
  set('cpuRequestCores', requests['cpu']);
  set('cpuLimitCores', limits['cpu']);
  return resources;
}

function ownerOf(value: Record<string, unknown> | undefined): Owner | undefined {
  const [kind, name, uid] = [text(value?.['kind']), text(value?.['name']), text(value?.['uid'])];
  return kind === undefined || name === undefined || uid === undefined ? undefined : { kind, name, uid };
}

function timeOf(value: unknown): number | undefined {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function map(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
