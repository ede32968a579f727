import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { KernelKills } from '../bench/kernel-kills.ts';
import { startDocker, type DockerHost } from '../helpers/docker-host.ts';
import { eventually, patience } from '../helpers/eventually.ts';
import { lockMachine } from '../helpers/machine-lock.ts';
import { onUnifiedHierarchy } from '../helpers/nested-cgroup.ts';
import { judge, type KernelAccount, type Verdict } from './judge.ts';
import { KubernetesNode } from './kubernetes-node.ts';
import { Observer, type Arrival, type ObserverOptions } from './observer.ts';
import type { Need, Scenario, Truth } from './scenario.ts';

/** What became of one scenario on one kernel. */
export interface Row extends Partial<Verdict> {
  scenario: string;
  /** What of its needs is not there; it was not run then. */
  missing?: string;
  lost?: string;
  failures: string[];
}

/** A scenario that was run, to be judged again when its observer has ended: nothing more may have come. */
interface Judged {
  row: Row;
  again: () => Verdict;
}

/** After the last record that is expected, another has this long to be one too many. */
const duplicatesWithinMs = 700 * Math.min(patience, 3);

/** The kernel reports no more than ten kills in full in so many seconds. */
const reportsRestMs = 5_100;
const reportsAtOnce = 10;

/** Runs scenarios one after the other; those with the same observer share one. */
export class Bench {
  readonly #told: (row: Row) => void;
  #observer: Observer | undefined;
  #observerOptions: ObserverOptions | undefined;
  #judged: Judged[] = [];
  #docker: DockerHost | undefined;
  /** Times of kills that may have used up the kernel's reports. */
  #reports: number[] = [];
  #nodes = 0;

  /** `told` is called with each row when it is final. */
  constructor(told: (row: Row) => void) {
    this.#told = told;
  }

  async run(scenario: Scenario): Promise<void> {
    const { name, needs = [] } = scenario;
    const missing = needs.filter((need) => !isThere(need));
    if (missing.length > 0) {
      this.#told({ scenario: name, missing: missing.join(', '), failures: [] });
      return;
    }
    const row: Row = { scenario: name, lost: scenario.lost?.what, failures: [] };
    try {
      await this.#attempt(scenario, row);
    } catch (error) {
      row.failures.push(`it could not be run: ${String(error)}`);
      this.#told(row);
    }
  }

  /** Ends what runs, and tells the rows that are left. */
  async close(): Promise<void> {
    await this.#endObserver();
    await this.#docker?.stop();
    this.#docker = undefined;
  }

  async #attempt(scenario: Scenario, row: Row): Promise<void> {
    const ofDocker = scenario.needs?.includes('Docker') === true;
    if (ofDocker) this.#docker ??= await startDocker();
    // Docker's host has the lock already.
    const unlock = this.#docker === undefined ? await lockMachine() : () => {};
    try {
      const receiver = ofDocker ? { sources: { docker: { endpoint: `unix://${this.#docker!.socket}` } } } : undefined;
      const works = ofDocker ? ['memcg', 'kernel_log', 'docker'] : undefined;
      const observer = await this.#observerFor({ receiver, works, ...scenario.observer });
      await this.#untilReportsRest();
      await this.#runWith(observer, scenario, row);
    } finally {
      unlock();
    }
  }

  async #runWith(observer: Observer, scenario: Scenario, row: Row): Promise<void> {
    const node = new KubernetesNode(`exit137-matrix-${process.pid}-${++this.#nodes}`);
    const log = new KernelKills();
    const countedBefore = readCounted();
    const begin = observer.arrivals.length;
    const kernel: KernelAccount = { counted: 0, victims: [] };
    const dockerHost = this.#docker;
    const note = () => {
      kernel.counted = readCounted() - countedBefore;
      const known = new Set(kernel.victims.map(({ pid }) => pid));
      for (const { pid, atMs } of log.readVictims()) {
        if (!known.has(pid)) kernel.victims.push({ pid, atMs });
        known.add(pid);
      }
    };
    // The kernel overwrites its log.
    const noting = setInterval(note, 100);
    try {
      const truth = await scenario.run({
        observer,
        node,
        get docker(): DockerHost {
          if (dockerHost === undefined) throw new Error('this scenario did not say that it needs Docker');
          return dockerHost;
        },
      });
      let end = Infinity;
      const verdict = (): Verdict => judge(truth, kernel, this.#since(observer, truth, begin, end), scenario.lost);
      await untilRight(() => {
        note();
        return verdict();
      });
      await sleep(duplicatesWithinMs);
      note();
      end = observer.arrivals.length;
      this.#reports.push(...kernel.victims.map(({ atMs }) => atMs));
      this.#judged.push({
        row,
        again: () => {
          const last = verdict();
          const told = scenario.lost?.told.filter((pattern) => !pattern.test(observer.log())) ?? [];
          return {
            ...last,
            failures: [...last.failures, ...told.map((pattern) => `its log does not say ${String(pattern)}`)],
          };
        },
      });
    } finally {
      clearInterval(noting);
      log.close();
      await node.remove();
    }
  }

  /** Up to now all records; later those of its own containers, and no longer those of others. */
  #since({ arrivals }: Observer, { kills, exits = [], stuck = [] }: Truth, begin: number, end: number): Arrival[] {
    const own = new Set([
      ...kills.map(({ containerId }) => containerId),
      ...exits.map(({ containerId }) => containerId),
      ...stuck,
    ]);
    return arrivals
      .slice(begin)
      .filter(({ record }, index) => begin + index < end || own.has(record.resource['container.id'] as string));
  }

  async #observerFor(options: ObserverOptions): Promise<Observer> {
    if (this.#observer !== undefined && isDeepStrictEqual(options, this.#observerOptions)) return this.#observer;
    await this.#endObserver();
    this.#observer = await Observer.start(options);
    this.#observerOptions = options;
    return this.#observer;
  }

  async #endObserver(): Promise<void> {
    await this.#observer?.stop();
    for (const { row, again } of this.#judged.splice(0)) this.#told({ ...row, ...again() });
    await this.#observer?.close();
    this.#observer = undefined;
  }

  /** A scenario whose kills the kernel does not report in full shows nothing about who reads the reports. */
  async #untilReportsRest(): Promise<void> {
    const recent = this.#reports.filter((atMs) => atMs > Date.now() - reportsRestMs);
    this.#reports = recent;
    if (recent.length < reportsAtOnce / 2) return;
    await sleep(Math.max(0, Math.max(...recent) + reportsRestMs - Date.now()));
  }
}

/** Waits until the verdict is without a failure, or patience is at its end. */
async function untilRight(ask: () => Verdict): Promise<void> {
  const seconds = patience > 1 ? 4 : 8;
  await eventually('the verdict is right', () => ask().failures.length === 0 || undefined, seconds).catch(
    () => undefined,
  );
}

/** The kernel's count of kills on this machine. */
function readCounted(): number {
  return Number(/^oom_kill (\d+)$/m.exec(readFileSync('/proc/vmstat', 'latin1'))?.[1]);
}

function isThere(need: Need): boolean {
  switch (need) {
    case 'cgroup v1':
      return !onUnifiedHierarchy;
    case 'cgroup v2':
      return onUnifiedHierarchy;
    case 'a machine of its own':
      return process.env['EXIT137_MATRIX_VM'] === 'true';
    case 'Docker':
      return ['/usr/sbin/dockerd', '/usr/bin/dockerd'].some((program) => existsSync(program));
    case 'state':
      return components().includes('file_storage');
    case 'stuck':
      return readFileSync('dist/main.mjs', 'utf8').includes('container.memory.stuck');
  }
}

function components(): string {
  return execFileSync('dist/main.mjs', ['components'], { encoding: 'utf8' });
}
