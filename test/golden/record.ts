/**
 * record.ts FOLDER
 *
 * Records a Docker host on which containers die, for the golden tests: starts a daemon of its own on this machine, runs
 * containers to their deaths, and writes one file for the host as it was and one for each event that followed. Needs
 * what the integration tests need.
 *
 *     node test/golden/record.ts test/golden/docker-20.10-cgroup-v1
 *
 * The daemon is the first dockerd on the PATH. On cgroup v2, in the virtual machine, from which only stdout gets out:
 *
 *     test/vm/vm-run -e PATH=$PATH -e EXIT137_PATIENCE=15 -e EXIT137_TRIES=2000 sh -c \
 *       'node test/golden/record.ts /run/tmp/host >&2 && tar -C /run/tmp/host -c .' | tar -x -C test/golden/docker-26.1-cgroup-v2
 *
 * Then `UPDATE_GOLDEN=1 node --test test/golden/golden.test.ts` writes what the service makes of it.
 */
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { basename, dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import type Docker from 'dockerode';
import { mainPid, startDocker, type DockerHost } from '../helpers/docker-host.ts';
import { eventually } from '../helpers/eventually.ts';
import { memoryCgroupOf, onUnifiedHierarchy } from '../helpers/nested-cgroup.ts';
import { emptyStep, formatStep, type Step } from './recording.ts';

const memoryRoot = onUnifiedHierarchy ? '/sys/fs/cgroup' : '/sys/fs/cgroup/memory';

/**
 * What is kept of a container's group. Not memory.peak: from a regular file it cannot be read as from the kernel, which
 * refuses (6.1) or obeys (6.12) the write that resets it.
 */
const memoryFiles = onUnifiedHierarchy
  ? ['current', 'events', 'events.local', 'high', 'low', 'max', 'min', 'oom.group', 'stat', 'swap.current', 'swap.max']
  : [
      'failcnt',
      'limit_in_bytes',
      'max_usage_in_bytes',
      'memsw.limit_in_bytes',
      'oom_control',
      'stat',
      'usage_in_bytes',
    ];

/** Answers are kept without what is long, says where things lie on this machine, and is not about the container. */
const leftOut = new Set([
  'GraphDriver',
  'HostConfig',
  'NetworkSettings',
  'ResolvConfPath',
  'HostnamePath',
  'HostsPath',
  'LogPath',
]);

/** Files of the host by path, as they are now. */
class Snapshot {
  readonly files = new Map<string, string>();
  /** Groups of containers that are there. */
  readonly groups = new Set<string>();

  constructor(parent: string, pids: ReadonlySet<number>) {
    for (const pid of pids) this.#take(`proc/${pid}/status`, `/proc/${pid}/status`, /^(Name|State|SigPnd|ShdPnd):/);
    for (const id of readdirSync(parent).filter((name) => /^[0-9a-f]{64}$/.test(name))) {
      const group = `${neutral(parent)}/${id}`;
      this.groups.add(group);
      for (const name of memoryFiles) this.#take(`${group}/memory.${name}`, `${parent}/${id}/memory.${name}`);
    }
    this.#take('proc/vmstat', '/proc/vmstat', /^(drop_pagecache|drop_slab|oom_kill) /);
  }

  /** Takes the lines that match. A file that is not there, or goes meanwhile, is left out. */
  #take(path: string, source: string, lines = /^/): void {
    try {
      const kept = readFileSync(source, 'latin1')
        .split('\n')
        .slice(0, -1)
        .filter((line) => lines.test(line));
      this.files.set(path, kept.map((line) => `${line}\n`).join(''));
    } catch {
      // It is gone.
    }
  }

  /** What has changed since another. */
  since(before: Snapshot): Pick<Step, 'files' | 'gone'> {
    const files = [...this.files].filter(([path, content]) => before.files.get(path) !== content);
    const groups = [...before.groups].filter((group) => !this.groups.has(group));
    const gone = [...before.files.keys()].filter(
      (path) => !this.files.has(path) && !groups.some((group) => path.startsWith(`${group}/`)),
    );
    return { files: new Map(files), gone: [...gone, ...groups] };
  }
}

/** Where a group is on a host with the usual names. */
function neutral(parent: string): string {
  return join(dirname(parent), 'docker').slice(1);
}

/** Records events with what has changed when they arrive. */
class Recorder {
  readonly steps: Step[] = [];
  readonly #host: DockerHost;
  readonly #parent: string;
  readonly #pids = new Set<number>();
  #before: Snapshot;

  static async start(host: DockerHost, containers: readonly Docker.Container[]): Promise<Recorder> {
    const pids = await Promise.all(containers.map(mainPid));
    const recorder = new Recorder(host, dirname(await memoryCgroupOf(pids[0]!)), pids);
    const [first] = recorder.steps as [Step];
    first.answers.set('/version', await recorder.#ask('/version'));
    first.answers.set('/containers/json', await recorder.#ask('/containers/json?all=1'));
    for (const { id } of containers)
      first.answers.set(`/containers/${id}/json`, await recorder.#ask(`/containers/${id}/json`));
    const events = await ask(host, `/events?filters=${encodeURIComponent('{"type":["container"]}')}`);
    events.setEncoding('utf8').on('data', (lines: string) => {
      for (const line of lines.trimEnd().split('\n')) recorder.#take(line);
    });
    return recorder;
  }

  constructor(host: DockerHost, parent: string, pids: readonly number[]) {
    this.#host = host;
    this.#parent = parent;
    this.#pids = new Set(pids);
    this.#before = new Snapshot(parent, this.#pids);
    const answers = new Map<string, string>();
    this.steps.push({ files: new Map([...this.#always(), ...this.#before.files]), gone: [], answers });
  }

  /** Waits for an event of a container. */
  async until(action: string, { id }: Docker.Container, count = 1): Promise<void> {
    const found = () =>
      this.steps.filter(({ event = '{}' }) => {
        const { Action, Actor } = JSON.parse(event) as { Action?: string; Actor?: { ID: string } };
        return Action === action && Actor?.ID === id;
      });
    await eventually(`${action} of ${id}`, () => (found().length >= count ? true : undefined));
  }

  /** Waits for the inspection of a container that was started, and adds it to that step. */
  async inspect({ id }: Docker.Container): Promise<void> {
    const step = this.steps.at(-1)!;
    const path = `/containers/${id}/json`;
    step.answers.set(path, await this.#ask(path));
    const { State } = JSON.parse(step.answers.get(path)!) as { State: { Pid: number } };
    this.#pids.add(State.Pid);
    this.#note(step);
  }

  /** Notes what changed after the last event, in its step. */
  async untilGone({ id }: Docker.Container): Promise<void> {
    await eventually(`the group of ${id} is gone`, () => (existsSync(join(this.#parent, id)) ? undefined : true));
    this.#note(this.steps.at(-1)!);
  }

  #take(event: string): void {
    const step = { ...emptyStep(), event };
    this.#note(step);
    this.steps.push(step);
  }

  #note(step: Step): void {
    const now = new Snapshot(this.#parent, this.#pids);
    const { files, gone } = now.since(this.#before);
    for (const [path, content] of files) step.files.set(path, content);
    step.gone.push(...gone);
    this.#before = now;
  }

  async #ask(path: string): Promise<string> {
    const body = JSON.parse(await text(await ask(this.#host, path))) as unknown;
    const kept = JSON.stringify(body, (key, value: unknown) => (leftOut.has(key) ? undefined : value), 2);
    return kept.replace(/("KernelVersion": "[\d.]+)[^"]*/g, '$1');
  }

  /** What never changes. */
  #always(): [string, string][] {
    const mounts = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .filter((line) => /^\S+ \S+ cgroup2? /.test(line));
    const markers = onUnifiedHierarchy
      ? ['cgroup.controllers']
      : ['memory.oom_control', 'memory.usage_in_bytes', 'release_agent'];
    const parentFiles = onUnifiedHierarchy ? ['memory.max'] : ['memory.limit_in_bytes'];
    const content = (folder: string, name: string) => readFileSync(join(folder, name), 'latin1');
    return [
      ['etc/hostname', 'node-1\n'],
      ['etc/machine-id', '0123456789abcdef0123456789abcdef\n'],
      ['proc/1/mounts', mounts.map((line) => `${line}\n`).join('')],
      ...markers.map((name): [string, string] => [join(memoryRoot, name).slice(1), content(memoryRoot, name)]),
      ...parentFiles.map((name): [string, string] => [`${neutral(this.#parent)}/${name}`, content(this.#parent, name)]),
    ];
  }
}

async function ask({ socket }: DockerHost, path: string): Promise<IncomingMessage> {
  const asked = request({ socketPath: socket, path, agent: false });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return response;
}

/** What happens to five containers; the first goes on all the time. */
async function play(host: DockerHost): Promise<Step[]> {
  const web = await host.run(['memhog', 'hold', '12'], { name: 'web' });
  const worker = await host.run(['memhog', 'signal', '64'], { name: 'worker' });
  const importer = await host.run(['memhog', 'signal', '64'], { name: 'importer' });
  const api = await host.run(['memhog', 'signal', '64'], { name: 'api', restart: 'on-failure', maxRestarts: 3 });
  const mailer = await host.run(['memhog', 'sleep'], { name: 'mailer' });
  const pids = {
    worker: await mainPid(worker),
    importer: await mainPid(importer),
    api: await mainPid(api),
  };
  const recorder = await Recorder.start(host, [web, worker, importer, api, mailer]);

  process.kill(pids.worker, 'SIGUSR1');
  await recorder.until('oom', worker);
  process.kill(pids.importer, 'SIGUSR2');
  await recorder.until('die', importer);
  await recorder.untilGone(importer);
  process.kill(pids.api, 'SIGUSR2');
  await recorder.until('start', api);
  await recorder.inspect(api);
  await mailer.stop();
  await recorder.until('stop', mailer);
  await recorder.untilGone(mailer);
  return recorder.steps;
}

function nameOf({ event }: Step): string {
  if (event === undefined) return 'host';
  const { Action, Actor } = JSON.parse(event) as { Action: string; Actor: { Attributes: { name: string } } };
  return `${Actor.Attributes.name}-${Action}`;
}

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error(`usage: ${basename(import.meta.filename)} FOLDER`);
const host = await startDocker();
try {
  const steps = await play(host);
  mkdirSync(folder, { recursive: true });
  for (const [index, step] of steps.entries()) {
    writeFileSync(join(folder, `${String(index).padStart(2, '0')}-${nameOf(step)}.txt`), formatStep(step));
  }
} finally {
  await host.stop();
}
// The stream of events may still be open.
process.exit(0);
