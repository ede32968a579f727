import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { ContainerTable } from '../../receiver/container-table.ts';
import { Correlator } from '../../receiver/correlator.ts';
import type { Incident } from '../../receiver/incident.ts';
import type { Observation } from '../../receiver/observation.ts';
import { MemcgSource } from '../../receiver/sources/memcg.ts';
import { FakeHost } from '../helpers/fake-cgroups.ts';
import { idOf, victimOf } from './observations.ts';

const pods = [1, 2].map((n) => `kubepods/burstable/pod5a1f3c62-0b5e-4a51-9e0f-00000000000${n}`);
/** Two in the first pod, one of them with another container inside it, and one in the second. */
const places = [
  `${pods[0]}/${idOf(1)}`,
  `${pods[0]}/${idOf(2)}`,
  `${pods[1]}/${idOf(3)}`,
  `${pods[0]}/${idOf(2)}/docker/${idOf(4)}`,
];

/** What the kernel, its log, the clock and whoever reads can do next. */
type Step =
  | { do: 'kill'; container: number; logged: boolean; before: number }
  | { do: 'lose'; container: number; logged: boolean }
  | { do: 'count'; kill: number }
  | { do: 'log'; kill: number }
  | { do: 'remove'; container: number }
  | { do: 'removePod'; pod: number }
  | { do: 'look' }
  | { do: 'lookAt'; container: number }
  | { do: 'turn' }
  | { do: 'pass'; ms: number };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('kill' as const),
      container: fc.nat(places.length - 1),
      logged: fc.boolean(),
      /** So much of it happens at once. */
      before: fc.nat(6),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('lose' as const),
      container: fc.nat(places.length - 1),
      logged: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('count' as const), kill: fc.nat(3) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('log' as const), kill: fc.nat(3) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), container: fc.nat(places.length - 1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('removePod' as const), pod: fc.nat(1) }) },
  { weight: 3, arbitrary: fc.constant({ do: 'look' as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('lookAt' as const), container: fc.nat(places.length - 1) }) },
  { weight: 3, arbitrary: fc.constant({ do: 'turn' as const }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 100, 700) }) },
);

interface Kill {
  pid: number;
  container: number;
  atMs: number;
  /** Counters that it has still to raise: the machine's, then from the inside out. */
  counters: string[];
  /** Its line is in the log, and not read yet. */
  logged: boolean;
}

/** A kernel on files. */
class FakeKernel {
  readonly kills: Kill[] = [];
  readonly #host: FakeHost;
  readonly #counts = new Map<string, number>();

  constructor(host: FakeHost) {
    this.#host = host;
    for (const group of new Set(places.flatMap(around))) {
      mkdirSync(this.#dir(group), { recursive: true });
      this.#write(group);
    }
  }

  kill(container: number, logged: boolean): Kill | undefined {
    const place = places[container]!;
    if (!existsSync(this.#dir(place))) return undefined;
    const kill = {
      pid: 100 + this.kills.length,
      container,
      atMs: Date.now(),
      counters: ['vmstat', ...around(place)],
      logged,
    };
    this.kills.push(kill);
    return kill;
  }

  /** The next counter is raised. */
  count(kill: Kill | undefined): void {
    const counter = kill?.counters.shift();
    if (counter === undefined) return;
    this.#counts.set(counter, (this.#counts.get(counter) ?? 0) + 1);
    this.#write(counter);
  }

  /** A group goes only when its processes have, and these have been counted by then. */
  remove(group: string): void {
    for (const kill of this.kills) if (`${places[kill.container]}/`.startsWith(`${group}/`)) this.#finish(kill);
    rmSync(this.#dir(group), { recursive: true, force: true });
  }

  end(): void {
    for (const kill of this.kills) this.#finish(kill);
  }

  #finish(kill: Kill): void {
    while (kill.counters.length > 0) this.count(kill);
  }

  #write(counter: string): void {
    const line = `oom_kill ${this.#counts.get(counter) ?? 0}\n`;
    if (counter === 'vmstat') this.#host.write('proc/vmstat', `nr_free_pages 1\n${line}`);
    else writeFileSync(join(this.#dir(counter), 'memory.events'), `oom 0\n${line}oom_group_kill 0\n`);
  }

  #dir(group: string): string {
    return join(this.#host.root, 'sys/fs/cgroup', group);
  }
}

/** A group and all around it, from the inside out. */
function around(place: string): string[] {
  const names = place.split('/');
  return names.map((_, index) => names.slice(0, names.length - index).join('/'));
}

describe('any interleaving of kills, readings of container, pod, kubepods and vmstat, log lines and removals', () => {
  it('is told as one record for each kill', { timeout: 55_000 }, async (t) => {
    keepNoDescriptors(t);
    const steps = fc.array(anyStep, { minLength: 4, maxLength: 20, size: 'max' });
    await fc.assert(
      fc.asyncProperty(steps, fc.boolean(), (all, isLogUp) => tellOnce(t, all, isLogUp)),
      { numRuns: 60 },
    );
  });
});

async function tellOnce(t: TestContext, steps: readonly Step[], isLogUp: boolean): Promise<void> {
  const host = new FakeHost(t, 2);
  const kernel = new FakeKernel(host);
  const run = await observe(host, isLogUp);
  const log = (kill: Kill | undefined): void => {
    if (kill === undefined || !kill.logged || kill.counters[0] === 'vmstat') return;
    kill.logged = false;
    if (!isLogUp) return;
    const memcg = `/${places[kill.container]}`;
    const invocation = { at: { monotonicUs: kill.pid }, constraint: 'CONSTRAINT_MEMCG', oomMemcg: memcg };
    run.take(victimOf('', kill.atMs, kill.pid, { memcg, invocation }));
  };
  try {
    for (const step of steps) {
      switch (step.do) {
        case 'kill': {
          const kill = kernel.kill(step.container, step.logged);
          for (let n = 0; n < step.before; n++) kernel.count(kill);
          break;
        }
        case 'lose':
          // Killed and gone before anybody looks.
          kernel.kill(step.container, step.logged);
          kernel.remove(places[step.container]!);
          break;
        case 'count':
          kernel.count(kernel.kills[step.kill]);
          break;
        case 'log':
          log(kernel.kills[step.kill]);
          break;
        case 'remove':
          kernel.remove(places[step.container]!);
          break;
        case 'removePod':
          kernel.remove(pods[step.pod]!);
          break;
        case 'look':
          run.source.look();
          break;
        case 'lookAt':
          run.source.lookAt(idOf(step.container + 1));
          break;
        case 'turn':
          await setImmediate();
          break;
        case 'pass':
          run.pass(step.ms);
      }
    }
    kernel.end();
    run.source.look();
    await setImmediate();
    run.source.look();
    for (const kill of kernel.kills) log(kill);
    for (let n = 0; n < 6; n++) run.pass(5_000);
    const told = run.told.filter(({ kind }) => kind.endsWith('oom_kill'));
    assert.equal(told.length, kernel.kills.length, told.map(summarize).join('; '));
    assert.equal(run.correlator.ledger.unattributed, 0);
  } finally {
    await run.stop();
    rmSync(host.root, { recursive: true, force: true });
  }
}

/** The real source and correlator, with a clock by hand. */
async function observe(host: FakeHost, isLogUp: boolean) {
  const witnesses = { isRuntimeUp: () => false, isKernelLogUp: () => isLogUp, isBeginning: () => false };
  const correlator = new Correlator(new ContainerTable(100), 600, witnesses);
  let monotonicMs = 0;
  const now = () => ({ wallMs: Date.now(), monotonicMs });
  const told: Incident[] = [];
  const take = (observation: Observation): void => void told.push(...correlator.take(observation, now()));
  const source = new MemcgSource({
    hostRoot: host.root,
    pollIntervalMs: 600_000,
    sampleIntervalMs: 0,
    maxGroups: 1000,
    onBadInput: () => {},
  });
  const stopping = new AbortController();
  const up = Promise.withResolvers<void>();
  const observing = source.observe(take, up.resolve, stopping.signal);
  await up.promise;
  return {
    source,
    correlator,
    told,
    take,
    pass: (ms: number): void => {
      monotonicMs += ms;
      told.push(...correlator.settle(now()));
    },
    stop: (): Promise<void> => (stopping.abort(), observing),
  };
}

function summarize(incident: Incident): string {
  if (incident.kind !== 'oom_kill') return incident.kind;
  const { container, named, evidence } = incident;
  return `${Number.parseInt(container.id, 16)} ${named?.victim.pid ?? '-'} ${evidence.join()}`;
}

/** A file that was removed stays readable by a kept descriptor, other than one of a cgroup: has none be kept. */
function keepNoDescriptors(t: TestContext): void {
  const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))!;
  const set = (limit: string) => execFileSync('prlimit', [`--pid=${process.pid}`, `--nofile=${limit}:`]);
  set('256');
  t.after(() => set(soft!));
}
