import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { otlpHttp } from '../../../../pipelines/exporters/otlp-http.ts';
import { queueSchema, retrySchema } from '../../../../pipelines/exporters/sending/config.ts';
import { HttpTransport } from '../../../../pipelines/exporters/sending/http-transport.ts';
import { SendingExporter } from '../../../../pipelines/exporters/sending/sending-exporter.ts';
import { makeProtobufSerializer, type OtlpSerializer } from '../../../../pipelines/exporters/sending/serializer.ts';
import { tlsSchema } from '../../../../pipelines/exporters/sending/tls.ts';
import { makeSettings } from '../../../helpers/component-settings.ts';
import { startHttpEndpoint, type OtlpEndpoint } from '../../../helpers/otlp-endpoint.ts';
import { makeLog, makeMetrics } from '../../../helpers/telemetry.ts';
import { IMPATIENT, startExporter, type Started } from '../exporters.ts';

interface Setup extends Started {
  endpoint: OtlpEndpoint;
}

async function setUp(context: TestContext, section: Record<string, unknown> = {}): Promise<Setup> {
  const endpoint = await startHttpEndpoint();
  context.after(() => endpoint.close());
  return { endpoint, ...(await startExporter(context, otlpHttp, { endpoint: endpoint.endpoint, ...section })) };
}

const SENT = 'otelcol_exporter_sent_log_records{exporter=otlp_http}';
const failed = (reason: string) => `otelcol_exporter_send_failed_log_records{exporter=otlp_http,reason=${reason}}`;
const refused = (reason: string) => `otelcol_exporter_enqueue_failed_log_records{exporter=otlp_http,reason=${reason}}`;
const QUEUE_SIZE = 'otelcol_exporter_queue_size{data_type=logs,exporter=otlp_http}';
const QUEUE_CAPACITY = 'otelcol_exporter_queue_capacity{data_type=logs,exporter=otlp_http}';

test('consuming resolves once the data is queued, before it is sent', async (context) => {
  const { exporter, endpoint } = await setUp(context);
  endpoint.answerAlways({ hang: true });
  await exporter.consumeLogs([makeLog()]);
  await endpoint.request(1);
});

test('without a queue, consuming resolves when the data is sent and rejects when it is dropped', async (context) => {
  const section = { sending_queue: { enabled: false }, retry_on_failure: { enabled: false } };
  const { exporter, endpoint, settings } = await setUp(context, section);
  await exporter.consumeLogs([makeLog()]);
  assert.equal(endpoint.received.length, 1);
  endpoint.answerNext({ httpStatus: 503 });
  await assert.rejects(exporter.consumeLogs([makeLog()]), { message: 'HTTP 503' });
  assert.deepEqual(await settings.series(), { [SENT]: 1, [failed('retry_disabled')]: 1 });
});

test('a full queue refuses, counts and tells it once; what it holds is sent', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context, { sending_queue: { num_consumers: 1, queue_size: 2 } });
  const { promise: until, resolve: answer } = Promise.withResolvers<void>();
  endpoint.answerNext({ until });
  await exporter.consumeLogs([makeLog()]);
  await endpoint.request(1);
  await exporter.consumeLogs([makeLog()]);
  await exporter.consumeLogs([makeLog()]);
  for (let i = 0; i < 3; i++) {
    await assert.rejects(exporter.consumeLogs([makeLog(), makeLog()]), { reason: 'queue_full' });
  }
  const series = await settings.series();
  assert.equal(series[QUEUE_SIZE], 2);
  assert.equal(series[QUEUE_CAPACITY], 2);
  assert.equal(series[refused('queue_full')], 6);
  assert.equal(settings.lines.length, 1);
  assert.equal(settings.lines[0]?.fields['reason'], 'queue_full');
  answer();
  await endpoint.request(3);
});

test('a flood of metrics leaves the queue of logs alone', async (context) => {
  const { exporter, endpoint } = await setUp(context, { sending_queue: { num_consumers: 1, queue_size: 1 } });
  endpoint.answerNext({ hang: true });
  await exporter.consumeMetrics(makeMetrics(1, 1));
  await endpoint.request(1);
  await exporter.consumeMetrics(makeMetrics(1, 1));
  await assert.rejects(exporter.consumeMetrics(makeMetrics(1, 1)), { reason: 'queue_full' });
  await exporter.consumeLogs([makeLog()]);
  assert.equal((await endpoint.request(2)).signal, 'logs');
});

test('where overflow blocks, consuming waits for room', async (context) => {
  const sending_queue = { num_consumers: 1, queue_size: 1, block_on_overflow: true };
  const { exporter, endpoint, settings } = await setUp(context, { sending_queue });
  endpoint.answerAlways({ delayMs: 5 });
  await Promise.all(Array.from({ length: 6 }, () => exporter.consumeLogs([makeLog()])));
  await endpoint.request(6);
  assert.equal((await settings.series())[refused('queue_full')], undefined);
});

test('a request above the bound is cut between resources', async (context) => {
  const { exporter, endpoint } = await setUp(context, { sending_queue: { batch: { max_size: '2KiB' } } });
  await exporter.consumeMetrics(makeMetrics(20, 3));
  const names: unknown[] = [];
  for (let count = 1; names.length < 20; count++) {
    const { body, metrics } = await endpoint.request(count);
    assert.ok(body.byteLength <= 2048);
    names.push(...metrics.map(({ resource }) => resource['container.name']));
  }
  assert.deepEqual(new Set(names).size, 20);
});

for (const compression of ['gzip', 'none'] as const) {
  test(`the memory of metrics sent over HTTP with compression ${compression} is given back, that of logs is not`, async (context) => {
    const endpoint = await startHttpEndpoint();
    context.after(() => endpoint.close());
    const given: Uint8Array[] = [];
    const made: Uint8Array[] = [];
    const protobuf = makeProtobufSerializer();
    const serializer: OtlpSerializer = {
      ...protobuf,
      metricsWithin: (metrics, maxBytes) => {
        const body = protobuf.metricsWithin!(metrics, maxBytes);
        if (body !== undefined) made.push(body);
        return body;
      },
      recycle: (body) => given.push(body),
    };
    const transport = new HttpTransport(
      {
        urls: { metrics: `${endpoint.endpoint}/v1/metrics`, logs: `${endpoint.endpoint}/v1/logs` },
        tls: tlsSchema.parse({}),
        headers: {},
        compression,
        timeoutMs: 5_000,
        userAgent: 'test',
      },
      serializer,
    );
    const sending = { queue: queueSchema.parse({ batch: { max_size: 2048 } }), retry: retrySchema.parse({}) };
    const exporter = new SendingExporter(sending, makeSettings(), transport, serializer);
    await exporter.start();
    await exporter.consumeMetrics(makeMetrics(20, 3));
    await exporter.consumeLogs([makeLog()]);
    await exporter.shutdown(AbortSignal.timeout(10_000));
    assert.ok(made.length > 2);
    assert.deepEqual(
      given.map((body) => made.indexOf(body)).toSorted((a, b) => a - b),
      made.map((_body, index) => index),
    );
    for (const { byteLength } of made) assert.ok(byteLength <= 2048);
  });
}

test('nothing to send makes no request', async (context) => {
  const { exporter, endpoint } = await setUp(context, IMPATIENT);
  await exporter.consumeMetrics([]);
  await exporter.consumeLogs([]);
  await exporter.consumeLogs([makeLog()]);
  assert.equal(endpoint.received.length, 1);
});

test('data that cannot be serialised is refused for good and counted', async (context) => {
  const { exporter, settings } = await setUp(context);
  const broken = makeLog({ resource: undefined as never });
  await assert.rejects(exporter.consumeLogs([broken]), { name: 'PermanentError', message: 'cannot serialise data' });
  assert.equal((await settings.series())[failed('permanent_error')], 1);
});

test('metrics that cannot be serialised are counted by their points', async (context) => {
  const { exporter, settings } = await setUp(context);
  const [metrics] = makeMetrics(1, 3);
  await assert.rejects(exporter.consumeMetrics([{ ...metrics!, resource: undefined as never }]));
  const failedPoints = 'otelcol_exporter_send_failed_metric_points{exporter=otlp_http,reason=permanent_error}';
  assert.equal((await settings.series())[failedPoints], 3);
});

test('retries end when the next one would come after the maximal time', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context, {
    sending_queue: { wait_for_result: true },
    retry_on_failure: { initial_interval: '100ms', max_interval: '100ms', max_elapsed_time: '1s' },
  });
  endpoint.answerAlways({ httpStatus: 503 });
  await assert.rejects(exporter.consumeLogs([makeLog()]), { message: 'HTTP 503' });
  const attempts = endpoint.received.length;
  assert.ok(attempts >= 2 && attempts <= 21, `${attempts} attempts`);
  assert.equal((await settings.series())[failed('retries_exhausted')], 1);
});

test('a delay that the server names beyond the maximal time ends the retries at once', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context, { sending_queue: { wait_for_result: true } });
  endpoint.answerAlways({ httpStatus: 429, httpHeaders: { 'retry-after': '3600' } });
  await assert.rejects(exporter.consumeLogs([makeLog()]), { name: 'ThrottledError' });
  assert.equal(endpoint.received.length, 1);
  assert.equal((await settings.series())[failed('retries_exhausted')], 1);
});

test('shutdown sends what is queued', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context, { sending_queue: { num_consumers: 1 } });
  endpoint.answerAlways({ delayMs: 5 });
  for (let i = 0; i < 5; i++) await exporter.consumeLogs([makeLog()]);
  await exporter.shutdown(AbortSignal.timeout(10_000));
  assert.equal(endpoint.received.length, 5);
  assert.equal((await settings.series())[SENT], 5);
});

test('shutdown tries once what waits for its next attempt, and drops it when that fails', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context, {
    retry_on_failure: { initial_interval: '1h', max_elapsed_time: 0 },
  });
  endpoint.answerAlways({ httpStatus: 503 });
  await exporter.consumeLogs([makeLog()]);
  await settings.logged('cannot send, will try again');
  // The line is logged just before the wait begins.
  await new Promise(setImmediate);
  await exporter.shutdown(AbortSignal.timeout(10_000));
  assert.equal(endpoint.received.length, 2);
  assert.equal((await settings.series())[failed('shutdown')], 1);
});

test('shutdown with a destination that is gone ends before the deadline', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context);
  await endpoint.close();
  for (let i = 0; i < 30; i++) await exporter.consumeLogs([makeLog()]);
  const deadline = AbortSignal.timeout(10_000);
  await exporter.shutdown(deadline);
  assert.equal(deadline.aborted, false);
  assert.equal((await settings.series())[failed('shutdown')], 30);
});

test('shutdown with a destination that never answers ends at the deadline, and counts what it drops', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context, { sending_queue: { num_consumers: 2 } });
  endpoint.answerAlways({ hang: true });
  for (let i = 0; i < 5; i++) await exporter.consumeLogs([makeLog()]);
  await endpoint.request(2);
  const beganMs = performance.now();
  await exporter.shutdown(AbortSignal.timeout(60));
  assert.ok(performance.now() - beganMs < 5_000);
  assert.equal(endpoint.received.length, 2);
  assert.equal((await settings.series())[failed('shutdown')], 5);
  assert.equal(settings.lines.length, 1);
});

for (const [what, sending_queue] of [
  ['without a queue', { enabled: false }],
  ['where results are waited for', { wait_for_result: true }],
] as const) {
  test(`${what}, who waits for a retry hears of the shutdown before it; what comes after is tried once`, async (context) => {
    const retry_on_failure = { initial_interval: '1h', max_elapsed_time: 0 };
    const { exporter, endpoint, settings } = await setUp(context, { sending_queue, retry_on_failure });
    endpoint.answerNext({ httpStatus: 503 }, { httpStatus: 503 });
    const waits = exporter.consumeLogs([makeLog()]);
    await settings.logged('cannot send, will try again');
    await new Promise(setImmediate);
    exporter.stopRetrying!();
    await assert.rejects(waits, { message: 'HTTP 503' });
    await exporter.consumeLogs([makeLog()]);
    assert.equal(endpoint.received.length, 3);
    endpoint.answerNext({ httpStatus: 503 });
    await assert.rejects(exporter.consumeLogs([makeLog()]), { message: 'HTTP 503' });
    await exporter.shutdown(AbortSignal.timeout(10_000));
    const series = await settings.series();
    assert.equal(series[SENT], 1);
    assert.equal(series[failed('shutdown')], 2);
  });
}

test('where overflow blocks, who waits for room gets it when retries end', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context, {
    sending_queue: { num_consumers: 1, queue_size: 1, block_on_overflow: true },
    retry_on_failure: { initial_interval: '1h', max_elapsed_time: 0 },
  });
  endpoint.answerNext({ httpStatus: 503 });
  await exporter.consumeLogs([makeLog()]);
  await settings.logged('cannot send, will try again');
  await new Promise(setImmediate);
  await exporter.consumeLogs([makeLog()]);
  const blocked = exporter.consumeLogs([makeLog()]);
  exporter.stopRetrying!();
  await blocked;
  await endpoint.request(4);
});

test('what is dropped at shutdown is told in one line, by number', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context, { sending_queue: { num_consumers: 1, queue_size: 2 } });
  endpoint.answerAlways({ httpStatus: 503 });
  for (let i = 0; i < 2; i++) {
    await exporter.consumeLogs([makeLog(), makeLog()]);
    await exporter.consumeMetrics(makeMetrics(2, 3));
  }
  exporter.stopRetrying!();
  await exporter.shutdown(AbortSignal.timeout(10_000));
  const told = settings.lines.filter(({ message }) => message.startsWith('dropped'));
  assert.deepEqual(told, [
    {
      level: 'error',
      message: 'dropped data at shutdown',
      fields: { metric_points: 12, log_records: 4, error: 'HTTP 503' },
    },
  ]);
});

test('nothing is said of a shutdown that dropped nothing', async (context) => {
  const { exporter, settings } = await setUp(context);
  await exporter.consumeLogs([makeLog()]);
  await exporter.shutdown(AbortSignal.timeout(10_000));
  assert.deepEqual(settings.lines, []);
});

test('what was given before the shutdown is sent, though it is still being compressed', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context);
  const taken = exporter.consumeLogs(Array.from({ length: 1000 }, () => makeLog()));
  await exporter.shutdown(AbortSignal.timeout(10_000));
  await taken;
  assert.equal(endpoint.received.length, 1);
  assert.equal((await settings.series())[SENT], 1000);
});

test('a second shutdown brings its deadline along', async (context) => {
  const { exporter, endpoint } = await setUp(context);
  endpoint.answerAlways({ hang: true });
  await exporter.consumeLogs([makeLog()]);
  await endpoint.request(1);
  const patient = exporter.shutdown(AbortSignal.timeout(600_000));
  await exporter.shutdown(AbortSignal.abort());
  await patient;
});

test('after shutdown, consuming rejects and is counted', async (context) => {
  for (const enabled of [true, false]) {
    const { exporter, settings } = await setUp(context, { sending_queue: { enabled } });
    await exporter.shutdown(AbortSignal.timeout(1_000));
    await assert.rejects(exporter.consumeLogs([makeLog()]), { name: 'QueueRefusal', reason: 'shutdown' });
    assert.equal((await settings.series())[refused('shutdown')], 1);
  }
});

test('shutdown before start drops what was given, and counts it', async () => {
  const settings = makeSettings('otlp_http');
  const exporter = otlpHttp.create(otlpHttp.configSchema.parse({ endpoint: 'http://localhost:1' }), settings);
  await exporter.consumeLogs([makeLog()]);
  await exporter.shutdown(AbortSignal.timeout(1_000));
  assert.equal((await settings.series())[failed('shutdown')], 1);
});

test('an outage is told when it begins and when it ends, with what it cost', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context, IMPATIENT);
  endpoint.answerNext({ httpStatus: 503 }, { httpStatus: 502 }, { httpStatus: 504 });
  await exporter.consumeLogs([makeLog()]);
  // For how long is the machine's affair.
  delete settings.lines[1]?.fields['failed_for_s'];
  assert.deepEqual(settings.lines, [
    {
      level: 'warn',
      message: 'cannot send, will try again',
      fields: { signal: 'logs', destination: `${endpoint.endpoint}/v1/logs`, error: 'HTTP 503' },
    },
    {
      level: 'info',
      message: 'sending again',
      fields: {
        signal: 'logs',
        destination: `${endpoint.endpoint}/v1/logs`,
        failed_attempts: 3,
        dropped_items: 0,
      },
    },
  ]);
});
