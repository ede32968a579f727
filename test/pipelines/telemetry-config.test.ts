import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { telemetrySchema } from '../../pipelines/telemetry-config.ts';

const oneReader = (reader: unknown) => ({ metrics: { readers: [reader] } });
const prometheus = (section: unknown) => oneReader({ pull: { exporter: { prometheus: section } } });
const otlp = (section: unknown, more: object = {}) => oneReader({ periodic: { ...more, exporter: { otlp: section } } });

suite('service::telemetry', () => {
  test('offers metrics to this host only, and logs from info on, where it says nothing', () => {
    assert.deepEqual(telemetrySchema.parse({}), {
      logs: { level: 'info' },
      metrics: {
        level: 'normal',
        readers: [{ pull: { exporter: { prometheus: { host: 'localhost', port: 8888 } } } }],
      },
      resource: {},
    });
  });

  test('reads intervals as durations and as bare milliseconds', () => {
    const intervalOf = (interval: unknown) =>
      telemetrySchema.parse(otlp({}, { interval })).metrics.readers[0]?.periodic?.interval;
    assert.equal(intervalOf('10s'), 10_000);
    assert.equal(intervalOf(10_000), 10_000);
    assert.equal(intervalOf(undefined), 60_000);
  });

  for (const [what, section, valid] of [
    ['any free port', prometheus({ port: 0 }), true],
    ['no readers', { metrics: { readers: [] } }, true],
    ['a destination without TLS', otlp({ endpoint: 'http://collector:4317' }), true],
    ['a destination with TLS', otlp({ endpoint: 'https://collector:4317', certificate: '/ca.pem' }), true],
    ['a port that is none', prometheus({ port: 65_536 }), false],
    ['a destination without a scheme', otlp({ endpoint: 'collector:4317' }), false],
    ['an interval of 0', otlp({}, { interval: 0 }), false],
    ['a reader that is both', oneReader({ pull: { exporter: {} }, periodic: { exporter: {} } }), false],
    ['a reader that is neither', oneReader({}), false],
    ['another protocol', otlp({ protocol: 'http/protobuf' }), false],
    ['a level that does not exist', { logs: { level: 'trace' } }, false],
    ['an unknown key', { traces: {} }, false],
  ] as [string, unknown, boolean][]) {
    test(`${valid ? 'can' : 'cannot'} have ${what}`, () =>
      assert.equal(telemetrySchema.safeParse(section).success, valid));
  }
});
