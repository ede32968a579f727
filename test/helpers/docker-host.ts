import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { cachePath } from './cache.ts';
import { eventually } from './eventually.ts';
import { lockMachine, untilKillsAreReported } from './machine-lock.ts';

const execute = promisify(execFile);
const runtimes = join(import.meta.dirname, '../runtimes');

/** The image with busybox and memhog (test/runtimes/memhog.c tells its modes). */
const image = 'localhost/exit137-test:1';

/** How to run a container; its memory is limited without swap, its network is none. */
interface RunOptions {
  name?: string;
  /** Default 32 MiB. */
  memoryMib?: number;
  /** Docker's `--rm`. */
  autoRemove?: boolean;
  /** Docker's `--restart`. */
  restart?: 'always' | 'on-failure';
  maxRestarts?: number;
}

/** A Docker API with a daemon of its own beside whatever runs on this machine. One at a time: it has the machine's lock. */
export interface DockerHost {
  socket: string;
  docker: Docker;
  /** `docker run -d`: resolves with the container when it was started, and takes signals if it is there to do so. */
  run(command: string[], options?: RunOptions): Promise<Docker.Container>;
  /** `docker create`, for a test that starts many at once. */
  create(command: string[], options?: RunOptions): Promise<Docker.Container>;
  /** SIGKILL to the daemon. Its containers go on. */
  kill(): Promise<void>;
  /** The daemon starts again, on the same data and socket. */
  start(): Promise<void>;
  /** Removes every container and ends everything that was started. */
  stop(): Promise<void>;
}

/** Starts a dockerd with the test image loaded. */
export function startDocker(): Promise<DockerHost> {
  return startHost('docker');
}

/** Starts Podman's Docker-compatible service with the test image loaded. */
export function startPodman(): Promise<DockerHost> {
  return startHost('podman');
}

async function startHost(runtime: 'docker' | 'podman'): Promise<DockerHost> {
  const unlock = await lockMachine();
  const folder = await mkdtemp(join(tmpdir(), `exit137-${runtime}-`));
  const socket = join(folder, `${runtime}.sock`);
  const docker = new Docker({ socketPath: socket });
  const start = async () => {
    await execute(join(runtimes, `${runtime}-up.sh`), [folder]);
  };
  await start();
  await loadImage(docker);
  await untilKillsAreReported();

  const create: DockerHost['create'] = (command, options) => docker.createContainer(toRequest(command, options));
  return {
    socket,
    docker,
    create,
    run: async (command, options) => {
      const container = await create(command, options);
      await container.start();
      if (takesSignals(command)) await untilReady(await mainPid(container));
      return container;
    },
    start,
    kill: async () => {
      const pid = Number(await readFile(join(folder, 'pid'), 'utf8'));
      process.kill(pid, 'SIGKILL');
      while (isAlive(pid)) await sleep(5);
    },
    stop: async () => {
      await execute(join(runtimes, `${runtime}-down.sh`), [folder]);
      unlock();
    },
  };
}

function toRequest(command: string[], options: RunOptions = {}): Docker.ContainerCreateOptions {
  const memoryBytes = (options.memoryMib ?? 32) * 2 ** 20;
  return {
    name: options.name,
    Image: image,
    Cmd: command,
    HostConfig: {
      NetworkMode: 'none',
      Memory: memoryBytes,
      MemorySwap: memoryBytes,
      AutoRemove: options.autoRemove,
      RestartPolicy:
        options.restart === undefined ? undefined : { Name: options.restart, MaximumRetryCount: options.maxRestarts },
    },
  };
}

/** Host pid of a container's main process. */
export async function mainPid(container: Docker.Container): Promise<number> {
  return (await container.inspect()).State.Pid;
}

/** Waits until a container with Docker's `--rm` is gone. Docker's own wait fails where that is so when it begins. */
export async function untilRemoved(container: Docker.Container): Promise<void> {
  await eventually(`container ${container.id} is removed`, () =>
    container.inspect().then(
      () => undefined,
      (error: { statusCode?: number }) => error.statusCode === 404 || undefined,
    ),
  );
}

/** These modes of memhog run until a signal comes. */
function takesSignals([program, mode]: string[]): boolean {
  return program === 'memhog' && (mode === 'sleep' || mode === 'signal' || mode === 'hold');
}

/**
 * Waits until a memhog has begun to take signals. One that comes earlier is lost: the kernel spares the first process
 * of a container all signals that it does not handle.
 */
export async function untilReady(pid: number): Promise<void> {
  await eventually(`process ${pid} takes signals`, async () => {
    const status = await readFile(`/proc/${pid}/status`, 'latin1');
    const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(status)?.[1];
    const mask = 1n << BigInt(constants.signals.SIGUSR1 - 1);
    // Before it is replaced by memhog, the process is the runtime's, which takes signals for itself.
    return (!/^Name:\t(?:runc|crun|exe\n)/.test(status) && (BigInt(`0x${caught ?? '0'}`) & mask) !== 0n) || undefined;
  });
}

async function loadImage(docker: Docker): Promise<void> {
  const archive = cachePath('test-image.tar');
  await execute(join(runtimes, 'make-image.sh'), [archive]);
  const progress = await docker.loadImage(archive, { quiet: true });
  await new Promise<void>((resolve, reject) => {
    docker.modem.followProgress(progress, (error) => (error === null ? resolve() : reject(error)));
  });
}

/** Whether a process runs. A zombie does not count: nobody hurries to reap what outlived its parent. */
export function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
