import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ReceivedLog } from '../helpers/otlp-decoding.ts';
import { judge, type KernelAccount } from './judge.ts';
import type { Arrival } from './observer.ts';
import type { Kill, Truth } from './scenario.ts';

const [web, db] = ['web', 'db'];
const kill = (change: Partial<Kill> = {}): Kill => ({
  containerId: web,
  victim: 'child',
  scope: 'container',
  ...change,
});
const kernel: KernelAccount = { counted: 1, victims: [{ pid: 7, atMs: 1_000 }] };

const named = { 'process.pid': 7, 'process.executable.name': 'hog', 'oom.victim': 'child', 'oom.scope': 'container' };
const reported = { ...named, 'oom.constraint': 'CONSTRAINT_MEMCG' };

function arrival(
  attributes: Record<string, unknown> = reported,
  containerId: string | null = web,
  eventName = 'container.oom_kill',
) {
  const record = { eventName, attributes, resource: containerId === null ? {} : { 'container.id': containerId } };
  return { record: record as unknown as ReceivedLog, atMs: 1_020 } satisfies Arrival;
}

const failuresOf = (truth: Truth, ...arrivals: Arrival[]) => judge(truth, kernel, arrivals).failures;

describe('the judge of the matrix', () => {
  it('is content with a record for each kill, and takes its time', () => {
    const verdict = judge({ kills: [kill()] }, kernel, [arrival()]);
    assert.deepEqual(verdict, {
      kills: 1,
      records: 1,
      rightContainer: 1,
      rightVictim: 1,
      rightScope: 1,
      latenciesMs: [20],
      failures: [],
    });
  });

  it('finds a kill that was not told', () => {
    assert.deepEqual(failuresOf({ kills: [kill()] }), ['records: 0, not 1', 'container web: 0 of 1 kills']);
  });

  it('finds a kill that was told twice', () => {
    assert.deepEqual(failuresOf({ kills: [kill()] }, arrival(), arrival()), [
      'records: 2, not 1',
      'container web: 2 of 1 kills',
    ]);
  });

  it('finds a kill that did not happen', () => {
    assert.deepEqual(judge({ kills: [] }, { counted: 0, victims: [] }, [arrival()]).failures, ['records: 1, not 0']);
  });

  it('finds the wrong container', () => {
    assert.deepEqual(failuresOf({ kills: [kill()] }, arrival(reported, db)), ['container web: 0 of 1 kills']);
  });

  it('finds a victim that is told to have lived outside of its container', () => {
    const outside = arrival(reported, null, 'system.oom_kill');
    assert.deepEqual(failuresOf({ kills: [kill()] }, arrival(), outside), ['records: 2, not 1']);
  });

  it('finds the wrong process', () => {
    const wrong: [Partial<Kill>, string][] = [
      [{ pid: 8 }, 'container web: victim 7, not 8'],
      [{ comm: 'sh' }, 'container web: victim "hog", not "sh"'],
      [{ victim: 'init' }, 'container web: the victim is child, not init'],
    ];
    for (const [change, failure] of wrong) {
      assert.deepEqual(failuresOf({ kills: [kill(change)] }, arrival()), [failure]);
    }
  });

  it('wants the victim named, but where a source is missing', () => {
    const unnamed = arrival({ 'oom.victim': 'child', 'oom.scope': 'container' });
    assert.deepEqual(failuresOf({ kills: [kill()] }, unnamed), ['container web: the victim is not named']);
    const verdict = judge({ kills: [kill()] }, kernel, [unnamed], { what: '', told: [], victim: true });
    assert.deepEqual([verdict.rightVictim, verdict.failures], [0, []]);
  });

  it('wants the scope where the kernel told it', () => {
    const unknown = { 'oom.scope': 'unknown' };
    assert.deepEqual(failuresOf({ kills: [kill()] }, arrival({ ...reported, ...unknown })), [
      'container web: scope unknown, not container',
    ]);
    const heldBack = judge({ kills: [kill()] }, kernel, [arrival({ ...named, ...unknown })]);
    assert.deepEqual([heldBack.rightScope, heldBack.failures], [0, []]);
    assert.deepEqual(failuresOf({ kills: [kill()] }, arrival({ ...named, 'oom.scope': 'pod' })), [
      'container web: scope pod, not container',
    ]);
  });

  it('finds a kernel that counted otherwise than the scenario says', () => {
    assert.deepEqual(failuresOf({ kills: [kill()], counted: 2 }, arrival()), ['the kernel counted: 1, not 2']);
  });

  it('finds an exit with another cause', () => {
    const exit = arrival({ 'container.exit.cause': 'stopped' }, web, 'container.exit');
    assert.deepEqual(
      judge({ kills: [], exits: [{ containerId: web, cause: 'oom_container' }] }, { counted: 0, victims: [] }, [exit])
        .failures,
      ['exits: ["web stopped"], not ["web oom_container"]'],
    );
  });
});
