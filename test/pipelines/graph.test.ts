import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { buildGraph } from '../../pipelines/graph.ts';
import { makeSettings } from '../helpers/component-settings.ts';
import { makeLog, makeMetrics } from '../helpers/telemetry.ts';
import { configure, recordService, type RecordedService } from './recorded-service.ts';

function build(text: string): RecordedService & { ids: string[]; told: string[] } {
  const service = recordService();
  const told: string[] = [];
  const nodes = buildGraph(configure(service.factories, text), (kind, id) => {
    told.push(`${kind} ${id}`);
    return makeSettings(id);
  });
  return { ...service, ids: nodes.map(({ id }) => id), told };
}

const log = (body: string) => [makeLog({ body })];

suite('the graph of pipelines', () => {
  test('leads through the processors in their order', async () => {
    const { nextOf, arrived } = build(`
receivers: { r: }
processors: { p/1: , p/2: , p/3: }
exporters: { e: }
service: { pipelines: { logs: { receivers: [r], processors: [p/2, p/1, p/3], exporters: [e] } } }`);
    await nextOf.get('r')!.logs!.consumeLogs(log('kill'));
    assert.deepEqual(arrived, ['kill > p/2 > p/1 > p/3 > e']);
  });

  test('lists what is downstream first', () => {
    const { ids } = build(`
receivers: { r: }
processors: { p/1: , p/2: }
exporters: { e: }
service: { pipelines: { logs: { receivers: [r], processors: [p/1, p/2], exporters: [e] } } }`);
    assert.deepEqual(ids, ['e', 'p/2', 'p/1', 'r']);
  });

  test('has one receiver and one exporter however many pipelines they stand in, and a processor for each', () => {
    const { calls, ids } = build(`
receivers: { r: }
processors: { p: }
exporters: { e: }
service:
  pipelines:
    metrics: { receivers: [r], processors: [p], exporters: [e] }
    logs: { receivers: [r], processors: [p], exporters: [e] }
    logs/audit: { receivers: [r], processors: [p], exporters: [e] }`);
    assert.deepEqual(calls.toSorted(), ['make e', 'make p', 'make p', 'make p', 'make r']);
    assert.deepEqual(ids, ['e', 'p', 'p', 'p', 'r']);
  });

  test('has one of what a processor shares, which comes before the instances for each pipeline', async () => {
    const { calls, ids, nextOf, arrived } = build(`
receivers: { r: }
processors: { s: , p: }
exporters: { e: }
service:
  pipelines:
    metrics: { receivers: [r], processors: [s, p], exporters: [e] }
    logs: { receivers: [r], processors: [p, s], exporters: [e] }`);
    assert.deepEqual(calls.toSorted(), ['make e', 'make p', 'make p', 'make r', 'make s', 'make s', 'make shared s']);
    assert.deepEqual(ids, ['e', 's', 'p', 's', 's', 'p', 'r']);
    await nextOf.get('r')!.logs!.consumeLogs(log('kill'));
    assert.deepEqual(arrived, ['kill > p > s > e']);
  });

  test('gives what a processor knows of pods to the receivers of its pipelines', () => {
    const { knowPods } = build(`
receivers: { r/1: , r/2: }
processors: { s: , p: }
exporters: { e: }
service:
  pipelines:
    metrics: { receivers: [r/1], processors: [p, s], exporters: [e] }
    logs: { receivers: [r/1, r/2], processors: [p], exporters: [e] }`);
    assert.deepEqual(knowPods, ['r/1']);
  });

  test('gives what a receiver has to all its pipelines, and what a pipeline has to all its exporters', async () => {
    const { nextOf, arrived } = build(`
receivers: { r/1: , r/2: }
processors: { p: }
exporters: { e/1: , e/2: }
service:
  pipelines:
    logs: { receivers: [r/1, r/2], processors: [p], exporters: [e/1, e/2] }
    logs/raw: { receivers: [r/1], exporters: [e/2] }`);
    await nextOf.get('r/1')!.logs!.consumeLogs(log('one'));
    assert.deepEqual(arrived.toSorted(), ['one > e/2', 'one > p > e/1', 'one > p > e/2']);
    arrived.length = 0;
    await nextOf.get('r/2')!.logs!.consumeLogs(log('two'));
    assert.deepEqual(arrived.toSorted(), ['two > p > e/1', 'two > p > e/2']);
  });

  test('keeps signals apart, and says which a receiver has no pipeline for', async () => {
    const { nextOf, arrived } = build(`
receivers: { r: , r/metrics: }
exporters: { e/logs: , e/metrics: }
service:
  pipelines:
    logs: { receivers: [r], exporters: [e/logs] }
    metrics: { receivers: [r, r/metrics], exporters: [e/metrics] }`);
    const { metrics, logs } = nextOf.get('r')!;
    await metrics!.consumeMetrics(makeMetrics(2, 1));
    await logs!.consumeLogs(log('kill'));
    assert.deepEqual(arrived, ['2 metrics > e/metrics', 'kill > e/logs']);
    assert.equal(nextOf.get('r/metrics')!.logs, undefined);
    assert.notEqual(nextOf.get('r/metrics')!.metrics, undefined);
  });

  test('leaves out what is configured and used in no pipeline', () => {
    const { ids } = build(`
receivers: { r: , r/unused: }
processors: { p/unused: }
exporters: { e: , e/unused: }
service: { pipelines: { logs: { receivers: [r], exporters: [e] } } }`);
    assert.deepEqual(ids, ['e', 'r']);
  });

  test('tells each component its kind and its id', () => {
    const { told } = build(`
receivers: { r/a: }
processors: { p/b: }
exporters: { e/c: }
service: { pipelines: { metrics: { receivers: [r/a], processors: [p/b], exporters: [e/c] } } }`);
    assert.deepEqual(told.toSorted(), ['exporter e/c', 'processor p/b', 'receiver r/a']);
  });
});
