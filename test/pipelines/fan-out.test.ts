import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { fanOutLogs, fanOutMetrics } from '../../pipelines/fan-out.ts';
import { makeLog, makeMetrics } from '../helpers/telemetry.ts';

/** A consumer of both signals that remembers what it took, and refuses where it is told to. */
function makeConsumer(refusal?: Error) {
  const taken: unknown[] = [];
  const take = async (data: unknown) => {
    taken.push(data);
    if (refusal !== undefined) throw refusal;
  };
  return {
    taken,
    consumeLogs: (logs: readonly ReadableLogRecord[]) => take(logs),
    consumeMetrics: (metrics: readonly ResourceMetrics[]) => take(metrics),
  };
}

for (const signal of ['logs', 'metrics'] as const) {
  suite(`${signal} for several`, () => {
    const data = { logs: [makeLog()], metrics: makeMetrics(1, 1) };
    const send = (consumers: ReturnType<typeof makeConsumer>[]) =>
      signal === 'logs'
        ? fanOutLogs(consumers).consumeLogs(data.logs)
        : fanOutMetrics(consumers).consumeMetrics(data.metrics);

    test('are given to each, and are the same objects', async () => {
      const consumers = [makeConsumer(), makeConsumer()];
      await send(consumers);
      for (const { taken } of consumers) {
        assert.equal(taken.length, 1);
        assert.equal(taken[0], data[signal]);
      }
    });

    test('are taken by the others where one refuses, and its error is told', async () => {
      const refusal = new Error('full');
      const consumers = [makeConsumer(refusal), makeConsumer()];
      await assert.rejects(send(consumers), refusal);
      assert.equal(consumers[1]!.taken.length, 1);
    });

    test('are refused with all errors where several refuse', async () => {
      const errors = [new Error('full'), new Error('broken')];
      const rejection = await send([makeConsumer(errors[0]), makeConsumer(), makeConsumer(errors[1])]).catch(
        (error: unknown) => error,
      );
      assert.ok(rejection instanceof AggregateError);
      assert.deepEqual(rejection.errors, errors);
      assert.equal(rejection.message, '2 of 3 consumers refused');
    });

    test('go straight to the only one', () => {
      const only = makeConsumer();
      assert.equal(signal === 'logs' ? fanOutLogs([only]) : fanOutMetrics([only]), only);
    });
  });
}
