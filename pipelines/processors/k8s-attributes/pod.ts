import type { PodInstance } from '../../component.ts';
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
  instances: readonly PodInstance[];
  /** A container of it waits to be started, or has ended and may be started again. */
  isWaiting: boolean;
  /** All its containers have ended for good; the API has it until somebody deletes it. */
  isOver: boolean;
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
  const statuses = readStatuses(status);
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
    instances: statuses.flatMap(readInstances),
    isOver: status['phase'] === 'Succeeded' || status['phase'] === 'Failed',
    isWaiting: statuses.some(isIn('waiting')) || (spec['restartPolicy'] !== 'Never' && mayRestart(status)),
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

function isIn(state: 'waiting' | 'terminated'): (status: Record<string, unknown>) => boolean {
  return (status) => map(status['state'])[state] !== undefined;
}

/** The kubelet says `waiting` only once it has put off the next start: the first comes at once, and is told after it. */
function mayRestart(status: Record<string, unknown>): boolean {
  return list(status['containerStatuses']).map(map).some(isIn('terminated'));
}

function readStatuses(status: Record<string, unknown>): Record<string, unknown>[] {
  const kinds = ['initContainerStatuses', 'containerStatuses', 'ephemeralContainerStatuses'];
  return kinds
    .flatMap((kind) => list(status[kind]))
    .slice(0, mostContainers)
    .map(map);
}

/**
 * The instance before, where there was one, and the present one (v1.33):
 *
 * `{"name":"app","restartCount":2,"image":"docker.io/library/web:1.2","containerID":"containerd://9c1f…",
 * "state":{"running":{"startedAt":"2026-11-21T12:00:09Z"}},
 * "lastState":{"terminated":{"containerID":"containerd://7a2e…","exitCode":137,"reason":"OOMKilled",
 * "startedAt":"2026-11-21T11:59:30Z","finishedAt":"2026-11-21T11:59:58Z"}}}`
 *
 * While it waits for the next instance, `containerID` is that of the instance before.
 */
function readInstances(status: Record<string, unknown>): PodInstance[] {
  const name = text(status['name']);
  if (name === undefined) return [];
  const count = status['restartCount'];
  const restartCount = Number.isSafeInteger(count) ? (count as number) : undefined;
  const image = text(status['image']);
  const [last, now] = [map(map(status['lastState'])['terminated']), map(status['state'])];
  const ended = map(now['terminated']);
  const running = now['running'] !== undefined;
  const present = text(ended['containerID']) ?? text(status['containerID']);
  const before = text(last['containerID']);
  const isPresent = present !== undefined && present !== before && (running || now['terminated'] !== undefined);
  const ofLast = isPresent && restartCount !== undefined ? restartCount - 1 : restartCount;
  return [
    ...(before === undefined ? [] : [readInstance(before, name, image, ofLast, last, false)]),
    ...(isPresent
      ? [readInstance(present, name, image, restartCount, running ? map(now['running']) : ended, running)]
      : []),
  ];
}

function readInstance(
  containerId: string,
  name: string,
  image: string | undefined,
  restartCount: number | undefined,
  told: Record<string, unknown>,
  running: boolean,
): PodInstance {
  const { exitCode, reason } = told;
  // The kubelet makes up 137 for one that it has lost track of.
  const isKnown = Number.isSafeInteger(exitCode) && reason !== 'ContainerStatusUnknown';
  return {
    containerId,
    name,
    image,
    restartCount,
    running,
    startedAtMs: timeOf(told['startedAt']),
    finishedAtMs: running ? undefined : timeOf(told['finishedAt']),
    exitCode: !running && isKnown ? (exitCode as number) : undefined,
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
