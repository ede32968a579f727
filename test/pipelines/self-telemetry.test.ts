import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { suite, test, type TestContext } from 'node:test';
import { startSelfTelemetry, type SelfTelemetry } from '../../pipelines/self-telemetry.ts';
import { telemetrySchema } from '../../pipelines/telemetry-config.ts';
import { makeSettings, type TestSettings } from '../helpers/component-settings.ts';
import { eventually } from '../helpers/eventually.ts';
import { startGrpcEndpoint } from '../helpers/otlp-endpoint.ts';

interface Started extends TestSettings {
  telemetry: SelfTelemetry;
}

/** Starts self-telemetry with `service::telemetry` as it would stand in a file; stops it after the test. */
async function start(context: TestContext, section: unknown): Promise<Started> {
  const settings = makeSettings();
  const telemetry = await startSelfTelemetry(telemetrySchema.parse(section), '1.2.3', settings.logger);
  context.after(() => telemetry.shutdown());
  return Object.assign(settings, { telemetry });
}

function pull(port: number, host: string = '127.0.0.1') {
  return { readers: [{ pull: { exporter: { prometheus: { host, port } } } }] };
}

async function startScraped(context: TestContext, resource: Record<string, string> = {}) {
  const settings = await start(context, { metrics: pull(0), resource });
  const { telemetry } = settings;
  const { fields } = await settings.logged('self-telemetry can be scraped');
  const url = String(fields['url']);
  const scrape = async () => {
    const response = await fetch(url);
    return { response, lines: (await response.text()).split('\n') };
  };
  return { telemetry, url, scrape };
}

suite('what is scraped', () => {
  test('has the names that were given, without suffixes, and each value', async (context) => {
    const { telemetry, scrape } = await startScraped(context);
    telemetry.meter
      .createCounter('otelcol_exporter_sent_log_records', {
        unit: '{records}',
        description: 'Taken by\nthe other end.',
      })
      .add(3, { exporter: 'otlp_grpc/a' });
    telemetry.meter.createGauge('otelcol_exporter_queue_size').record(1.5, { exporter: 'debug', 'data.type': 'logs' });
    telemetry.meter.createUpDownCounter('held').add(-2);
    const { response, lines } = await scrape();
    assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
    for (const line of [
      '# HELP otelcol_exporter_sent_log_records Taken by\\nthe other end.',
      '# TYPE otelcol_exporter_sent_log_records counter',
      'otelcol_exporter_sent_log_records{exporter="otlp_grpc/a"} 3',
      '# TYPE otelcol_exporter_queue_size gauge',
      'otelcol_exporter_queue_size{exporter="debug",data_type="logs"} 1.5',
      '# TYPE held gauge',
      'held -2',
    ]) {
      assert.ok(lines.includes(line), `${line} in\n${lines.join('\n')}`);
    }
  });

  test('is one line a series, whatever its labels hold', async (context) => {
    const { telemetry, scrape } = await startScraped(context);
    telemetry.meter.createCounter('c').add(1, { source: 'a"b\\c\nd' });
    const { lines } = await scrape();
    assert.ok(lines.includes('c{source="a\\"b\\\\c\\nd"} 1'), lines.join('\n'));
  });

  test('tells who it is', async (context) => {
    const { scrape } = await startScraped(context, { 'deployment.environment.name': 'test' });
    const { lines } = await scrape();
    const info = 'service_name="exit137",service_version="1.2.3",deployment_environment_name="test"';
    assert.ok(lines.includes(`target_info{${info}} 1`), lines.join('\n'));
  });

  test('has the uptime, memory and CPU time of this process', async (context) => {
    const { scrape } = await startScraped(context);
    const { lines } = await scrape();
    const valueOf = (name: string) => Number(lines.find((line) => line.startsWith(`${name} `))?.split(' ')[1]);
    const uptimeS = valueOf('otelcol_process_uptime');
    assert.ok(uptimeS > 0 && uptimeS <= process.uptime(), `${uptimeS} s`);
    assert.ok(valueOf('otelcol_process_memory_rss') > 1e6);
    const cpuS = valueOf('otelcol_process_cpu_seconds');
    assert.ok(cpuS > 0 && cpuS < process.uptime() * 64, `${cpuS} s`);
  });

  test('stands at /metrics only', async (context) => {
    const { url } = await startScraped(context);
    assert.equal((await fetch(new URL('/', url))).status, 404);
  });
});

suite('self-telemetry', () => {
  test('stops though a scraper keeps its connection', { timeout: 5_000 }, async (context) => {
    const { telemetry, url } = await startScraped(context);
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET /metrics HTTP/1.1\r\n');
    const closed = once(socket, 'close');
    await fetch(url);
    await telemetry.shutdown();
    await closed;
  });

  test('goes on without a reader whose port is in use, and says so', async (context) => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    context.after(() => taken.close());
    const { port } = taken.address() as AddressInfo;
    const { telemetry, lines } = await start(context, { metrics: pull(port) });
    telemetry.meter.createCounter('c').add(1);
    assert.deepEqual(lines, [
      {
        level: 'warn',
        message: 'self-telemetry cannot be offered for scraping; going on without',
        fields: { error: `listen EADDRINUSE: address already in use 127.0.0.1:${port}` },
      },
    ]);
  });

  test('has no reader where its level is none', async (context) => {
    const { lines } = await start(context, { metrics: { level: 'none', ...pull(0) } });
    assert.deepEqual(lines, []);
  });

  test('is sent by OTLP, with headers', async (context) => {
    const endpoint = await startGrpcEndpoint();
    context.after(() => endpoint.close());
    const otlp = { endpoint: `http://127.0.0.1:${endpoint.port}`, headers: { 'x-tenant': 'a' } };
    const { telemetry } = await start(context, {
      metrics: { readers: [{ periodic: { interval: 50, exporter: { otlp } } }] },
    });
    telemetry.meter.createCounter('otelcol_exporter_sent_log_records').add(3, { exporter: 'debug' });
    const request = await eventually('metrics have arrived', () =>
      endpoint.received.find(({ metrics }) =>
        metrics.some((entry) => 'otelcol_exporter_sent_log_records' in entry.metrics),
      ),
    );
    assert.equal(request.headers['x-tenant'], 'a');
    const [entry] = request.metrics;
    assert.equal(entry!.resource['service.name'], 'exit137');
  });

  test('stops though nobody takes what it sends', { timeout: 10_000 }, async (context) => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    context.after(() => silent.close());
    const otlp = { endpoint: `http://127.0.0.1:${(silent.address() as AddressInfo).port}` };
    const { telemetry } = await start(context, { metrics: { readers: [{ periodic: { exporter: { otlp } } }] } });
    const connected = once(silent, 'connection');
    const stopped = telemetry.shutdown();
    const [socket] = (await connected) as [Socket];
    await stopped;
    socket.destroy();
  });

  test('goes on without a reader whose certificate cannot be read, and says so', async (context) => {
    const otlp = { endpoint: 'https://127.0.0.1:1', certificate: '/nowhere/ca.pem' };
    const { lines } = await start(context, { metrics: { readers: [{ periodic: { exporter: { otlp } } }] } });
    assert.equal(lines.length, 1);
    assert.equal(lines[0]!.message, 'self-telemetry cannot be sent; going on without');
    assert.match(String(lines[0]!.fields['error']), /^cannot read certificate "\/nowhere\/ca\.pem": ENOENT/);
  });
});
