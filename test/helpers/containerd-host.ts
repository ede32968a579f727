import { execFile } from 'node:child_process';
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { cachePath } from './cache.ts';
import { isAlive } from './docker-host.ts';
import { eventually } from './eventually.ts';
import { Kubelet } from './kubelet.ts';
import { lockMachine } from './machine-lock.ts';
import { podGroups } from './pod-groups.ts';

const execute = promisify(execFile);
const runtimes = join(import.meta.dirname, '../runtimes');

/** A containerd of its own beside whatever runs on this machine. One at a time: it has the machine's lock. */
export interface ContainerdHost {
  /** Serves containerd's own API and the CRI. */
  readonly socket: string;
  readonly kubelet: Kubelet;
  /** SIGKILL to the daemon. Its containers go on. */
  kill(): Promise<void>;
  /** The daemon starts again, on the same data and socket. */
  start(): Promise<void>;
  /** Removes every pod and ends everything that was started. */
  stop(): Promise<void>;
}

/** Starts a containerd with the test image in namespace k8s.io; `programs` is where another than Debian's is found. */
export async function startContainerd(programs?: string): Promise<ContainerdHost> {
  const unlock = await lockMachine();
  const folder = await mkdtemp(join(tmpdir(), 'exit137-containerd-'));
  const socket = join(folder, 'containerd.sock');
  const kubelet = new Kubelet(socket, folder);
  const start = async (): Promise<void> => {
    const env = { ...process.env, EXIT137_CGROUP_DRIVER: podGroups.driver };
    await execute(join(runtimes, 'containerd-up.sh'), programs === undefined ? [folder] : [folder, programs], { env });
  };
  const down = async (): Promise<void> => {
    await execute(join(runtimes, 'containerd-down.sh'), [folder]);
    await kubelet.removeGroups();
    unlock();
  };
  try {
    await start();
    await importImage(socket, programs);
    await kubelet.untilReady();
  } catch (error) {
    await down();
    throw error;
  }
  return {
    socket,
    kubelet,
    start: async () => {
      await start();
      kubelet.reconnect();
      await kubelet.untilReady();
    },
    kill: async () => {
      const pid = Number(await readFile(join(folder, 'pid'), 'utf8'));
      process.kill(pid, 'SIGKILL');
      await eventually(`containerd ${pid} has ended`, () => !isAlive(pid) || undefined);
    },
    stop: async () => {
      try {
        await kubelet.stop();
      } finally {
        await down();
      }
    },
  };
}

async function importImage(socket: string, programs: string | undefined): Promise<void> {
  const archive = cachePath('test-image.tar');
  await execute(join(runtimes, 'make-image.sh'), [archive]);
  const path = [programs, process.env['PATH']].filter((folders) => folders !== undefined).join(delimiter);
  const ctr = ['-a', socket, '-n', 'k8s.io', 'images', 'import', '--no-unpack', archive];
  await execute('ctr', ctr, { env: { ...process.env, PATH: path } });
}
