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
  ['crio', 'cri-o'],
]);

/**
 * Reads one component of a cgroup path as a container's group, in the layouts of both drivers:
 *
 *     7c1f9d0e2b3a…                         cgroupfs: /docker/<id>, /kubepods/burstable/pod<uid>/<id>
 *     docker-7c1f9d0e2b3a….scope            systemd: docker-, libpod-, cri-containerd-, crio-
 *     libpod-7c1f9d0e2b3a…                  Podman with the cgroupfs driver
 *
 * `libpod-conmon-<id>` and `crio-conmon-<id>` hold the container's monitor, not the container, and an id alone below
 * `libpod_parent` is that of a pod of Podman's.
 */
export function identifyCgroup(component: string, parentComponent = ''): CgroupIdentity | undefined {
  const { prefix, containerId } =
    /^(?:(?<prefix>[a-z][a-z-]*)-)?(?<containerId>[0-9a-f]{64})(?:\.scope)?$/.exec(component)?.groups ?? {};
  if (containerId === undefined || prefix?.endsWith('-conmon')) return undefined;
  if (prefix === undefined && parentComponent === 'libpod_parent') return undefined;
  return { containerId, runtime: runtimeOfPrefix.get(prefix) };
}
