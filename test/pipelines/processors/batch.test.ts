import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { batch } from '../../../pipelines/processors/batch.ts';
import { makeSettings } from '../../helpers/component-settings.ts';
import { makeLog, makeMetrics } from '../../helpers/telemetry.ts';

const noDeadline = new AbortController().signal;

/** Longer than any test: what is passed on is not passed on for the time. */
const LATE = '1h';

/** A batch processor for log records, and the batches that it passed on. */
function makeLogBatcher(
  section: unknown,
  take: (logs: readonly ReadableLogRecord[]) => Promise<void> = async () => {},
) {
  const settings = makeSettings('batch');
  const batches: (readonly ReadableLogRecord[])[] = [];
  const next = {
    async consumeLogs(logs: readonly ReadableLogRecord[]) {
      batches.push(logs);
      await take(logs);
    },
  };
  return { settings, batches, batcher: batch.createLogs(batch.configSchema.parse(section), settings, next) };
}

function makeMetricBatcher(section: unknown) {
  const batches: (readonly ResourceMetrics[])[] = [];
  const next = { consumeMetrics: async (metrics: readonly ResourceMetrics[]) => void batches.push(metrics) };
  return { batches, batcher: batch.createMetrics(batch.configSchema.parse(section), makeSettings(), next) };
}

function makeLogs(count: number): ReadableLogRecord[] {
  return Array.from({ length: count }, (_, index) => makeLog({ body: String(index) }));
}

const bodies = (batches: readonly (readonly ReadableLogRecord[])[]) =>
  batches.map((logs) => logs.map(({ body }) => body));

suite('a batch', () => {
  test('is passed on when it is full, in its order', async () => {
    const { batcher, batches } = makeLogBatcher({ send_batch_size: 3, timeout: LATE });
    const [a, b, c, d] = makeLogs(4);
    await batcher.consumeLogs([a!, b!]);
    assert.deepEqual(batches, []);
    await batcher.consumeLogs([c!, d!]);
    assert.deepEqual(bodies(batches), [['0', '1', '2']]);
    await batcher.shutdown(noDeadline);
    assert.deepEqual(bodies(batches), [['0', '1', '2'], ['3']]);
  });

  test('is passed on when its first item has waited for the timeout', async (context) => {
    context.mock.timers.enable({ apis: ['setTimeout'] });
    const { batcher, batches } = makeLogBatcher({ timeout: '200ms' });
    const [a, b, c, d] = makeLogs(4);
    await batcher.consumeLogs([a!]);
    context.mock.timers.tick(100);
    await batcher.consumeLogs([b!]);
    context.mock.timers.tick(50);
    await batcher.consumeLogs([c!]);
    context.mock.timers.tick(49);
    assert.deepEqual(batches, []);
    context.mock.timers.tick(1);
    assert.deepEqual(bodies(batches), [['0', '1', '2']]);
    await batcher.consumeLogs([d!]);
    context.mock.timers.tick(199);
    assert.equal(batches.length, 1);
    context.mock.timers.tick(1);
    assert.deepEqual(bodies(batches), [['0', '1', '2'], ['3']]);
  });

  test('is what it was given where the timeout is 0, and who gave it hears how it went', async () => {
    const { batcher, batches } = makeLogBatcher({ timeout: '0' }, async () => {
      throw new Error('full');
    });
    await assert.rejects(batcher.consumeLogs(makeLogs(2)), { message: 'full' });
    assert.deepEqual(bodies(batches), [['0', '1']]);
  });

  test('is no larger than the maximum where the timeout is 0, and who gave too much hears how all of it went', async () => {
    let calls = 0;
    const section = { send_batch_size: 2, send_batch_max_size: 2, timeout: '0' };
    const { batcher, batches } = makeLogBatcher(section, async () => {
      if (++calls === 2) throw new Error('full');
    });
    await assert.rejects(batcher.consumeLogs(makeLogs(5)), { message: 'full' });
    assert.deepEqual(bodies(batches), [['0', '1'], ['2', '3'], ['4']]);
    await batcher.consumeLogs(makeLogs(2));
    await batcher.consumeLogs([]);
    assert.equal(batches.length, 4);
  });

  test('of metrics keeps its numbers, though its sender writes the next ones in their place', async () => {
    const { batcher, batches } = makeMetricBatcher({ timeout: LATE });
    const sent = makeMetrics(2, 2);
    const before = structuredClone(sent.map(({ scopeMetrics }) => scopeMetrics));
    await batcher.consumeMetrics(sent);
    for (const { scopeMetrics } of sent) {
      for (const { metrics } of scopeMetrics) {
        for (const { dataPoints } of metrics) {
          for (const point of dataPoints) Object.assign(point, { value: -1, startTime: [1, 1], endTime: [2, 2] });
          dataPoints.push(dataPoints[0] as never);
        }
        metrics.pop();
      }
    }
    await batcher.shutdown(noDeadline);
    assert.deepEqual(
      batches[0]!.map(({ scopeMetrics }) => scopeMetrics),
      before,
    );
    assert.deepEqual(
      batches[0]!.map(({ resource }) => resource),
      sent.map(({ resource }) => resource),
    );
  });

  test('that comes after the shutdown is passed on at once, and who gave it hears how it went', async () => {
    const { batcher } = makeLogBatcher({ timeout: LATE }, async () => {
      throw new Error('shutting down');
    });
    await batcher.shutdown(noDeadline);
    await assert.rejects(batcher.consumeLogs(makeLogs(1)), { message: 'shutting down' });
  });

  test('is no larger than the maximum', async () => {
    const { batcher, batches } = makeLogBatcher({ send_batch_size: 2, send_batch_max_size: 2, timeout: LATE });
    await batcher.consumeLogs(makeLogs(5));
    await batcher.shutdown(noDeadline);
    assert.deepEqual(bodies(batches), [['0', '1'], ['2', '3'], ['4']]);
  });

  test('of metrics is measured in data points, and a resource stays whole', async () => {
    const { batcher, batches } = makeMetricBatcher({ send_batch_size: 5, send_batch_max_size: 5, timeout: LATE });
    await batcher.consumeMetrics([...makeMetrics(2, 2), ...makeMetrics(1, 3), ...makeMetrics(1, 9)]);
    await batcher.shutdown(noDeadline);
    const points = batches.map((metrics) => metrics.map(({ scopeMetrics: [scope] }) => scope!.metrics.length));
    assert.deepEqual(points, [[2, 2], [3], [9]]);
  });

  test('that is empty is not passed on', async () => {
    const { batcher, batches } = makeLogBatcher({ timeout: LATE });
    await batcher.consumeLogs([]);
    await batcher.shutdown(noDeadline);
    assert.deepEqual(batches, []);
  });

  test('that is refused is counted', async () => {
    const { batcher, settings } = makeLogBatcher({ timeout: LATE }, async () => {
      throw new Error('full');
    });
    await batcher.consumeLogs(makeLogs(3));
    await batcher.shutdown(noDeadline);
    assert.deepEqual(await settings.series(), { 'otelcol_processor_refused_log_records{processor=batch}': 3 });
    assert.equal(settings.lines[0]?.fields['error'], 'full');
  });
});

suite('the batch processor', () => {
  test('stops when what it held is taken', async () => {
    const { promise: taken, resolve } = Promise.withResolvers<void>();
    const { batcher } = makeLogBatcher({ timeout: LATE }, () => taken);
    await batcher.consumeLogs(makeLogs(1));
    const order: string[] = [];
    const stopped = batcher.shutdown(noDeadline).then(() => order.push('stopped'));
    setImmediate(() => {
      order.push('taken');
      resolve();
    });
    await stopped;
    assert.deepEqual(order, ['taken', 'stopped']);
  });

  test('stops at the deadline though nobody takes what it held', { timeout: 5_000 }, async () => {
    const { batcher, batches } = makeLogBatcher({ timeout: LATE }, () => new Promise(() => {}));
    await batcher.consumeLogs(makeLogs(1));
    const deadline = new AbortController();
    const stopped = batcher.shutdown(deadline.signal);
    deadline.abort();
    await stopped;
    assert.equal(batches.length, 1);
  });

  test('takes no more while a hundred batches wait for the next component', async () => {
    const { promise: taken, resolve } = Promise.withResolvers<void>();
    const { batcher, batches } = makeLogBatcher({ send_batch_size: 1, timeout: LATE }, () => taken);
    await batcher.consumeLogs(makeLogs(100));
    await assert.rejects(batcher.consumeLogs(makeLogs(1)), /^Error: cannot hold more: .* 100 batches$/);
    resolve();
    await batcher.shutdown(noDeadline);
    await batcher.consumeLogs(makeLogs(1));
    assert.equal(batches.length, 101);
  });

  test('stops twice, and before it was started', async () => {
    const { batcher, batches } = makeLogBatcher({});
    await batcher.shutdown(noDeadline);
    await batcher.shutdown(noDeadline);
    assert.deepEqual(batches, []);
  });

  for (const [section, valid] of [
    [{}, true],
    [{ send_batch_size: 10, send_batch_max_size: 10 }, true],
    [{ send_batch_size: 10, send_batch_max_size: 9 }, false],
    [{ send_batch_size: 0 }, false],
    [{ timeout: '-1s' }, false],
    [{ size: 1 }, false],
  ] as const) {
    test(`${valid ? 'can' : 'cannot'} be configured with ${JSON.stringify(section)}`, () =>
      assert.equal(batch.configSchema.safeParse(section).success, valid));
  }
});
