import { execFile } from 'node:child_process';
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cachePath } from './cache.ts';
import { isAlive } from './docker-host.ts';
import { eventually } from './eventually.ts';
import { Kubelet } from './kubelet.ts';
import { lockMachine, untilKillsAreReported } from './machine-lock.ts';
import { podGroups } from './pod-groups.ts';

const execute = promisify(execFile);
const runtimes = join(import.meta.dirname, '../runtimes');

/** A runtime of its own beside whatever runs on this machine. One at a time: it has the machine's lock. */
export interface CriHost {
  /** Serves the CRI, and the runtime's own API if it has one. */
  readonly socket: string;
  readonly kubelet: Kubelet;
  /** SIGKILL to the daemon. Its containers go on. */
  kill(): Promise<void>;
  /** The daemon starts again, on the same data and socket. */
  start(): Promise<void>;
  /** Removes every pod and ends everything that was started. */
  stop(): Promise<void>;
}

/** Which runtime to start, and how. */
interface CriHostOptions {
  /** Its scripts are `NAME-up.sh` and `NAME-down.sh`, its socket `NAME.sock`. */
  name: 'containerd' | 'crio';
  /** For `NAME-up.sh`, after the folder. */
  upArguments: string[];
  /** Once it has started: for one that does not have the image yet. */
  importImage?: (socket: string) => Promise<void>;
}

/** The image that the tests run, made when it is not there. */
export async function testImage(): Promise<string> {
  const archive = cachePath('test-image.tar');
  await execute(join(runtimes, 'make-image.sh'), [archive]);
  return archive;
}

/** Starts a runtime; it knows the test image then. */
export async function startCriHost({ name, upArguments, importImage }: CriHostOptions): Promise<CriHost> {
  const unlock = await lockMachine();
  const folder = await mkdtemp(join(tmpdir(), `exit137-${name}-`));
  const socket = join(folder, `${name}.sock`);
  const kubelet = new Kubelet(socket, folder);
  const start = async (): Promise<void> => {
    const env = { ...process.env, EXIT137_CGROUP_DRIVER: podGroups.driver };
    await execute(join(runtimes, `${name}-up.sh`), [folder, ...upArguments], { env });
  };
  const down = async (): Promise<void> => {
    await execute(join(runtimes, `${name}-down.sh`), [folder]);
    await kubelet.removeGroups();
    unlock();
  };
  try {
    await start();
    await importImage?.(socket);
    await kubelet.untilReady();
    await untilKillsAreReported();
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
      await eventually(`${name} ${pid} has ended`, () => !isAlive(pid) || undefined);
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
