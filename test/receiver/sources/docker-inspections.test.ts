import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspectAll, Inspections } from '../../../receiver/sources/docker-inspections.ts';

/** One id for each letter. */
function ids(letters: string): string[] {
  return letters.split('');
}

/** Inspections that end when they are told to. */
function byHand() {
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  return {
    begun,
    inspect: async (id: string): Promise<void> => {
      begun.push(id);
      const { promise, resolve } = Promise.withResolvers<void>();
      ends.push(resolve);
      await promise;
    },
    endAll: async (): Promise<void> => {
      while (ends.length > 0) {
        ends.shift()!();
        await new Promise(setImmediate);
      }
    },
  };
}

describe('Inspections', () => {
  it('begins at once, four at a time, in the order they were asked for', async () => {
    const { begun, inspect, endAll } = byHand();
    const inspections = new Inspections(inspect, 10, assert.fail);
    for (const id of ids('abcdef')) inspections.add(id);
    assert.deepEqual(begun, ids('abcd'));
    await endAll();
    assert.deepEqual(begun, ids('abcdef'));
  });

  it('inspects again what is added while its inspection is under way, and not twice what waits already', async () => {
    const { begun, inspect, endAll } = byHand();
    const inspections = new Inspections(inspect, 10, assert.fail);
    for (const id of ids('abcdxxaa')) inspections.add(id);
    await endAll();
    assert.deepEqual(begun, ids('abcdxa'));
  });

  it('drops and tells the oldest that waits where too many do', async () => {
    const dropped: string[] = [];
    const { begun, inspect, endAll } = byHand();
    const inspections = new Inspections(inspect, 2, (id) => dropped.push(id));
    for (const id of ids('abcdefgh')) inspections.add(id);
    await endAll();
    assert.deepEqual(dropped, ids('ef'));
    assert.deepEqual(begun, ids('abcdgh'));
  });
});

describe('inspectAll', () => {
  it('resolves when all are done', async () => {
    const { begun, inspect, endAll } = byHand();
    const all = inspectAll(ids('abcdef'), inspect);
    assert.deepEqual(begun, ids('abcd'));
    await endAll();
    await all;
    assert.deepEqual(begun, ids('abcdef'));
  });
});
