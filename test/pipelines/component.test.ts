import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aborted, countPoints } from '../../pipelines/component.ts';
import { makeMetrics } from '../helpers/telemetry.ts';

test('points are counted over all resources, scopes and metrics', () => {
  assert.equal(countPoints(makeMetrics(3, 7)), 21);
  assert.equal(countPoints([]), 0);
});

test('who waits for a signal to be aborted waits until it is, and not where it was before', async () => {
  await aborted(AbortSignal.abort());
  const controller = new AbortController();
  const order: string[] = [];
  const waiting = aborted(controller.signal).then(() => order.push('resolved'));
  await new Promise(setImmediate);
  order.push('aborting');
  controller.abort();
  await waiting;
  assert.deepEqual(order, ['aborting', 'resolved']);
});
