import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ValueType } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { MetricData, ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { metricsTable } from '../../../../pipelines/exporters/debug/metrics-table.ts';
import { plain } from '../../../../pipelines/exporters/debug/style.ts';
import { makeGauge, makeSum } from '../../../helpers/telemetry.ts';

process.env['TZ'] = 'UTC';

const AT_MS = Date.UTC(2026, 10, 21, 10, 42, 10, 7);

function resourceMetrics(attributes: Record<string, string>, ...metrics: MetricData[]): ResourceMetrics {
  return { resource: resourceFromAttributes(attributes), scopeMetrics: [{ scope: { name: 'exit137' }, metrics }] };
}

function utilization(ratio: number): MetricData {
  const gauge = makeGauge('container.memory.limit.utilization', ratio);
  return { ...gauge, descriptor: { ...gauge.descriptor, valueType: ValueType.DOUBLE } };
}

const docker = (id: string, name: string) => ({ 'container.id': id.padEnd(64, '0'), 'container.name': name });

test('containers stand in a table, the fullest first, and the metrics of the node below', () => {
  const web = docker('7c1f9d0e2b3a', 'web-1');
  const text = metricsTable(
    [
      resourceMetrics(
        docker('aa', 'db'),
        makeGauge('container.memory.usage', 10_485_760),
        makeSum('container.restarts', 0),
      ),
      resourceMetrics(
        web,
        makeGauge('container.memory.usage', 65_011_712),
        makeSum('container.memory.usage.limit', 67_108_864, {}, false),
        utilization(0.968_75),
      ),
      resourceMetrics(web, makeSum('container.memory.oom_kills', 2), makeSum('container.restarts', 12)),
      resourceMetrics({ 'host.name': 'node-1' }, makeSum('system.linux.oom_kills', 7)),
    ],
    AT_MS,
    plain,
  );
  assert.equal(
    text,
    [
      '10:42:10.007  2 containers',
      '  CONTAINER              USAGE   LIMIT  UTILIZATION  OOM KILLS  RESTARTS',
      '  web-1 (7c1f9d0e2b3a)  62 MiB  64 MiB       96.9 %          2        12',
      '  db (aa0000000000)     10 MiB       –            –          –         0',
      '  system.linux.oom_kills  7',
      '',
    ].join('\n'),
  );
});

test('exits of all reasons are one number', () => {
  const exits = makeSum('container.exits', 3, { 'container.exit.reason': 'error' });
  const killed = { ...exits.dataPoints[0]!, value: 2, attributes: { 'container.exit.reason': 'killed' } };
  const all = { ...exits, dataPoints: [exits.dataPoints[0]!, killed] };
  assert.match(
    metricsTable([resourceMetrics(docker('aa', 'db'), all)], AT_MS, plain),
    /EXITS\n {2}db \(aa0{10}\) +5\n/,
  );
});

test('what is told of a workload and of its instance is one row', () => {
  const workload = {
    'k8s.namespace.name': 'shop',
    'k8s.pod.name': 'cart-0',
    'k8s.pod.uid': 'u',
    'k8s.container.name': 'app',
  };
  const text = metricsTable(
    [
      resourceMetrics(workload, makeSum('container.memory.oom_kills', 1)),
      resourceMetrics({ ...workload, 'container.id': 'b'.repeat(64) }, makeGauge('container.memory.usage', 1024)),
    ],
    AT_MS,
    plain,
  );
  assert.match(text, /1 container\n.*\n {2}shop\/cart-0\/app \(bbbbbbbbbbbb\) {2}1 KiB {10}1\n$/);
});

test('a node without containers says so', () => {
  assert.equal(metricsTable([], AT_MS, plain), '10:42:10.007  0 containers\n');
});

test('thousands of containers are cut, and hostile names stay on their line', () => {
  const many = Array.from({ length: 1000 }, (_, index) =>
    resourceMetrics(
      docker(index.toString(16).padStart(8, '0'), 'x\n\u001b[2J'),
      makeGauge('container.memory.usage', 1),
    ),
  );
  const text = metricsTable(many, AT_MS, plain);
  assert.equal(text.split('\n').length, 204);
  assert.match(text, /… and 800 more\n$/);
  assert.doesNotMatch(text, /[^\P{Cc}\n]/u);
});
