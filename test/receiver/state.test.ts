import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import type { Storage } from '../../pipelines/component.ts';
import { fileStorage } from '../../pipelines/extensions/file-storage.ts';
import { ContainerTable } from '../../receiver/container-table.ts';
import { Correlator } from '../../receiver/correlator.ts';
import type { Incident } from '../../receiver/incident.ts';
import type { Observation } from '../../receiver/observation.ts';
import { keepState } from '../../receiver/resumption.ts';
import { KernelLogSource } from '../../receiver/sources/kernel-log.ts';
import { decodeState } from '../../receiver/state.ts';
import { makeSettings } from '../helpers/component-settings.ts';
import { eventually } from '../helpers/eventually.ts';
import { countIncidents } from '../../receiver/workload.ts';
import { idOf, observationsOf, victimOf } from './observations.ts';
import { instanceOf } from './pods.ts';

const settleMs = 600;
const bootId = '11111111-2222-3333-4444-555555555555';

async function makeStorage(t: TestContext): Promise<{ storage: Storage; directory: string; path: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'exit137-state-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const extension = fileStorage.create({ directory, create_directory: true }, makeSettings());
  await extension.start();
  const storage = extension.storageOf!('receiver_container_lifecycle');
  return { storage, directory, path: storage.open('state').path };
}

/** Which of a container's processes each kill was. */
function victimsIn(told: readonly Incident[]): string[] {
  return told.flatMap((incident) => (incident.kind === 'oom_kill' ? incident.victim : []));
}

/** One run of the parts that remember, from its start to its end. */
function startRun(storage: Storage, boot: string = bootId, kernelLog?: KernelLogSource) {
  const settings = makeSettings();
  const table = new ContainerTable(100);
  const witnesses = {
    isRuntimeUp: () => true,
    isKernelLogUp: () => true,
    beginning: false,
    isBeginning: () => witnesses.beginning,
  };
  const correlator = new Correlator(table, settleMs, witnesses);
  const where = { hostRoot: '/', bootId: boot, countedSinceMs: 1_000 };
  const keeper = keepState(storage, { table, correlator, kernelLog }, where, settings.logger)!;
  const take = (...observations: Observation[]): Incident[] =>
    observations.flatMap((observation) => {
      const incidents = correlator.take(observation, { wallMs: Date.now(), monotonicMs: performance.now() });
      const container = correlator.containerOf(observation);
      if (container !== undefined) keeper.changed(container);
      return incidents;
    });
  return {
    table,
    witnesses,
    correlator,
    keeper,
    take,
    where,
    settings,
    warnings: () => settings.lines.filter(({ level }) => level === 'warn'),
  };
}

type Run = ReturnType<typeof startRun>;

/** A container that runs, was killed in and ended, with all that can be known of one. */
function live({ take, correlator }: Run, number: number): void {
  const { appeared, counted, seen, signalled } = observationsOf(idOf(number));
  take(appeared(10), seen(20, { startedAtMs: 10, pid: 4711, name: `web-${number}` }), counted(30), signalled(40, 15));
  take(victimOf(idOf(number), 29, 4712));
  correlator.settle({ wallMs: 31, monotonicMs: Infinity });
  take(counted(50));
}

describe('the state', () => {
  it('is the same after a restart', async (t) => {
    const { storage, path } = await makeStorage(t);
    const first = startRun(storage);
    live(first, 1);
    live(first, 2);
    await first.keeper.close();
    const before = decodeState(readFileSync(path));
    const second = startRun(storage);
    await second.keeper.close();
    const after = decodeState(readFileSync(path));
    assert.equal(before.containers.size, 2);
    assert.equal(before.containers.get(idOf(2))!.cases[0]!.counted.length, 1, 'a kill is open');
    assert.deepEqual(after, before);
    assert.equal(second.table.get(idOf(1))!.name, 'web-1');
    assert.deepEqual(second.warnings(), []);
  });

  it('has the counters of a pod go on, whichever of its instances is remembered, and the restarts of meanwhile counted', async (t) => {
    const { storage } = await makeStorage(t);
    const beganMs = Date.now() - 60_000;
    const first = startRun(storage);
    const [dead, running, next] = [0, 1, 4].map((restartCount) => instanceOf(1 + restartCount, { restartCount }));
    countIncidents(first.take(dead!.started(beganMs), dead!.exited(beganMs + 10, 1), running!.started(beganMs + 20)));
    await first.keeper.close();
    const second = startRun(storage);
    const { workload } = second.table.get(running!.containerId)!;
    assert.equal(second.table.get(dead!.containerId)!.workload, workload);
    assert.deepEqual([workload.restarts, workload.exits.error, workload.firstSeenAtMs], [1, 1, beganMs]);
    assert.equal(second.table.tellsWorkload(second.table.get(running!.containerId)!), true);
    const listed = (n: typeof next, startedAtMs: number, more: object) => n!.seen(Date.now(), { startedAtMs, ...more });
    const told = second.take(
      listed(dead, beganMs, { running: false, finishedAtMs: beganMs + 10, exitCode: 1 }),
      listed(running, beganMs + 20, { running: false, finishedAtMs: beganMs + 30, exitCode: 2 }),
      listed(next, beganMs + 40_000, {}),
      listed(next, beganMs + 40_000, {}),
    );
    assert.deepEqual(
      told.map(({ kind }) => kind),
      ['exit', 'restart', 'crash_loop'],
    );
    countIncidents(told);
    assert.deepEqual([workload.restarts, workload.exits.error, workload.lastExitCode], [4, 2, 2]);
    await second.keeper.close();
  });

  it('has a crash loop that began told to have ended by the run that follows', async (t) => {
    const { storage } = await makeStorage(t);
    const beganMs = Date.now() - 1_000_000;
    const first = startRun(storage);
    for (const restartCount of [0, 1, 2, 3]) {
      const { started, exited } = instanceOf(1 + restartCount, { restartCount });
      first.take(started(beganMs + restartCount * 1000));
      if (restartCount < 3) first.take(exited(beganMs + restartCount * 1000 + 10, 1));
    }
    await first.keeper.close();
    const second = startRun(storage);
    const { containerId, pod } = instanceOf(4, { restartCount: 3 });
    second.take({ ...observationsOf(containerId).seen(Date.now(), { startedAtMs: beganMs + 3000 }), pod });
    const told = second.correlator.settle({ wallMs: Date.now(), monotonicMs: performance.now() + 11_000 });
    assert.deepEqual(
      told.map((incident) => [incident.kind, incident.kind === 'crash_loop' && incident.state]),
      [['crash_loop', 'ended']],
    );
    await second.keeper.close();
  });

  it('has the kill that was open told once, by the run that follows', async (t) => {
    const { storage } = await makeStorage(t);
    const first = startRun(storage);
    live(first, 1);
    await first.keeper.close();
    const second = startRun(storage);
    const told = second.correlator.settle({ wallMs: Date.now(), monotonicMs: performance.now() + 2 * settleMs });
    assert.deepEqual(
      told.map(({ kind }) => kind),
      ['oom_kill'],
    );
    await second.keeper.close();
    const third = startRun(storage);
    assert.deepEqual(third.correlator.settle({ wallMs: Date.now(), monotonicMs: Infinity }), []);
    await third.keeper.close();
  });

  it('has the victims of a group kill accounted for as often as the machine counts them, on whichever side each is', async (t) => {
    const { appeared, seen, gone } = observationsOf(idOf(1));
    const memcg = `/docker/${idOf(1)}`;
    const kernelTotal = (atMs: number, total: number): Observation => ({ kind: 'node_oom_kills_counted', atMs, total });
    const known = [appeared(10), seen(20, { startedAtMs: 10, pid: 4711 }), kernelTotal(21, 40), gone(25)];
    const invocation = { at: { monotonicUs: 5 }, oomMemcg: memcg, oomGroup: memcg };
    const named = [71, 72, 73].map((pid) =>
      victimOf(idOf(1), 29, pid, { invocation, countedTwice: pid === 71 || undefined }),
    );
    for (const [before, isSettled] of [
      [3, false],
      [1, false],
      [1, true],
      [2, true],
    ] as const) {
      const { storage } = await makeStorage(t);
      const first = startRun(storage);
      first.take(...known, kernelTotal(28, 44), ...named.slice(0, before));
      if (isSettled) first.correlator.settle({ wallMs: 31, monotonicMs: Infinity });
      await first.keeper.close();
      const second = startRun(storage);
      second.take(...named.slice(before));
      second.correlator.settle({ wallMs: 31, monotonicMs: Infinity });
      const { openKills, isBalanced } = second.correlator.ledger;
      assert.deepEqual([openKills, isBalanced], [0, true], `${before} ${isSettled}`);
      await second.keeper.close();
    }
  });

  it('has what the log tells late given to the life that is over, though the next one had begun', async (t) => {
    const { storage } = await makeStorage(t);
    const first = startRun(storage);
    const { appeared, exited, gone, seen } = observationsOf(idOf(1));
    first.take(appeared(10), seen(20, { startedAtMs: 10, pid: 4711 }), exited(60, 137), gone(61));
    assert.equal(first.correlator.settle({ wallMs: 1000, monotonicMs: Infinity }).length, 1);
    first.take(appeared(100));
    await first.keeper.close();
    const second = startRun(storage);
    const told = second.take(victimOf(idOf(1), 55, 4711), victimOf(idOf(1), 56, 4712));
    assert.deepEqual(victimsIn(told), ['init', 'child']);
    await second.keeper.close();
  });

  it('has a group that was made meanwhile given to the life that began meanwhile', async (t) => {
    const { storage } = await makeStorage(t);
    const first = startRun(storage);
    const beganMs = Date.now() - 1000;
    const at = (ms: number): number => beganMs + ms;
    const { appeared, counted, exited, seen } = observationsOf(idOf(1));
    first.take(appeared(at(10)), seen(at(20), { startedAtMs: at(10), pid: 4711 }));
    await first.keeper.close();
    const second = startRun(storage);
    second.witnesses.beginning = true;
    const told = second.take(appeared(at(200), false), counted(at(210)), victimOf(idOf(1), at(205), 4800));
    second.witnesses.beginning = false;
    told.push(...second.take(exited(at(140), 0), seen(at(220), { startedAtMs: at(150), pid: 4800 })));
    told.push(...second.correlator.settle({ wallMs: Date.now(), monotonicMs: Infinity }));
    assert.deepEqual(
      told.map((incident) => (incident.kind === 'oom_kill' ? `oom_kill ${incident.victim}` : incident.kind)),
      ['exit', 'restart', 'oom_kill init'],
    );
    await second.keeper.close();
  });

  it('has the main process of a group known that was made meanwhile, not that of the one before', async (t) => {
    const { storage } = await makeStorage(t);
    const first = startRun(storage);
    const { appeared, counted, processes, exited } = observationsOf(idOf(1));
    first.take(appeared(10), processes(11, 4711));
    await first.keeper.close();
    const second = startRun(storage);
    const atMs = Date.now();
    const told = second.take(appeared(atMs - 100, false), processes(atMs - 90, 812), counted(atMs - 50));
    told.push(...second.take(victimOf(idOf(1), atMs - 51, 812), exited(atMs - 40, 137)));
    assert.deepEqual(victimsIn(told), ['init']);
    await second.keeper.close();
  });

  it('of another boot has nobody taken for the main process that had the same pid', async (t) => {
    const { storage } = await makeStorage(t);
    const first = startRun(storage);
    const { appeared, processes, exited, seen } = observationsOf(idOf(1));
    first.take(appeared(10), processes(11, 4711), exited(60, 0));
    first.correlator.settle({ wallMs: 1000, monotonicMs: Infinity });
    await first.keeper.close();
    const second = startRun(storage, 'another');
    const atMs = Date.now();
    const began = seen(atMs - 29, { startedAtMs: atMs - 30, pid: 812 });
    const told = second.take(began, victimOf(idOf(1), atMs - 20, 4711));
    told.push(...second.correlator.settle({ wallMs: atMs, monotonicMs: Infinity }));
    assert.deepEqual(victimsIn(told), ['child']);
    await second.keeper.close();
  });

  it('of the same boot has it known when the counters alone told of kills', async (t) => {
    const { storage } = await makeStorage(t);
    const made = (): KernelLogSource =>
      new KernelLogSource({
        hostRoot: '/',
        pollIntervalMs: 10,
        onOpen: () => {},
        onGap: () => {},
        onBadInput: () => {},
        open: () => Promise.reject(new Error('nobody may read it')),
      });
    const [earlier, same, other] = [made(), made(), made()];
    const spans = [
      { fromUs: 1000, toUs: 2000 },
      { fromUs: 3000, toUs: 4000 },
    ];
    earlier.resume({ bootId, sequence: 7 }, spans);
    for (const [boot, source] of [
      [bootId, earlier],
      [bootId, same],
      ['another', other],
    ] as const)
      await startRun(storage, boot, source).keeper.close();
    assert.deepEqual(
      [earlier, same, other].map(({ countersTold }) => countersTold),
      [spans, spans, []],
    );
  });

  it('is written before the process can end in any other way, once what was told is taken', async (t) => {
    const { storage, path } = await makeStorage(t);
    const { take, keeper, table } = startRun(storage);
    await eventually('the file is there', () => (readFileIfThere(path) === undefined ? undefined : true));
    const { promise: taken, resolve } = Promise.withResolvers<boolean>();
    take(observationsOf(idOf(1)).appeared(10));
    table.get(idOf(1))!.workload.oomKills = 1;
    keeper.told(taken);
    const { promise: takenFirst, resolve: resolveSecond } = Promise.withResolvers<boolean>();
    table.get(idOf(1))!.workload.oomKills = 2;
    keeper.changed(table.get(idOf(1))!);
    keeper.told(takenFirst);
    const kills = () => decodeState(readFileSync(path)).containers.get(idOf(1))?.workload.oomKills;
    resolveSecond(true);
    await new Promise(setImmediate);
    assert.equal(kills(), undefined, 'what was told first is not taken');
    resolve(true);
    await new Promise(setImmediate);
    assert.equal(kills(), 2);
    await keeper.close();
  });

  it('is left as it was at a stop where what was told is not taken', async (t) => {
    const { storage, path } = await makeStorage(t);
    const { take, keeper } = startRun(storage);
    take(observationsOf(idOf(1)).appeared(10));
    keeper.told(new Promise(() => {}));
    await keeper.close();
    assert.equal(decodeState(readFileSync(path)).containers.size, 0);
  });

  it('is left as it was where a later run must tell something again, and with it all that was told after it', async (t) => {
    const { storage, path } = await makeStorage(t);
    const { take, keeper } = startRun(storage);
    const appear = (n: number) => take(observationsOf(idOf(n)).appeared(10 * n));
    const ids = () => [...decodeState(readFileSync(path)).containers.keys()];
    appear(1);
    keeper.told(Promise.resolve(true));
    const { promise: later, resolve } = Promise.withResolvers<boolean>();
    appear(2);
    keeper.told(later);
    appear(3);
    keeper.told(Promise.resolve(true));
    resolve(false);
    await keeper.close();
    assert.deepEqual(ids(), [idOf(1)]);
  });

  it('does not grow with what is told while nobody takes it, and has all of it once somebody does', async (t) => {
    const { storage, path } = await makeStorage(t);
    const { take, keeper, table } = startRun(storage);
    await eventually('the file is there', () => (readFileIfThere(path) === undefined ? undefined : true));
    take(observationsOf(idOf(1)).appeared(10));
    const container = table.get(idOf(1))!;
    const [first, last] = [Promise.withResolvers<boolean>(), Promise.withResolvers<boolean>()];
    for (let kill = 1; kill <= 3000; kill++) {
      container.workload.oomKills = kill;
      keeper.changed(container);
      keeper.told(kill === 1 ? first.promise : kill === 2000 ? last.promise : Promise.resolve(true));
    }
    const kills = () => decodeState(readFileSync(path)).containers.get(idOf(1))?.workload.oomKills;
    first.resolve(true);
    await eventually('the lines that waited are written', () => kills() === 1000 || undefined);
    container.workload.oomKills = 3001;
    keeper.changed(container);
    keeper.told(Promise.resolve(true));
    await new Promise(setImmediate);
    assert.equal(kills(), 1000, 'one of those that were told before is not taken');
    last.resolve(true);
    await eventually('the rest is written', () => kills() === 3001 || undefined);
    assert.ok(readFileSync(path, 'utf8').split('\n').length < 1010);
    await keeper.close();
  });

  it('is left as it was at a stop where much waits, and one of it must be told again', async (t) => {
    const { storage, path } = await makeStorage(t);
    const { take, keeper } = startRun(storage);
    take(observationsOf(idOf(1)).appeared(10));
    const first = Promise.withResolvers<boolean>();
    for (let n = 0; n < 1000; n++) keeper.told(first.promise);
    take(observationsOf(idOf(2)).appeared(20));
    keeper.told(Promise.resolve(false));
    first.resolve(true);
    await new Promise(setImmediate);
    await keeper.close();
    assert.deepEqual([...decodeState(readFileSync(path)).containers.keys()], [idOf(1)]);
  });

  it('of another boot keeps what was counted, and has the kernel count from 0', async (t) => {
    const { storage } = await makeStorage(t);
    const first = startRun(storage);
    live(first, 1);
    first.correlator.ledger.count(40, { wallMs: 0, monotonicMs: 0 });
    first.table.get(idOf(1))!.workload.oomKills = 7;
    await first.keeper.close();
    const second = startRun(storage, 'another');
    const container = second.table.get(idOf(1))!;
    assert.equal(container.workload.oomKills, 7);
    assert.equal(container.life!.pid, undefined);
    assert.equal(container.memcgSinceMs, undefined);
    assert.equal(second.correlator.ledger.total, 0);
    await second.keeper.close();
  });

  it('holds no more than a thousand victims of a group kill, and what is told of their invocation once', async (t) => {
    const { storage, path } = await makeStorage(t);
    const first = startRun(storage);
    const { appeared } = observationsOf(idOf(1));
    const memoryStat = new Map(Array.from({ length: 60 }, (_, n) => [`some_key_${n}`, 4096]));
    const tasks = Array.from({ length: 10 }, (_, n) => ({ pid: n, comm: 'hog', rssBytes: 4096 }));
    const oomGroup = `/docker/${idOf(1)}`;
    const invocation = { at: { monotonicUs: 5 }, oomMemcg: oomGroup, oomGroup, memoryStat, tasks };
    first.take(
      appeared(10),
      ...Array.from({ length: 1001 }, (_, n) => victimOf(idOf(1), 29, 1000 + n, { invocation })),
    );
    await first.keeper.close();
    const bytes = readFileSync(path);
    const { named } = decodeState(bytes).containers.get(idOf(1))!.cases[0]!;
    assert.equal(named.length, 1000);
    const [one, other] = named.map(({ victim }) => victim.invocation!);
    assert.deepEqual([one!.memoryStat, one!.tasks?.length], [memoryStat, 10]);
    assert.deepEqual([other!.oomGroup, other!.memoryStat, other!.tasks], [oomGroup, undefined, undefined]);
    assert.ok(bytes.length < 1_000_000, `${bytes.length}`);
  });

  it('tells the run that follows, once, how many victims of a group kill found no room in it', async (t) => {
    const { storage } = await makeStorage(t);
    const first = startRun(storage);
    for (const [number, victims] of [
      [1, 1001],
      [2, 1000],
      [3, 1002],
    ] as const) {
      first.take(observationsOf(idOf(number)).appeared(10));
      first.take(...Array.from({ length: victims }, (_, n) => victimOf(idOf(number), 29, number * 10_000 + n)));
    }
    await first.keeper.close();
    const second = startRun(storage);
    await second.keeper.close();
    const third = startRun(storage);
    await third.keeper.close();
    assert.deepEqual(
      second.warnings().map(({ message, fields }) => [message, fields]),
      [['victims found no room in the state of an earlier run: the counters alone tell of them', { victims: 3 }]],
    );
    assert.deepEqual([first.warnings(), third.warnings()], [[], []]);
  });

  it('that is cut at any byte still starts, and warns only where its first line is not whole', async (t) => {
    const { storage, directory, path } = await makeStorage(t);
    const first = startRun(storage);
    live(first, 1);
    await first.keeper.close();
    const whole = readFileSync(path);
    const lines = Buffer.concat([whole, whole.subarray(0, 200)]);
    for (let length = 0; length <= lines.length; length++) {
      writeFileSync(path, lines);
      truncateSync(path, length);
      const run = startRun(storage);
      await run.keeper.close();
      assert.equal(run.table.size, length >= whole.length ? 1 : 0, `cut at ${length}`);
      assert.equal(run.warnings().length, length >= whole.length ? 0 : 1, `cut at ${length}`);
    }
    const setAside = readdirSync(directory).filter((name) => name.includes('.corrupt-'));
    assert.equal(setAside.length, 3);
  });

  it('that is anything else is set aside with one warning', async (t) => {
    const { storage, path } = await makeStorage(t);
    const one = startRun(storage);
    live(one, 1);
    await one.keeper.close();
    const whole = readFileSync(path);
    const foreign = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.json().map((text) => Buffer.from(`${text}\n`)),
      fc.tuple(fc.nat(whole.length - 1), fc.nat(255)).map(([at, byte]) => {
        const changed = Buffer.from(whole);
        changed[at] = byte;
        return changed;
      }),
    );
    await fc.assert(
      fc.asyncProperty(foreign, async (content) => {
        writeFileSync(path, content);
        const run = startRun(storage);
        run.correlator.settle({ wallMs: Date.now(), monotonicMs: Infinity });
        await run.keeper.close();
        assert.ok(run.warnings().length <= 1);
        assert.ok(run.warnings().length === 1 || run.table.size <= 1);
        decodeState(readFileSync(path));
      }),
      { numRuns: 300 },
    );
  });

  it('of a version to come is set aside', async (t) => {
    const { storage, path } = await makeStorage(t);
    const one = startRun(storage);
    await one.keeper.close();
    writeFileSync(path, readFileSync(path, 'utf8').replace('"version":1', '"version":2'));
    const two = startRun(storage);
    const [warning] = two.warnings();
    assert.equal(warning?.message, 'the state of an earlier run cannot be used');
    assert.match(String(warning.fields['error']), /^"version": /);
    assert.match(String(warning.fields['moved_to']), /_state\.corrupt-/);
    await two.keeper.close();
  });

  it('that cannot be written is told once, and again when it can', async (t) => {
    const { storage, directory } = await makeStorage(t);
    rmSync(directory, { recursive: true });
    const { keeper, settings, take } = startRun(storage);
    await settings.logged('the state cannot be written; tried again every second');
    take(observationsOf(idOf(1)).appeared(10));
    keeper.told(Promise.resolve(true));
    const extension = fileStorage.create({ directory, create_directory: true }, makeSettings());
    await extension.start();
    await settings.logged('the state is written again');
    assert.equal(settings.lines.filter(({ level }) => level === 'warn').length, 1);
    await keeper.close();
  });
});

function readFileIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}
