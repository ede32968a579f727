import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { describe, test, type TestContext } from 'node:test';
import { otlpHttp } from '../../../pipelines/exporters/otlp-http.ts';
import { makeCertificate } from '../../helpers/certificate.ts';
import { startHttpEndpoint, type Answer, type OtlpEndpoint } from '../../helpers/otlp-endpoint.ts';
import { encodeRpcStatus } from '../../helpers/rpc-status.ts';
import { makeLog, makeMetrics } from '../../helpers/telemetry.ts';
import { IMPATIENT, problemsOf, startExporter, type Started } from './exporters.ts';

interface Setup extends Started {
  endpoint: OtlpEndpoint;
}

async function setUp(context: TestContext, section: Record<string, unknown> = {}): Promise<Setup> {
  const endpoint = await startHttpEndpoint();
  context.after(() => endpoint.close());
  const started = await startExporter(context, otlpHttp, { endpoint: endpoint.endpoint, ...IMPATIENT, ...section });
  return { endpoint, ...started };
}

for (const encoding of ['proto', 'json']) {
  for (const compression of ['gzip', 'zstd', 'none']) {
    test(`${encoding} with compression ${compression} arrives whole`, async (context) => {
      const { exporter, endpoint } = await setUp(context, { encoding, compression });
      await exporter.consumeMetrics(makeMetrics(3, 2));
      await exporter.consumeLogs([makeLog()]);
      const [metrics, logs] = endpoint.received;
      assert.equal(
        metrics?.headers['content-type'],
        encoding === 'json' ? 'application/json' : 'application/x-protobuf',
      );
      assert.equal(metrics?.headers['content-encoding'], compression === 'none' ? undefined : compression);
      assert.equal(metrics?.metrics.length, 3);
      assert.deepEqual(metrics?.metrics[2]?.metrics['metric_1']?.points, [
        {
          attributes: {},
          asInt: '1',
          startTimeUnixNano: '1795250000000000001',
          timeUnixNano: '1795257727123456789',
        },
      ]);
      assert.equal(logs?.logs[0]?.eventName, 'container.oom_kill');
      assert.equal(logs?.logs[0]?.timeUnixNano, '1795257727123456789');
      assert.equal(logs?.logs[0]?.attributes['oom.scope'], 'container');
    });
  }
}

test('a large request is compressed as well', async (context) => {
  const { exporter, endpoint } = await setUp(context, { compression_params: { level: 1 } });
  await exporter.consumeMetrics(makeMetrics(100, 10));
  const { headers, body, metrics } = await endpoint.request(1);
  assert.equal(metrics.length, 100);
  assert.ok(Number(headers['content-length']) < body.byteLength / 4);
});

test('signals go below the endpoint, or to endpoints of their own', async (context) => {
  const below = await setUp(context);
  await below.exporter.consumeMetrics(makeMetrics(1, 1));
  await below.exporter.consumeLogs([makeLog()]);
  assert.deepEqual(
    below.endpoint.received.map(({ url }) => url),
    ['/v1/metrics', '/v1/logs'],
  );
  const own = await startHttpEndpoint();
  context.after(() => own.close());
  const { exporter } = await startExporter(context, otlpHttp, {
    endpoint: `${own.endpoint}/otlp/?key=2`,
    metrics_endpoint: `${own.endpoint}/ingest/metrics?key=1`,
    ...IMPATIENT,
  });
  await exporter.consumeMetrics(makeMetrics(1, 1));
  await exporter.consumeLogs([makeLog()]);
  assert.deepEqual(
    own.received.map(({ url }) => url),
    ['/ingest/metrics?key=1', '/otlp/v1/logs?key=2'],
  );
});

test('a signal without an endpoint is refused for good', async (context) => {
  const { exporter } = await startExporter(context, otlpHttp, { logs_endpoint: 'http://localhost:1', ...IMPATIENT });
  await assert.rejects(exporter.consumeMetrics(makeMetrics(1, 1)), { name: 'PermanentError' });
});

test('headers and the user agent go with each request', async (context) => {
  const { exporter, endpoint } = await setUp(context, { headers: { Authorization: 'Bearer x' } });
  await exporter.consumeLogs([makeLog()]);
  assert.equal(endpoint.received[0]?.headers['authorization'], 'Bearer x');
  assert.equal(endpoint.received[0]?.headers['user-agent'], 'exit137/1.2.3');
});

describe('each status code has its class', () => {
  for (const httpStatus of [429, 502, 503, 504]) {
    test(`${httpStatus} is tried again`, async (context) => {
      const { exporter, endpoint, settings } = await setUp(context);
      endpoint.answerNext({ httpStatus }, { httpStatus });
      await exporter.consumeLogs([makeLog()]);
      assert.equal(endpoint.received.length, 3);
      assert.equal((await settings.series())['otelcol_exporter_sent_log_records{exporter=otlp_http}'], 1);
    });
  }

  for (const httpStatus of [301, 307, 400, 401, 403, 404, 405, 408, 413, 415, 500, 501]) {
    test(`${httpStatus} is not tried again`, async (context) => {
      const { exporter, endpoint, settings } = await setUp(context);
      endpoint.answerNext({ httpStatus, httpHeaders: { location: '/elsewhere' } });
      await assert.rejects(exporter.consumeLogs([makeLog()]), {
        name: 'PermanentError',
        message: new RegExp(`^HTTP ${httpStatus}`),
      });
      assert.equal(endpoint.received.length, 1);
      const dropped = 'otelcol_exporter_send_failed_log_records{exporter=otlp_http,reason=permanent_error}';
      assert.equal((await settings.series())[dropped], 1);
    });
  }
});

test('Retry-After is heeded on 429 and 503 only', async (context) => {
  const httpHeaders = { 'retry-after': '1' };
  for (const [httpStatus, heeded] of [
    [429, true],
    [503, true],
    [502, false],
  ] as const) {
    const { exporter, endpoint } = await setUp(context);
    endpoint.answerNext({ httpStatus, httpHeaders });
    const beganMs = performance.now();
    await exporter.consumeLogs([makeLog()]);
    // Timers count whole milliseconds and can fire a fraction of one early.
    assert.equal(performance.now() - beganMs >= 999, heeded, `HTTP ${httpStatus}`);
  }
});

describe('why a server refused is told', () => {
  const LONG = 'x'.repeat(100_000);
  const CASES: [what: string, answer: Answer, expected: string | RegExp][] = [
    [
      'a google.rpc.Status in protobuf',
      { httpBody: encodeRpcStatus(3, 'unknown tenant'), httpHeaders: { 'content-type': 'application/x-protobuf' } },
      'HTTP 400: unknown tenant',
    ],
    [
      'a google.rpc.Status in JSON',
      { httpBody: '{"code":3,"message":"unknown tenant"}', httpHeaders: { 'content-type': 'application/json' } },
      'HTTP 400: unknown tenant',
    ],
    ['plain text', { httpBody: 'no\n', httpHeaders: { 'content-type': 'text/plain; charset=utf-8' } }, 'HTTP 400: no'],
    ['a page', { httpBody: '<html>', httpHeaders: { 'content-type': 'text/html' } }, 'HTTP 400'],
    ['bytes that are no protobuf', { httpBody: 'oops' }, 'HTTP 400'],
    ['a text without end', { httpBody: LONG, httpHeaders: { 'content-type': 'text/plain' } }, /^HTTP 400: x{512}…$/],
  ];
  for (const [what, answer, expected] of CASES) {
    test(what, async (context) => {
      const { exporter, endpoint } = await setUp(context);
      endpoint.answerNext({ httpStatus: 400, ...answer });
      await assert.rejects(exporter.consumeLogs([makeLog()]), { message: expected });
    });
  }
});

for (const encoding of ['proto', 'json']) {
  test(`what a destination rejects of a request it took is counted (${encoding})`, async (context) => {
    const { exporter, endpoint, settings } = await setUp(context, { encoding });
    endpoint.answerNext({ partialSuccess: { rejected: 2, message: 'too old' } });
    await exporter.consumeMetrics(makeMetrics(1, 5));
    const series = await settings.series();
    assert.equal(series['otelcol_exporter_sent_metric_points{exporter=otlp_http}'], 3);
    const dropped = 'otelcol_exporter_send_failed_metric_points{exporter=otlp_http,reason=partial_success}';
    assert.equal(series[dropped], 2);
    assert.equal(settings.lines[0]?.fields['error'], 'too old');
  });
}

test('an answer that cannot be read is success all the same', async (context) => {
  for (const encoding of ['proto', 'json']) {
    const { exporter, endpoint } = await setUp(context, { encoding });
    endpoint.answerNext({ httpBody: '\xff<html>' });
    await exporter.consumeLogs([makeLog()]);
  }
});

test('a destination that does not answer in time is asked again', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context, { timeout: '1s' });
  endpoint.answerNext({ hang: true });
  await exporter.consumeLogs([makeLog()]);
  assert.equal(endpoint.received.length, 2);
  assert.equal(settings.lines[0]?.fields['error'], 'no answer within 1000 ms');
});

test('a server that never ends its answer holds us no longer than the timeout', async (context) => {
  const server = createServer((_request, response) => {
    response.writeHead(200).write('x');
  });
  const endpoint = await listen(context, server);
  const section = { endpoint, timeout: '50ms', ...IMPATIENT, retry_on_failure: { enabled: false } };
  const { exporter } = await startExporter(context, otlpHttp, section);
  await assert.rejects(exporter.consumeLogs([makeLog()]), { message: 'no answer within 50 ms' });
});

test('no more of an answer is read than is of use', async (context) => {
  const server = createServer((_request, response) => {
    response.writeHead(400, { 'content-type': 'text/plain' });
    const write = () => response.write('x'.repeat(16_384), write);
    write();
  });
  const endpoint = await listen(context, server);
  const { exporter } = await startExporter(context, otlpHttp, { endpoint, ...IMPATIENT });
  await assert.rejects(exporter.consumeLogs([makeLog()]), { name: 'PermanentError' });
});

test('a connection that the server closed is made anew at once', async (context) => {
  const { exporter, endpoint, settings } = await setUp(context, { retry_on_failure: { enabled: false } });
  await exporter.consumeLogs([makeLog()]);
  endpoint.answerNext({ disconnect: true });
  await exporter.consumeLogs([makeLog()]);
  assert.equal(endpoint.received.length, 3);
  assert.deepEqual(settings.lines, []);
});

test('a server that closes every connection is told of', async (context) => {
  const { exporter, endpoint } = await setUp(context, { retry_on_failure: { enabled: false } });
  endpoint.answerAlways({ disconnect: true });
  await assert.rejects(exporter.consumeLogs([makeLog()]), /other side closed/);
});

test('connections are used again', async (context) => {
  const server = createServer((request, response) => void request.resume().on('end', () => response.end()));
  let connections = 0;
  server.on('connection', () => connections++);
  const endpoint = await listen(context, server);
  const { exporter } = await startExporter(context, otlpHttp, { endpoint, ...IMPATIENT });
  for (let i = 0; i < 5; i++) await exporter.consumeLogs([makeLog()]);
  // One more than one: a request can come while the connection is busy with the end of the answer before.
  assert.ok(connections <= 2, `${connections} connections`);
});

describe('TLS', () => {
  const certificate = makeCertificate('localhost');

  async function setUpTls(context: TestContext, tls: Record<string, unknown>, clientCa?: string): Promise<Setup> {
    const endpoint = await startHttpEndpoint({ tls: { ...certificate, ca: clientCa } });
    context.after(() => endpoint.close());
    const section = { endpoint: endpoint.endpoint, tls, ...IMPATIENT, retry_on_failure: { enabled: false } };
    return { endpoint, ...(await startExporter(context, otlpHttp, section)) };
  }

  test('a certificate signed by ca_pem is trusted', async (context) => {
    const { exporter, endpoint } = await setUpTls(context, { ca_pem: certificate.cert });
    await exporter.consumeLogs([makeLog()]);
    assert.equal(endpoint.received.length, 1);
  });

  test('a certificate signed by nobody we know is refused', async (context) => {
    const { exporter, endpoint } = await setUpTls(context, {});
    await assert.rejects(exporter.consumeLogs([makeLog()]), /self-signed certificate/);
    assert.equal(endpoint.received.length, 0);
  });

  test('insecure_skip_verify trusts whoever answers', async (context) => {
    const { exporter, endpoint } = await setUpTls(context, { insecure_skip_verify: true });
    await exporter.consumeLogs([makeLog()]);
    assert.equal(endpoint.received.length, 1);
  });

  test('server_name_override is the name that is checked', async (context) => {
    const tls = { ca_pem: certificate.cert, server_name_override: 'elsewhere' };
    const { exporter } = await setUpTls(context, tls);
    await assert.rejects(exporter.consumeLogs([makeLog()]), /does not match certificate/);
  });

  test('a server that asks for a certificate gets ours', async (context) => {
    const client = makeCertificate('agent');
    const identity = { ca_pem: certificate.cert, cert_pem: client.cert, key_pem: client.key };
    const { exporter, endpoint } = await setUpTls(context, identity, client.cert);
    await exporter.consumeLogs([makeLog()]);
    assert.equal(endpoint.received.length, 1);
  });
});

test('requests go through a proxy where one is configured', async (context) => {
  const asked: string[] = [];
  const proxy = createServer();
  proxy.on('connect', (request, client) => {
    asked.push(request.url!);
    const [host, port] = request.url!.split(':');
    const upstream = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      upstream.pipe(client).pipe(upstream);
    });
    upstream.on('error', () => client.destroy());
    client.on('error', () => upstream.destroy());
  });
  const certificate = makeCertificate('localhost');
  const endpoint = await startHttpEndpoint({ tls: certificate });
  context.after(() => endpoint.close());
  const { exporter } = await startExporter(context, otlpHttp, {
    endpoint: endpoint.endpoint,
    proxy_url: await listen(context, proxy),
    tls: { ca_pem: certificate.cert },
    ...IMPATIENT,
  });
  await exporter.consumeLogs([makeLog()]);
  assert.equal(endpoint.received.length, 1);
  assert.deepEqual(asked, [`localhost:${endpoint.port}`]);
  // The tunnel outlives the request: end it before the proxy waits for it.
  await exporter.shutdown(AbortSignal.timeout(1_000));
});

test('a wrong section is told key by key', () => {
  assert.deepEqual(problemsOf(otlpHttp, {}), ['endpoint: an endpoint is required']);
  const problems = problemsOf(otlpHttp, { endpoint: 'collector:4318', encoding: 'xml', compression: 'snappy', x: 1 });
  assert.deepEqual(
    problems.map((problem) => problem.split(':')[0]),
    ['endpoint', 'encoding', 'compression', ''],
  );
});

async function listen(context: TestContext, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
