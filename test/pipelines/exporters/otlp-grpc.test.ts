import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import { otlpGrpc } from '../../../pipelines/exporters/otlp-grpc.ts';
import { makeCertificate } from '../../helpers/certificate.ts';
import { freePort } from '../../helpers/free-port.ts';
import { startGrpcEndpoint, type OtlpEndpoint } from '../../helpers/otlp-endpoint.ts';
import { encodeRpcStatus } from '../../helpers/rpc-status.ts';
import { makeLog, makeMetrics } from '../../helpers/telemetry.ts';
import { IMPATIENT, problemsOf, startExporter, type Started } from './exporters.ts';

interface Setup extends Started {
  endpoint: OtlpEndpoint;
}

async function setUp(context: TestContext, section: Record<string, unknown> = {}): Promise<Setup> {
  const endpoint = await startGrpcEndpoint();
  context.after(() => endpoint.close());
  const started = await startExporter(context, otlpGrpc, {
    endpoint: endpoint.endpoint,
    tls: { insecure: true },
    ...IMPATIENT,
    ...section,
  });
  return { endpoint, ...started };
}

test('one request carries the metrics of all resources', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context);
  await exporter.consumeMetrics(makeMetrics(3, 2));
  assert.equal(endpoint.received.length, 1);
  const { metrics } = endpoint.received[0]!;
  assert.deepEqual(
    metrics.map(({ resource }) => resource['container.name']),
    ['web-0', 'web-1', 'web-2'],
  );
  assert.deepEqual(metrics[2]?.scope, { name: 'exit137', version: '1.2.3' });
  assert.deepEqual(metrics[2]?.metrics['metric_1'], {
    kind: 'gauge',
    unit: 'By',
    description: 'What metric_1 is.',
    monotonic: false,
    temporality: 0,
    points: [
      {
        attributes: {},
        asInt: '1',
        startTimeUnixNano: '1795250000000000001',
        timeUnixNano: '1795257727123456789',
      },
    ],
  });
  assert.equal((await settings.series())['otelcol_exporter_sent_metric_points{exporter=otlp_grpc}'], 6);
});

test('a log record arrives with its event name, its times and its resource', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context);
  await exporter.consumeLogs([makeLog(), makeLog({ eventName: 'container.exit' })]);
  const { logs } = endpoint.received[0]!;
  assert.deepEqual(
    logs.map(({ eventName }) => eventName),
    ['container.oom_kill', 'container.exit'],
  );
  assert.equal(logs[0]?.timeUnixNano, '1795257727123456789');
  assert.equal(logs[0]?.observedTimeUnixNano, '1795257727123456790');
  assert.equal(logs[0]?.severityNumber, 17);
  assert.equal(logs[0]?.resource['container.name'], 'web-1');
  assert.equal(logs[0]?.attributes['process.pid'], 4711);
  assert.equal((await settings.series())['otelcol_exporter_sent_log_records{exporter=otlp_grpc}'], 2);
});

test('headers and the user agent go with each request', async (context) => {
  const { exporter, endpoint } = await setUp(context, { headers: { 'X-Tenant': 'a', count: 7 } });
  await exporter.consumeLogs([makeLog()]);
  const { headers } = endpoint.received[0]!;
  assert.equal(headers['x-tenant'], 'a');
  assert.equal(headers['count'], '7');
  assert.match(headers['user-agent']!, /^exit137\/1\.2\.3 /);
});

describe('each status code has its class', () => {
  const RETRYABLE = ['CANCELLED', 'DEADLINE_EXCEEDED', 'ABORTED', 'OUT_OF_RANGE', 'UNAVAILABLE', 'DATA_LOSS'] as const;
  const PERMANENT = [
    'UNKNOWN',
    'INVALID_ARGUMENT',
    'NOT_FOUND',
    'ALREADY_EXISTS',
    'PERMISSION_DENIED',
    'RESOURCE_EXHAUSTED',
    'FAILED_PRECONDITION',
    'UNIMPLEMENTED',
    'INTERNAL',
    'UNAUTHENTICATED',
  ] as const;

  for (const code of RETRYABLE) {
    test(`${code} is tried again`, async (context) => {
      const { exporter, endpoint, settings } = await setUp(context);
      endpoint.answerNext({ code: status[code] }, { code: status[code] });
      await exporter.consumeLogs([makeLog()]);
      assert.equal(endpoint.received.length, 3);
      assert.deepEqual(await settings.series(), {
        'otelcol_exporter_sent_log_records{exporter=otlp_grpc}': 1,
        ...EMPTY_QUEUES,
      });
    });
  }

  for (const code of PERMANENT) {
    test(`${code} is not tried again`, async (context) => {
      const { exporter, endpoint, settings } = await setUp(context);
      endpoint.answerNext({ code: status[code], message: 'no such thing' });
      await assert.rejects(exporter.consumeLogs([makeLog()]), {
        name: 'PermanentError',
        message: `${code}: no such thing`,
      });
      assert.equal(endpoint.received.length, 1);
      assert.deepEqual(await settings.series(), {
        'otelcol_exporter_send_failed_log_records{exporter=otlp_grpc,reason=permanent_error}': 1,
        ...EMPTY_QUEUES,
      });
    });
  }

  const EMPTY_QUEUES = Object.fromEntries(
    ['metrics', 'logs'].flatMap((kind) => [
      [`otelcol_exporter_queue_size{data_type=${kind},exporter=otlp_grpc}`, 0],
      [`otelcol_exporter_queue_capacity{data_type=${kind},exporter=otlp_grpc}`, 1000],
    ]),
  );
});

for (const code of ['RESOURCE_EXHAUSTED', 'UNAVAILABLE'] as const) {
  test(`${code} with a RetryInfo is tried again after the delay it names`, async (context) => {
    const { exporter, endpoint } = await setUp(context);
    const details = encodeRpcStatus(status[code], 'slow down', { seconds: 0n, nanos: 80_000_000 });
    endpoint.answerNext({ code: status[code], details });
    const beganMs = performance.now();
    await exporter.consumeLogs([makeLog()]);
    // Timers count whole milliseconds and can fire a fraction of one early.
    assert.ok(performance.now() - beganMs >= 79);
    assert.equal(endpoint.received.length, 2);
  });
}

test('a RetryInfo does not make a permanent failure one that is tried again', async (context) => {
  const { exporter, endpoint } = await setUp(context);
  const details = encodeRpcStatus(3, 'bad', { seconds: 0n, nanos: 1 });
  endpoint.answerNext({ code: status.INVALID_ARGUMENT, details });
  await assert.rejects(exporter.consumeLogs([makeLog()]), { name: 'PermanentError' });
});

test('details that are not a google.rpc.Status are passed over', async (context) => {
  const { exporter, endpoint } = await setUp(context);
  endpoint.answerNext({ code: status.UNAVAILABLE, details: Buffer.from('no protobuf') });
  await exporter.consumeLogs([makeLog()]);
  assert.equal(endpoint.received.length, 2);
});

test('what a destination rejects of a request it took is counted, told and not sent again', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context);
  endpoint.answerNext({ partialSuccess: { rejected: 2, message: 'too old' } });
  await exporter.consumeMetrics(makeMetrics(1, 5));
  assert.equal(endpoint.received.length, 1);
  const series = await settings.series();
  assert.equal(series['otelcol_exporter_sent_metric_points{exporter=otlp_grpc}'], 3);
  const dropped = 'otelcol_exporter_send_failed_metric_points{exporter=otlp_grpc,reason=partial_success}';
  assert.equal(series[dropped], 2);
  assert.deepEqual(
    settings.lines.map(({ level, fields }) => [level, fields['error']]),
    [['error', 'too old']],
  );
});

test('a destination cannot reject more than it was sent', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context);
  endpoint.answerNext({ partialSuccess: { rejected: 1000, message: '' } });
  await exporter.consumeLogs([makeLog()]);
  const series = await settings.series();
  assert.equal(series['otelcol_exporter_sent_log_records{exporter=otlp_grpc}'], 0);
  assert.equal(series['otelcol_exporter_send_failed_log_records{exporter=otlp_grpc,reason=partial_success}'], 1);
});

test('many batches at once arrive whole, however often each is tried', async (context) => {
  const { exporter, endpoint } = await setUp(context, { compression: 'none' });
  const unavailable = { code: status.UNAVAILABLE };
  endpoint.answerNext({}, unavailable, {}, { delayMs: 20 }, unavailable, { delayMs: 5 }, {}, unavailable);
  const metrics = makeMetrics(3, 2);
  const sent: Promise<void>[] = [];
  for (let value = 0; value < 40; value++) {
    for (const metric of metrics.flatMap(({ scopeMetrics }) => scopeMetrics[0]!.metrics)) {
      Object.assign(metric.dataPoints[0]!, { value });
    }
    sent.push(exporter.consumeMetrics(metrics));
    if (value % 7 === 0) await sent.at(-1);
  }
  await Promise.all(sent);
  const values = endpoint.received.map((received) =>
    received.metrics.flatMap((one) => Object.values(one.metrics).map(({ points }) => points[0]?.asInt)),
  );
  for (const ofOne of values)
    assert.deepEqual(
      ofOne,
      Array.from({ length: 6 }, () => ofOne[0]),
    );
  assert.equal(values.length, 43);
  assert.equal(new Set(values.map(([value]) => value)).size, 40);
});

test('a destination that does not answer in time is asked again', async (context) => {
  const { exporter, endpoint } = await setUp(context, { timeout: '1s' });
  endpoint.answerNext({ hang: true });
  await exporter.consumeLogs([makeLog()]);
  assert.equal(endpoint.received.length, 2);
});

test('a destination that is not there yet gets what was queued once it is', async (context) => {
  const port = await freePort();
  const { exporter, settings } = await startExporter(context, otlpGrpc, {
    endpoint: `localhost:${port}`,
    tls: { insecure: true },
    ...IMPATIENT,
    retry_on_failure: { initial_interval: '20ms', max_interval: '20ms', max_elapsed_time: 0 },
  });
  const sent = exporter.consumeLogs([makeLog()]);
  const failure = await settings.logged('cannot send, will try again');
  assert.match(String(failure.fields['error']), /^UNAVAILABLE: .*ECONNREFUSED/);
  const endpoint = await startGrpcEndpoint({ port });
  context.after(() => endpoint.close());
  await sent;
  assert.equal(endpoint.received.length, 1);
  assert.deepEqual(
    settings.lines.map(({ level, message }) => `${level}: ${message}`),
    ['warn: cannot send, will try again', 'info: sending again'],
  );
});

test('requests travel gzipped unless compression is none', async (context) => {
  for (const [compression, expected] of [
    ['gzip', 'gzip'],
    ['none', 'identity'],
  ]) {
    const { exporter, nextRequest } = await setUpRawServer(context, { compression });
    void exporter.consumeLogs([makeLog()]).catch(() => {});
    const { encoding, compressedFlag, message } = await nextRequest;
    assert.equal(encoding ?? 'identity', expected);
    assert.equal(compressedFlag, expected === 'gzip' ? 1 : 0);
    const body = expected === 'gzip' ? gunzipSync(message) : message;
    assert.ok(body.includes('container.oom_kill'));
  }
});

describe('TLS', () => {
  const certificate = makeCertificate('localhost');

  async function setUpTls(context: TestContext, tls: Record<string, unknown>, serverCa?: string): Promise<Setup> {
    const endpoint = await startGrpcEndpoint({
      tls: { ...certificate, ...(serverCa !== undefined && { ca: serverCa }) },
    });
    context.after(() => endpoint.close());
    const started = await startExporter(context, otlpGrpc, {
      endpoint: endpoint.endpoint,
      tls,
      ...IMPATIENT,
      retry_on_failure: { enabled: false },
    });
    return { endpoint, ...started };
  }

  test('a certificate signed by ca_pem is trusted', async (context) => {
    const { exporter, endpoint } = await setUpTls(context, { ca_pem: certificate.cert, min_version: '1.3' });
    await exporter.consumeLogs([makeLog()]);
    assert.equal(endpoint.received.length, 1);
  });

  test('ca_file is read', async (context) => {
    const folder = await mkdtemp(join(tmpdir(), 'exit137-test-'));
    context.after(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, 'ca.pem'), certificate.cert);
    const { exporter, endpoint } = await setUpTls(context, { ca_file: join(folder, 'ca.pem') });
    await exporter.consumeLogs([makeLog()]);
    assert.equal(endpoint.received.length, 1);
  });

  test('a certificate signed by nobody we know is refused, and the data is not sent', async (context) => {
    const { exporter, endpoint, settings } = await setUpTls(context, {});
    await assert.rejects(exporter.consumeLogs([makeLog()]), /UNAVAILABLE.*self-signed certificate/);
    assert.equal(endpoint.received.length, 0);
    assert.match(String(settings.lines[0]?.fields['error']), /self-signed certificate/);
  });

  test('insecure_skip_verify trusts whoever answers', async (context) => {
    const { exporter, endpoint } = await setUpTls(context, { insecure_skip_verify: true });
    await exporter.consumeLogs([makeLog()]);
    assert.equal(endpoint.received.length, 1);
  });

  test('a certificate for another name is refused, but for server_name_override', async (context) => {
    const other = makeCertificate('collector.example.org');
    const endpoint = await startGrpcEndpoint({ tls: other });
    context.after(() => endpoint.close());
    const section = { endpoint: endpoint.endpoint, ...IMPATIENT, retry_on_failure: { enabled: false } };
    const ca = { ca_pem: other.cert };
    const refused = await startExporter(context, otlpGrpc, { ...section, tls: ca });
    await assert.rejects(refused.exporter.consumeLogs([makeLog()]), /UNAVAILABLE/);
    const tls = { ...ca, server_name_override: 'collector.example.org' };
    const { exporter } = await startExporter(context, otlpGrpc, { ...section, tls });
    await exporter.consumeLogs([makeLog()]);
    assert.equal(endpoint.received.length, 1);
  });

  test('a server that asks for a certificate gets ours', async (context) => {
    const client = makeCertificate('agent');
    const identity = { ca_pem: certificate.cert, cert_pem: client.cert, key_pem: client.key };
    const { exporter, endpoint } = await setUpTls(context, identity, client.cert);
    await exporter.consumeLogs([makeLog()]);
    assert.equal(endpoint.received.length, 1);
  });

  test('https:// in the endpoint asks for TLS even where tls.insecure is set', async (context) => {
    const endpoint = await startGrpcEndpoint({ tls: certificate });
    context.after(() => endpoint.close());
    const { exporter } = await startExporter(context, otlpGrpc, {
      endpoint: `https://localhost:${endpoint.port}`,
      tls: { insecure: true, ca_pem: certificate.cert },
      ...IMPATIENT,
    });
    await exporter.consumeLogs([makeLog()]);
    assert.equal(endpoint.received.length, 1);
  });

  test('a file that cannot be read fails the start, with its path', async (context) => {
    const section = { endpoint: 'localhost:4317', tls: { ca_file: '/no/such/ca.pem' } };
    await assert.rejects(startExporter(context, otlpGrpc, section), {
      message: 'cannot read ca_file "/no/such/ca.pem"',
    });
  });
});

test('a Unix socket is an endpoint', async (context) => {
  const folder = await mkdtemp(join(tmpdir(), 'exit137-test-'));
  context.after(() => rm(folder, { recursive: true }));
  const endpoint = await startGrpcEndpoint({ socketPath: join(folder, 'otlp.sock') });
  context.after(() => endpoint.close());
  const { exporter } = await startExporter(context, otlpGrpc, {
    endpoint: `unix://${join(folder, 'otlp.sock')}`,
    tls: { insecure: true },
    ...IMPATIENT,
  });
  await exporter.consumeLogs([makeLog()]);
  assert.equal(endpoint.received.length, 1);
});

test('shutdown gives up calls that hang at its deadline', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context, { sending_queue: {}, timeout: '1h' });
  endpoint.answerAlways({ hang: true });
  await exporter.consumeLogs([makeLog()]);
  await endpoint.request(1);
  await exporter.shutdown(AbortSignal.timeout(50));
  const dropped = 'otelcol_exporter_send_failed_log_records{exporter=otlp_grpc,reason=shutdown}';
  assert.equal((await settings.series())[dropped], 1);
});

test('a wrong section is told key by key', () => {
  const section = {
    endpoint: 'collector',
    timeout: 'soon',
    colour: 'red',
    headers: { 'bad name': 'x', fine: 'two\nlines' },
    tls: { ca_file: 'a', ca_pem: 'b', cert_file: 'c' },
    sending_queue: { storage: 'file_storage', num_consumers: 0 },
    retry_on_failure: { multiplier: 0.5 },
  };
  assert.deepEqual(
    problemsOf(otlpGrpc, section).map((problem) => problem.split(':')[0]),
    [
      'endpoint',
      'tls.ca_pem',
      'tls.key_file',
      'headers.bad name',
      'headers.fine',
      'timeout',
      'sending_queue.num_consumers',
      'sending_queue.storage',
      'retry_on_failure.multiplier',
      '',
    ],
  );
});

test('empty sections mean defaults', () => {
  const given = { endpoint: 'collector:4317', tls: null, headers: null, sending_queue: null, retry_on_failure: null };
  const parsed = otlpGrpc.configSchema.parse(given);
  assert.deepEqual(parsed, otlpGrpc.configSchema.parse({ endpoint: 'collector:4317' }));
  assert.equal(parsed.timeout, 5_000);
  assert.equal(parsed.compression, 'gzip');
});

interface RawRequest {
  encoding: string | undefined;
  compressedFlag: number;
  message: Buffer;
}

/** A server that shows what stands on the wire, before any library touches it. */
async function setUpRawServer(
  context: TestContext,
  section: Record<string, unknown>,
): Promise<Started & { nextRequest: Promise<RawRequest> }> {
  const server = createHttp2Server();
  const { promise: nextRequest, resolve } = Promise.withResolvers<RawRequest>();
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      const frame = Buffer.concat(chunks);
      const encoding = headers['grpc-encoding'] as string | undefined;
      resolve({ encoding, compressedFlag: frame[0]!, message: frame.subarray(5) });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  context.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const endpoint = `http://127.0.0.1:${port}`;
  return { ...(await startExporter(context, otlpGrpc, { endpoint, ...IMPATIENT, ...section })), nextRequest };
}
