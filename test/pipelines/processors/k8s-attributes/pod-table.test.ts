import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { PodTable } from '../../../../pipelines/processors/k8s-attributes/pod-table.ts';
import { makePod } from './make-pod.ts';

const minuteMs = 60_000;

function makeTable(): { table: PodTable; put: (uid: string, labels?: object) => void; advance: (ms: number) => void } {
  let nowMs = 0;
  const table = new PodTable(
    ({ name, labels }) => ({ name, app: String(labels['app']) }),
    () => nowMs,
  );
  return {
    table,
    put: (uid, labels = {}) => table.put(makePod({ metadata: { uid, labels } })),
    advance: (ms) => void (nowMs += ms),
  };
}

const mirror = { 'kubernetes.io/config.mirror': 'hash', 'kubernetes.io/config.hash': 'hash' };

suite('the table of pods', () => {
  test('keeps the attributes of a pod one object until they change', () => {
    const { table, put } = makeTable();
    put('1', { app: 'web' });
    const { attributes } = table.get('1')!;
    put('1', { app: 'web' });
    assert.equal(table.get('1')!.attributes, attributes);
    put('1', { app: 'other' });
    assert.equal(table.get('1')!.attributes['app'], 'other');
  });

  test('knows a pod that is gone for ten minutes', () => {
    const { table, put, advance } = makeTable();
    put('1');
    put('2');
    table.remove('1');
    assert.equal(table.size, 1);
    advance(9 * minuteMs);
    table.remove('2');
    assert.ok(table.get('1'));
    advance(2 * minuteMs);
    put('3');
    table.remove('3');
    assert.equal(table.get('1'), undefined);
    assert.ok(table.get('2'));
  });

  test('takes a list for all that there is', () => {
    const { table, put } = makeTable();
    for (const uid of ['1', '2', '3']) put(uid);
    table.retain(new Set(['2']));
    assert.equal(table.size, 1);
  });

  test('finds a static pod by both of its uids, until it is forgotten', () => {
    const { table, advance, put } = makeTable();
    table.put(makePod({ metadata: { uid: 'api', annotations: mirror } }));
    assert.equal(table.get('hash'), table.get('api'));
    table.remove('api');
    advance(11 * minuteMs);
    put('2');
    table.remove('2');
    assert.equal(table.get('hash'), undefined);
  });

  test('takes a pod for itself, whatever another says to be the mirror of', () => {
    const { table, put } = makeTable();
    table.put(makePod({ metadata: { uid: 'api', name: 'thief', annotations: mirror } }));
    put('hash');
    assert.equal(table.get('hash')?.attributes['name'], 'web-7d9c5b6f4-x2x9z');
  });

  test('has room for 2,000 pods: those that are gone make way, and others are counted', () => {
    const { table, put } = makeTable();
    for (let index = 0; index < 2_000; index++) put(`${index}`);
    table.remove('7');
    put('a');
    assert.ok(table.get('a'));
    assert.equal(table.get('7'), undefined);
    put('b');
    assert.equal(table.get('b'), undefined);
    assert.deepEqual([table.size, table.refused], [2_000, 1]);
  });

  test('has room for a pod that runs where thousands of jobs have left theirs', () => {
    const { table, put } = makeTable();
    const putOver = (uid: string) => table.put(makePod({ metadata: { uid }, status: { phase: 'Succeeded' } }));
    put('runs');
    for (let index = 0; index < 5_000; index++) putOver(`${index}`);
    put('new');
    assert.ok(table.get('runs') && table.get('new'));
    assert.deepEqual([table.size, table.refused], [2_000, 0]);
    table.remove('new');
    put('newer');
    assert.equal(table.get('new'), undefined, 'what is gone makes way first');
  });

  test('has who waits for a pod wait until it is there', async () => {
    const { table, put } = makeTable();
    const waits = Promise.all([table.known('1', minuteMs), table.known('1', minuteMs)]);
    put('1');
    await waits;
    await table.known('1', minuteMs);
  });

  test('has nobody wait when nobody is to wait any longer', async () => {
    const { table } = makeTable();
    const waits = table.known('1', minuteMs);
    table.releaseAll();
    await waits;
    await table.known('1', 1);
    assert.equal(table.get('1'), undefined);
  });
});
