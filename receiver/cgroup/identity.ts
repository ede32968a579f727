import type { RuntimeName } from '../observation.ts';

/** Who a cgroup belongs to, as far as its path tells. */
export interface CgroupIdentity {
  /** 64 hex digits. */
  containerId: string;
  runtime?: RuntimeName;
}

const runtimeOfPrefix = new Map<string | undefined, RuntimeName>([
  ['docker', 'docker'],
  ['libpod', 'podman'],
  ['libpod-payload', 'podman'],
  ['cri-containerd', 'containerd'],
  ['nerdctl', 'containerd'],
  ['crio', 'cri-o'],
]);

/**
 * Reads one component of a cgroup path as a container's group, in the layouts of both drivers:
 *
 *     7c1f9d0e2b3a…                         cgroupfs: /docker/<id>, /kubepods/burstable/pod<uid>/<id>
 *     docker-7c1f9d0e2b3a….scope            systemd: docker-, libpod-, cri-containerd-, crio-, nerdctl-
 *     libpod-7c1f9d0e2b3a…                  Podman with the cgroupfs driver
 *     kubepods-pod1a2b.slice:cri-containerd:7c1f9d0e2b3a…    a kubelet for systemd over a containerd for cgroupfs
 *
 * `libpod-conmon-<id>` and `crio-conmon-<id>` hold the container's monitor, not the container, and an id alone below
 * `libpod_parent` is that of a pod of Podman's.
 */
export function identifyCgroup(component: string, parentComponent = ''): CgroupIdentity | undefined {
  const { prefix, containerId } =
    /^(?:(?:[^:]{1,255}\.slice:)?(?<prefix>[a-z][a-z-]*)[-:])?(?<containerId>[0-9a-f]{64})(?:\.scope)?$/.exec(component)
      ?.groups ?? {};
  if (containerId === undefined || prefix?.endsWith('-conmon')) return undefined;
  if (prefix === undefined && parentComponent === 'libpod_parent') return undefined;
  return { containerId, runtime: runtimeOfPrefix.get(prefix) };
}

/** Whether a group is that of one pod or of all pods of a Kubernetes node, around the groups of containers. */
export function isSlice(path: string): boolean {
  const { podUid, podMemcg, kubepodsMemcg } = identifyMemcg(path);
  return (podUid !== undefined && podMemcg === path) || kubepodsMemcg === path;
}

/** Quality-of-service classes of Kubernetes, as cgroup paths write them; guaranteed pods have no level of their own. */
export type QosClass = 'guaranteed' | 'burstable' | 'besteffort';

/** Who a process in a cgroup belongs to, as far as the whole path tells. */
export interface MemcgIdentity {
  /** The innermost container, 64 hex digits. */
  containerId?: string;
  runtime?: RuntimeName;
  /** All containers on the way, outermost first: a container can run other containers, and can make up groups. */
  containerIds: readonly string[];
  /** The container's group; the path itself or a group above it. */
  containerMemcg?: string;
  /** As in the API: a UUID with dashes, or 32 hex digits for a static pod. */
  podUid?: string;
  podMemcg?: string;
  qosClass?: QosClass;
  /** The group of all pods of the innermost Kubernetes node. */
  kubepodsMemcg?: string;
}

/** What is deeper than any real path is not looked at. */
const maxDepth = 128;

/**
 * Reads a cgroup path of any layout, outermost group first: what is found further in belongs to what is nearer to the
 * process. Real paths:
 *
 *     /kubepods/burstable/pod5a1f3c62-0b5e-4a51-9e0f-6f1f5b1d2c3e/7c1f9d0e2b3a…
 *     /kubepods.slice/kubepods-pod5a1f3c62_0b5e_4a51_9e0f_6f1f5b1d2c3e.slice/crio-7c1f9d0e2b3a….scope/container
 *     /docker/722f40c6405f…/kubelet/kubepods/besteffort/pod4909103c-cdc2-432e-92aa-2e06c2c7d1e3/9d62c1f82041…
 *     /user.slice/user-1000.slice/user@1000.service/user.slice/libpod-7c1f9d0e2b3a….scope
 *     /lxc.payload.ci/system.slice/docker-7c1f9d0e2b3a….scope
 */
export function identifyMemcg(path: string): MemcgIdentity {
  let identity: MemcgIdentity = { containerIds: [] };
  let memcg = '';
  let parent = '';
  for (const component of path.split('/', maxDepth).slice(1)) {
    memcg += `/${component}`;
    identity = withComponent(identity, component, parent, memcg);
    parent = component;
  }
  return identity;
}

function withComponent(above: MemcgIdentity, component: string, parent: string, memcg: string): MemcgIdentity {
  const { containerIds } = above;
  if (isKubepods(component)) return { containerIds, kubepodsMemcg: memcg };
  const pod = readPod(component, parent);
  if (pod !== undefined) {
    const { kubepodsMemcg } = above;
    return { containerIds, kubepodsMemcg, ...pod, podMemcg: memcg };
  }
  const container = identifyCgroup(component, parent);
  if (container === undefined || container.containerId === above.containerId) return above;
  // A container in a container is in no pod of its own.
  const ofPod: Partial<MemcgIdentity> = above.containerId === undefined ? above : {};
  const composite = readPod(/^[^:]{1,255}\.slice(?=:)/.exec(component)?.[0] ?? '', parent);
  const runtime = container.runtime ?? (parent === 'docker' ? 'docker' : undefined);
  return {
    ...ofPod,
    ...composite,
    containerIds: [...containerIds, container.containerId],
    containerId: container.containerId,
    runtime,
    containerMemcg: memcg,
  };
}

/** `kubepods`, `kubepods.slice`, and `kubelet-kubepods.slice` where the kubelet was given a root of its own (kind). */
function isKubepods(component: string): boolean {
  return component === 'kubepods' || /^(?:[^/]{1,200}-)?kubepods\.slice$/.test(component);
}

function readPod(component: string, parent: string): { podUid?: string; qosClass?: QosClass } | undefined {
  const { qosOfSlice, uid } =
    /^(?:(?:[^/]{1,200}-)?kubepods-(?:(?<qosOfSlice>burstable|besteffort)-)?)?pod(?<uid>[0-9a-f]{32}|[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})(?:\.slice)?$/.exec(
      component,
    )?.groups ?? {};
  if (uid !== undefined) {
    const qosClass = qosOf(qosOfSlice ?? parent);
    return { podUid: uid.replaceAll('_', '-'), qosClass };
  }
  // Pods of Podman's have an id and no uid.
  const ofPodman = parent === 'libpod_parent' || component.startsWith('machine-libpod_pod_');
  return ofPodman && /^(?:machine-libpod_pod_)?[0-9a-f]{64}(?:\.slice)?$/.test(component) ? {} : undefined;
}

function qosOf(name: string): QosClass {
  return name === 'burstable' || name === 'besteffort' ? name : 'guaranteed';
}

/** Whose memory limit was hit, by the names of `oom.scope`; a cpuset's shows in the constraint, not in a path. */
export type ScopeOfPath = 'container' | 'pod' | 'node_allocatable' | 'nested' | 'node' | 'unknown';

/**
 * Tells whose limit `oomMemcg` is; seen from the victim's container where `taskMemcg` tells which that is. `node` is
 * the root group, and any container in which the whole Kubernetes node or container engine of the victim runs.
 */
export function scopeOfLimit(oomMemcg: string, taskMemcg: string = oomMemcg): ScopeOfPath {
  if (oomMemcg === '/') return 'node';
  const { containerMemcg, podMemcg, kubepodsMemcg } = identifyMemcg(taskMemcg);
  if (containerMemcg !== undefined) {
    if (isContainerLimit(oomMemcg, containerMemcg)) return 'container';
    if (oomMemcg.startsWith(`${containerMemcg}/`)) return 'nested';
  }
  if (oomMemcg === podMemcg) return 'pod';
  if (kubepodsMemcg !== undefined && isOfQos(oomMemcg, kubepodsMemcg)) return 'node_allocatable';
  const around = identifyMemcg(oomMemcg).containerMemcg === oomMemcg && taskMemcg.startsWith(`${oomMemcg}/`);
  if (around || isSystemContainer(oomMemcg)) return 'node';
  return isBelowDocker(oomMemcg) ? 'container' : 'unknown';
}

/** Whatever its name: all groups right below that of Docker are containers, but for those of builds. */
function isBelowDocker(memcg: string): boolean {
  return memcg !== '/docker/buildkit' && /^\/docker\/[^/]+$/.test(memcg);
}

/** crun puts the processes into a group `container` below the container's own, and on v1 the limit, too. */
function isContainerLimit(oomMemcg: string, containerMemcg: string): boolean {
  return oomMemcg === containerMemcg || oomMemcg === `${containerMemcg}/container`;
}

/** The group of all pods, or that of all pods of one class. */
function isOfQos(oomMemcg: string, kubepodsMemcg: string): boolean {
  if (oomMemcg === kubepodsMemcg) return true;
  if (!oomMemcg.startsWith(`${kubepodsMemcg}/`)) return false;
  return /^(?:(?:[^/]{1,200}-)?kubepods-)?(?:burstable|besteffort)(?:\.slice)?$/.test(
    oomMemcg.slice(kubepodsMemcg.length + 1),
  );
}

/** LXC and systemd-nspawn run whole systems: `/lxc.payload.ci`, `/lxc/ci`, `/machine.slice/systemd-nspawn@ci.service`. */
function isSystemContainer(memcg: string): boolean {
  return /^\/(?:lxc\.payload\.[^/]+|lxc\/[^/]+|machine\.slice\/(?:systemd-nspawn@[^/]+\.service|machine-[^/]+\.scope)(?:\/payload)?)$/.test(
    memcg,
  );
}
