import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startAgent, type Agent } from '../helpers/agent.ts';
import { startCollector, type Collector } from '../helpers/collector.ts';
import { startDocker, type DockerHost } from '../helpers/docker-host.ts';
import { eventually } from '../helpers/eventually.ts';
import { requires } from '../helpers/requires.ts';

/** OTLP-JSON as the Collector's file exporter writes it; only what is looked at here. */
interface Attribute {
  key: string;
  value: { stringValue?: string; intValue?: string; boolValue?: boolean };
}
interface Line {
  resourceLogs?: OfResource<{ scopeLogs: { scope: { name: string }; logRecords: LogRecord[] }[] }>[];
  resourceMetrics?: OfResource<{ scopeMetrics: { scope: { name: string }; metrics: Metric[] }[] }>[];
}
type OfResource<T> = T & { resource: { attributes: Attribute[] } };
interface LogRecord {
  eventName: string;
  severityNumber: number;
  body: { stringValue: string };
  attributes: Attribute[];
}
interface Metric {
  name: string;
  unit: string;
  sum?: { isMonotonic: boolean; aggregationTemporality: number; dataPoints: { asInt: string }[] };
}

describe(
  'an OpenTelemetry Collector with the configuration of the recipe',
  requires('collector', 'docker', 'bundle'),
  () => {
    let collector: Collector;
    let host: DockerHost;
    let agent: Agent;

    before(async () => {
      [collector, host] = await Promise.all([startCollector(), startDocker()]);
      agent = await startAgent({
        receiver: { sources: { docker: { endpoint: `unix://${host.socket}` } } },
        grpcPort: collector.grpcPort,
      });
      await agent.observes('docker', 'memcg');
    });

    after(async () => {
      await agent?.close();
      await host?.stop();
      await collector?.stop();
    });

    it('takes in an OOM kill, its exit, and the counter with the container’s identity', async () => {
      const container = await host.run(['memhog', 'self', '64'], { name: 'victim' });
      const records = await eventually('two records have arrived', async () => {
        const found = logsOf(await collector.received(), container.id);
        return found.length >= 2 ? found : undefined;
      });
      assert.deepEqual(
        records.map(({ eventName, severityNumber }) => [eventName, severityNumber]),
        [
          ['container.oom_kill', 17],
          ['container.exit', 17],
        ],
      );
      const [kill, exit] = records;
      assert.deepEqual(attribute(kill!.attributes, 'oom.victim'), { stringValue: 'init' });
      assert.match(kill!.body.stringValue, /victim/);
      assert.deepEqual(attribute(exit!.attributes, 'process.exit.code'), { intValue: '137' });
      assert.deepEqual(attribute(exit!.attributes, 'container.exit.reason'), { stringValue: 'oom_killed' });
      for (const { resource } of records) {
        assert.deepEqual(attribute(resource, 'container.name'), { stringValue: 'victim' });
        assert.deepEqual(attribute(resource, 'container.runtime'), { stringValue: 'docker' });
        assert.deepEqual(attribute(resource, 'container.image.name'), { stringValue: 'localhost/exit137-test' });
        assert.ok(attribute(resource, 'host.name')?.stringValue);
      }

      const counter = await eventually('the counter has arrived', async () => {
        const found = metricsOf(await collector.received(), container.id).filter(
          ({ name }) => name === 'container.memory.oom_kills',
        );
        return found.at(-1)?.sum?.dataPoints[0]?.asInt === '1' ? found.at(-1) : undefined;
      });
      assert.equal(counter.unit, '{kill}');
      assert.equal(counter.sum!.isMonotonic, true);
      assert.equal(counter.sum!.aggregationTemporality, 2);
    });
  },
);

function logsOf(lines: unknown[], containerId: string): (LogRecord & { resource: Attribute[] })[] {
  return (lines as Line[])
    .flatMap(({ resourceLogs = [] }) => resourceLogs)
    .filter(({ resource }) => isOf(resource.attributes, containerId))
    .flatMap(({ resource, scopeLogs }) =>
      scopeLogs.flatMap(({ logRecords }) => logRecords.map((record) => ({ ...record, resource: resource.attributes }))),
    );
}

function metricsOf(lines: unknown[], containerId: string): Metric[] {
  return (lines as Line[])
    .flatMap(({ resourceMetrics = [] }) => resourceMetrics)
    .filter(({ resource }) => isOf(resource.attributes, containerId))
    .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics));
}

function isOf(attributes: Attribute[], containerId: string): boolean {
  return attribute(attributes, 'container.id')?.stringValue === containerId;
}

function attribute(attributes: Attribute[], key: string): Attribute['value'] | undefined {
  return attributes.find((candidate) => candidate.key === key)?.value;
}
