import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { factories } from '../../command/components.ts';
import { makeDefaultConfig } from '../../command/default-config.ts';
import { loadConfig, validateConfig } from '../../pipelines/config.ts';
import type { ConfigMap } from '../../pipelines/config-tree.ts';

/** The exporters of the built-in configuration, as the command loads it; throws where it is not valid. */
function exportersOf(env: NodeJS.ProcessEnv): ConfigMap {
  const tree = loadConfig({ locations: [makeDefaultConfig(env)], env });
  validateConfig(tree, factories);
  return tree.value['exporters'] as ConfigMap;
}

suite('the built-in configuration', () => {
  test('prints what happens, and opens no port', () => {
    const env = {};
    const tree = loadConfig({ locations: [makeDefaultConfig(env)], env });
    const { exporters, extensions, service } = validateConfig(tree, factories);
    assert.deepEqual([...exporters.keys()], ['debug']);
    assert.equal(extensions.size, 0);
    assert.deepEqual(service.telemetry.metrics.readers, []);
    const pipelines = service.pipelines.map(({ id, receivers, exporters: to }) => ({ id, receivers, to }));
    assert.deepEqual(pipelines, [
      { id: 'metrics', receivers: ['container_lifecycle'], to: ['debug'] },
      { id: 'logs', receivers: ['container_lifecycle'], to: ['debug'] },
    ]);
  });

  for (const [what, env, exporters] of [
    [
      'by gRPC to port 4317, without TLS to http:',
      { ENDPOINT: 'http://collector:4317' },
      { otlp_grpc: { endpoint: 'http://collector:4317', headers: {}, tls: { insecure: true } } },
    ],
    [
      'by gRPC with TLS to https:',
      { ENDPOINT: 'https://collector:4317/', CERTIFICATE: '/ca.pem' },
      { otlp_grpc: { endpoint: 'https://collector:4317/', headers: {}, tls: { ca_file: '/ca.pem' } } },
    ],
    [
      'by HTTP to any other port',
      { ENDPOINT: 'http://collector:4318' },
      { otlp_http: { endpoint: 'http://collector:4318', headers: {}, encoding: 'proto' } },
    ],
    [
      'by the protocol that is asked for, on whatever port',
      { ENDPOINT: 'http://collector:4317', PROTOCOL: 'http/json' },
      { otlp_http: { endpoint: 'http://collector:4317', headers: {}, encoding: 'json' } },
    ],
    [
      'without TLS where that is asked for',
      { ENDPOINT: 'collector:4317', INSECURE: 'true', PROTOCOL: 'grpc' },
      { otlp_grpc: { endpoint: 'collector:4317', headers: {}, tls: { insecure: true } } },
    ],
    [
      'with headers, timeout and compression',
      { ENDPOINT: 'http://c', HEADERS: 'a=1, b=x%20y=z ,bad,=bad,c=%', TIMEOUT: '2500', COMPRESSION: 'none' },
      {
        otlp_http: {
          endpoint: 'http://c',
          headers: { a: '1', b: 'x y=z', c: '%' },
          timeout: '2500ms',
          compression: 'none',
          encoding: 'proto',
        },
      },
    ],
  ] as [string, Record<string, string>, ConfigMap][]) {
    test(`sends ${what}`, () => {
      const prefixed = Object.entries(env).map(([name, value]) => [`OTEL_EXPORTER_OTLP_${name}`, value] as const);
      assert.deepEqual(exportersOf(Object.fromEntries(prefixed)), exporters);
    });
  }

  test('takes a dollar sign for one, wherever it stands', () => {
    const text = '$HOME ${env:HOME} $$';
    const { otlp_http } = exportersOf({
      HOME: 'wrong',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://host:4318/${env:HOME}',
      OTEL_EXPORTER_OTLP_HEADERS: `key=${text}`,
      OTEL_EXPORTER_OTLP_CERTIFICATE: text,
    });
    assert.deepEqual(otlp_http, {
      endpoint: 'http://host:4318/${env:HOME}',
      headers: { key: text },
      tls: { ca_file: text },
      encoding: 'proto',
    });
  });

  for (const [env, problem] of [
    [{ TIMEOUT: 'soon' }, /^OTEL_EXPORTER_OTLP_TIMEOUT: exporters::otlp_http::timeout: cannot read duration "soonms"/],
    [{ ENDPOINT: 'nowhere' }, /^OTEL_EXPORTER_OTLP_ENDPOINT: exporters::otlp_http::endpoint: expected .*"nowhere"$/],
    [{ ENDPOINT: 'a b:4317' }, /^OTEL_EXPORTER_OTLP_ENDPOINT: exporters::otlp_grpc::endpoint: .*"a b:4317"/],
    [{ COMPRESSION: 'rar' }, /^OTEL_EXPORTER_OTLP_COMPRESSION: exporters::otlp_http::compression: .*"rar"$/],
    [{ HEADERS: 'a b=1' }, /^OTEL_EXPORTER_OTLP_HEADERS: exporters::otlp_http::headers::a b: /],
    [{ PROTOCOL: 'bogus' }, /^OTEL_EXPORTER_OTLP_PROTOCOL: expected grpc, http\/protobuf or http\/json, got "bogus"$/],
    [{ PROTOCOL: 'bogus', ENDPOINT: '' }, /^OTEL_EXPORTER_OTLP_PROTOCOL: .*"bogus"$/],
  ] as [Record<string, string>, RegExp][]) {
    test(`with ${JSON.stringify(env)} in the environment is a problem that names the variable`, () => {
      const all = Object.entries({ ENDPOINT: 'http://host', ...env });
      const prefixed = Object.fromEntries(all.map(([name, value]) => [`OTEL_EXPORTER_OTLP_${name}`, value]));
      assert.throws(() => exportersOf(prefixed), { name: 'ConfigError', message: problem });
    });
  }

  test('is named where what is wrong does not come from the environment', () => {
    const tree = loadConfig({
      locations: [makeDefaultConfig({})],
      settings: ['exporters.debug.x=1', 'service.y=1'],
      env: {},
    });
    assert.deepEqual(tree.origins.get('receivers'), 'built-in default:1');
    assert.throws(() => validateConfig(tree, factories), {
      message: /^--set: exporters::debug::x: .*\n--set: service::y: /,
    });
  });
});
