import { mkdirSync, chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { only, podOf, type ConfigMap, type Manifest } from './chart.ts';

/** What the kubelet would have known. */
export interface Node {
  /** The value of each variable of the downward API. */
  env: Record<string, string>;
  /** An empty folder, for what is mounted. */
  folder: string;
}

/**
 * What Docker must be asked for to run the container of a rendered chart as a kubelet would have a runtime do it: the
 * same user, capabilities, mounts, arguments and memory limit.
 *
 * A privileged container becomes one with the one device that it is privileged for, and the capability: not every
 * machine that runs the tests may give all of its devices away.
 */
export function toDockerRequest(manifests: readonly Manifest[], node: Node): Docker.ContainerCreateOptions {
  const pod = podOf(manifests);
  const [container] = pod.containers;
  const { privileged, readOnlyRootFilesystem, allowPrivilegeEscalation, capabilities } = container!.securityContext;
  const { runAsUser, runAsGroup } = pod.securityContext;
  const memoryBytes = Number(/^(\d+)Mi$/.exec(container!.resources.limits!['memory']!)![1]) * 2 ** 20;
  const { binds, tmpfs } = volumesOf(manifests, node);
  return {
    Image: container!.image,
    Cmd: container!.args,
    Env: container!.env.map(({ name }) => `${name}=${node.env[name]}`),
    User: `${runAsUser}:${runAsGroup}`,
    HostConfig: {
      NetworkMode: 'host',
      ReadonlyRootfs: readOnlyRootFilesystem,
      Memory: memoryBytes,
      MemorySwap: memoryBytes,
      Binds: binds,
      Tmpfs: tmpfs,
      SecurityOpt: allowPrivilegeEscalation === false ? ['no-new-privileges'] : [],
      CapDrop: privileged === true ? [] : capabilities?.drop,
      CapAdd: privileged === true ? ['SYSLOG'] : capabilities?.add,
      Devices: privileged === true ? [{ PathOnHost: kmsg, PathInContainer: kmsg, CgroupPermissions: 'r' }] : [],
    },
  };
}

const kmsg = '/dev/kmsg';

function volumesOf(manifests: readonly Manifest[], { folder }: Node) {
  const { containers, volumes } = podOf(manifests);
  const binds: string[] = [];
  const tmpfs: Record<string, string> = {};
  for (const { name, mountPath, readOnly, mountPropagation } of containers[0]!.volumeMounts) {
    const volume = volumes.find((candidate) => candidate.name === name)!;
    const options = [readOnly === true ? 'ro' : 'rw', ...(mountPropagation === 'HostToContainer' ? ['rslave'] : [])];
    if (volume.emptyDir !== undefined) tmpfs[mountPath] = 'mode=1777';
    else {
      const path = volume.hostPath?.path ?? writeConfig(only<ConfigMap>(manifests, 'ConfigMap'), join(folder, name));
      binds.push(`${path}:${mountPath}:${options.join()}`);
    }
  }
  return { binds, tmpfs };
}

/** A ConfigMap as a volume has it: for everybody to read. */
function writeConfig({ data }: ConfigMap, path: string): string {
  mkdirSync(path);
  chmodSync(path, 0o755);
  for (const [name, text] of Object.entries(data)) writeFileSync(join(path, name), text, { mode: 0o644 });
  return path;
}
