import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Observation } from '../../../receiver/observation.ts';
import { DockerApi } from '../../../receiver/sources/docker-api.ts';
import { DockerInspector } from '../../../receiver/sources/docker-inspector.ts';
import { DockerMemory } from '../../../receiver/sources/docker-memory.ts';
import { DockerDaemon } from './docker-daemon.ts';
import { anId, inspections } from './docker-recordings.ts';

const nowMs = Date.UTC(2026, 10, 21, 8);

describe('DockerInspector', { timeout: 30_000 }, () => {
  let daemon: DockerDaemon;

  beforeEach(async () => {
    daemon = await DockerDaemon.start();
  });

  afterEach(() => daemon.stop());

  /** What it tells of a container that is known since it started at `knownStartedAtMs`, and began at `startedAtMs` now. */
  async function tellsOf(startedAtMs: number, knownStartedAtMs?: number): Promise<Observation[]> {
    answerWith({ StartedAt: new Date(startedAtMs).toISOString() });
    const memory = new DockerMemory(() => {});
    Object.assign(memory.add(anId), { told: true, startedAtMs: knownStartedAtMs });
    let clockMs = nowMs;
    // A second goes by between any two looks at it.
    const { inspector, told } = makeInspector(memory, () => (clockMs += 1000));
    await inspector.list();
    return told;
  }

  function answerWith(state: object): void {
    const running = inspections.docker28Running;
    const answer = { ...running, State: { ...running.State, ...state } };
    daemon.containers.set(anId, answer);
  }

  function makeInspector(memory: DockerMemory, clock: () => number) {
    const told: Observation[] = [];
    const inspector = new DockerInspector({
      api: new DockerApi(daemon.endpoint, { timeoutMs: 2000 }),
      runtime: 'docker',
      memory,
      graceMs: 300_000,
      clock,
      onBadInput: (what, value) => assert.fail(`${what}: ${value}`),
      emit: (observation) => told.push(observation),
      signal: new AbortController().signal,
    });
    return { inspector, told };
  }

  it('forgets one that ended in what is now the future when the grace period is over', async () => {
    answerWith({ Status: 'exited', Running: false, Pid: 0, FinishedAt: new Date(nowMs + 3_600_000).toISOString() });
    const memory = new DockerMemory(() => {});
    let clockMs = nowMs;
    const { inspector, told } = makeInspector(memory, () => clockMs);
    await inspector.list();
    assert.equal(told.length, 1);
    daemon.statuses.set(anId, 'Exited (0) 6 minutes ago');
    clockMs += 360_000;
    await inspector.list();
    assert.equal(told.length, 1);
    assert.equal(memory.get(anId), undefined);
  });

  it('tells, when it lists, of a life that began before the subscription', async () => {
    const [told] = await tellsOf(nowMs - 500, nowMs - 60_000);
    assert.equal((told as { startedAtMs?: number }).startedAtMs, nowMs - 500);
  });

  it('leaves a life that began while it listed to its events, which come', async () => {
    assert.deepEqual(await tellsOf(nowMs + 2500, nowMs - 60_000), []);
    assert.deepEqual(await tellsOf(nowMs + 2500), []);
  });

  it('tells of it where its event came before', async () => {
    assert.equal((await tellsOf(nowMs + 2500, nowMs + 2550)).length, 1);
  });

  it('tells of a life that began in what is now the future: the clock was set back since', async () => {
    assert.equal((await tellsOf(nowMs + 3_600_000, nowMs - 60_000)).length, 1);
  });
});
