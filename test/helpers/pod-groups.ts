import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from './eventually.ts';

const execute = promisify(execFile);

const mib = 2 ** 20;

/** The groups of pods of class burstable, as a kubelet makes them. */
export interface PodGroups {
  /** Whose the groups are: the runtime must be told. */
  readonly driver: 'cgroupfs' | 'systemd';
  /** Below the root of a hierarchy. */
  nameOf(uid: string): string;
  /** Makes the pod's group and those above it where memory is accounted, as a kubelet does before the sandbox is run. */
  make(uid: string, limitMib: number | undefined): Promise<void>;
  /** Resolves when the pod's group is gone from every hierarchy. */
  remove(uid: string): Promise<void>;
}

const cgroupfs: PodGroups = {
  driver: 'cgroupfs',
  nameOf: (uid) => `/kubepods/burstable/pod${uid}`,
  make: (uid, limitMib) => {
    let folder = existsSync('/sys/fs/cgroup/memory') ? '/sys/fs/cgroup/memory' : '/sys/fs/cgroup';
    for (const name of cgroupfs.nameOf(uid).split('/').slice(1)) {
      if (existsSync(join(folder, 'cgroup.subtree_control'))) {
        writeFileSync(join(folder, 'cgroup.subtree_control'), '+memory');
      }
      folder = join(folder, name);
      mkdirSync(folder, { recursive: true });
    }
    if (limitMib === undefined) return Promise.resolve();
    const file = ['memory.max', 'memory.limit_in_bytes'].find((name) => existsSync(join(folder, name)));
    writeFileSync(join(folder, file!), String(limitMib * mib));
    return Promise.resolve();
  },
  remove: async (uid) => {
    for (const root of hierarchyRoots()) {
      const pod = join(root, cgroupfs.nameOf(uid));
      await eventually(`the group ${pod} is gone`, () => {
        removeTree(pod);
        return existsSync(pod) ? undefined : true;
      });
      // Another pod's group can be there, or be gone this very moment.
      for (const name of ['kubepods/burstable', 'kubepods']) tryRemoving(join(root, name));
    }
  },
};

const systemd: PodGroups = {
  driver: 'systemd',
  nameOf: (uid) => `/kubepods.slice/kubepods-burstable.slice/${sliceOf(uid)}`,
  make: async (uid, limitMib) => {
    await execute('systemctl', ['start', sliceOf(uid)]);
    if (limitMib === undefined) return;
    await execute('systemctl', ['set-property', '--runtime', sliceOf(uid), `MemoryMax=${limitMib}M`]);
  },
  remove: async (uid) => {
    await execute('systemctl', ['stop', sliceOf(uid)]);
    const pod = join('/sys/fs/cgroup', systemd.nameOf(uid));
    await eventually(`the group ${pod} is gone`, () => (existsSync(pod) ? undefined : true));
  },
};

/** Those of this machine: systemd's where it manages services. */
export const podGroups: PodGroups = existsSync('/run/systemd/private') ? systemd : cgroupfs;

function sliceOf(uid: string): string {
  return `kubepods-burstable-pod${uid.replaceAll('-', '_')}.slice`;
}

function removeTree(folder: string): void {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(folder, entry.name));
  }
  tryRemoving(folder);
}

function tryRemoving(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EBUSY' && code !== 'ENOTEMPTY' && code !== 'ENOENT') throw error;
  }
}

/** Mount points of all cgroup hierarchies: on v1 a runtime makes its groups in each of them. */
function hierarchyRoots(): string[] {
  const lines = readFileSync('/proc/mounts', 'latin1').split('\n');
  const mounts = lines.map((line) => line.split(' ')).filter(([, , type]) => type === 'cgroup' || type === 'cgroup2');
  return mounts.map(([, path]) => path!);
}
