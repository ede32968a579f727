import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DockerEvent } from '../../../receiver/sources/docker-event.ts';
import { DockerMemory } from '../../../receiver/sources/docker-memory.ts';
import { anId } from './docker-recordings.ts';

function eventAt(atMs: number): DockerEvent {
  return { containerId: anId, action: 'start', atMs, attributes: {}, key: `${anId} start ${atMs}` };
}

describe('DockerMemory', () => {
  it('asks for events from now on at first, and from a second before the last one later', () => {
    const memory = new DockerMemory(assert.fail);
    assert.equal(memory.resumeAtMs(10_000), 10_000);
    assert.equal(memory.resumeAtMs(20_000), 10_000, 'nothing was told since');
    memory.isNew(eventAt(15_500));
    assert.equal(memory.resumeAtMs(20_000), 14_500);
  });

  it('does not ask for events from before it began', () => {
    const memory = new DockerMemory(assert.fail);
    memory.resumeAtMs(10_000);
    memory.isNew(eventAt(10_100));
    assert.equal(memory.resumeAtMs(20_000), 10_000);
  });

  it('never asks for events of the future: Podman would send none until then', () => {
    const memory = new DockerMemory(assert.fail);
    memory.resumeAtMs(10_000);
    memory.isNew(eventAt(50_000));
    assert.equal(memory.resumeAtMs(20_000), 20_000);
  });

  it('knows an event again for as long as a subscription could tell it again', () => {
    const memory = new DockerMemory(assert.fail);
    assert.equal(memory.isNew(eventAt(10_000)), true);
    assert.equal(memory.isNew(eventAt(11_000)), true);
    assert.equal(memory.isNew(eventAt(10_000)), false);
    assert.equal(memory.isNew({ ...eventAt(10_000), key: undefined }), true, 'what has no time is new');
  });

  it('does not grow without bound in a storm of events', () => {
    const memory = new DockerMemory(assert.fail);
    for (let n = 0; n < 5000; n++) memory.isNew(eventAt(10_000 + n / 10_000));
    assert.equal(memory.isNew(eventAt(10_000 + 4999 / 10_000)), false);
    assert.equal(memory.isNew(eventAt(10_000)), true, 'the oldest was forgotten');
  });

  it('forgets the oldest container where there are too many, and tells it', () => {
    const bad: string[] = [];
    const memory = new DockerMemory((what, value) => bad.push(`${what}: ${value}`));
    for (let n = 0; n < 20_001; n++) memory.add(String(n));
    assert.equal(memory.ids().size, 20_000);
    assert.equal(memory.get('0'), undefined);
    assert.deepEqual(bad, ['more than 20000 containers: 0']);
  });

  it('forgets the containers that ended before a time, and none that runs', () => {
    const memory = new DockerMemory(assert.fail);
    memory.add('old').endedAtMs = 1;
    memory.add('young').endedAtMs = 3;
    memory.add('running');
    memory.forgetEnded(2);
    assert.deepEqual([...memory.ids()], ['young', 'running']);
  });
});
