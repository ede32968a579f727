import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Attributes } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { resource } from '../../../pipelines/processors/resource.ts';
import { makeSettings } from '../../helpers/component-settings.ts';
import { makeLog, makeMetrics } from '../../helpers/telemetry.ts';

/** What the processor makes of log records. */
async function changeLogs(
  actions: unknown[],
  ...given: (readonly ReadableLogRecord[])[]
): Promise<ReadableLogRecord[]> {
  const taken: ReadableLogRecord[] = [];
  const next = { consumeLogs: async (logs: readonly ReadableLogRecord[]) => void taken.push(...logs) };
  const config = resource.configSchema.parse({ attributes: actions });
  const processor = resource.createLogs(config, makeSettings(), next);
  await processor.start();
  for (const logs of given) await processor.consumeLogs(logs);
  await processor.shutdown(new AbortController().signal);
  return taken;
}

async function changeAttributes(actions: unknown[], attributes: Attributes): Promise<Attributes> {
  const [record] = await changeLogs(actions, [makeLog({ resource: resourceFromAttributes(attributes) })]);
  return record!.resource.attributes;
}

suite('the attributes of a resource', () => {
  for (const [what, actions, before, after] of [
    ['inserted where it is absent', [{ key: 'a', action: 'insert', value: 1 }], { b: 2 }, { b: 2, a: 1 }],
    ['not inserted where it is present', [{ key: 'a', action: 'insert', value: 1 }], { a: 0 }, { a: 0 }],
    ['updated where it is present', [{ key: 'a', action: 'update', value: true }], { a: 0 }, { a: true }],
    ['not updated where it is absent', [{ key: 'a', action: 'update', value: 1 }], { b: 2 }, { b: 2 }],
    ['upserted where it is absent', [{ key: 'a', action: 'upsert', value: 'x' }], {}, { a: 'x' }],
    ['upserted where it is present', [{ key: 'a', action: 'upsert', value: 'x' }], { a: 0 }, { a: 'x' }],
    ['deleted', [{ key: 'a', action: 'delete' }], { a: 0, b: 2 }, { b: 2 }],
    ['not deleted where it is absent', [{ key: 'a', action: 'delete' }], { b: 2 }, { b: 2 }],
    [
      'copied from another',
      [{ key: 'a', action: 'insert', from_attribute: 'b' }],
      { b: [1, 2] },
      { b: [1, 2], a: [1, 2] },
    ],
    ['not copied from one that is absent', [{ key: 'a', action: 'upsert', from_attribute: 'c' }], { a: 0 }, { a: 0 }],
    [
      'changed in the order of the actions',
      [
        { key: 'new', action: 'insert', from_attribute: 'old' },
        { key: 'old', action: 'delete' },
        { key: 'new', action: 'update', value: 'seen' },
      ],
      { old: 1 },
      { new: 'seen' },
    ],
    ['called as any object has it', [{ key: 'constructor', action: 'insert', value: 1 }], {}, { constructor: 1 }],
    ['not copied from what any object has', [{ key: 'a', action: 'insert', from_attribute: 'toString' }], {}, {}],
  ] as [string, unknown[], Attributes, Attributes][]) {
    test(`can be ${what}`, async () => assert.deepEqual(await changeAttributes(actions, before), after));
  }
});

suite('the resource processor', () => {
  const actions = [{ key: 'team', action: 'insert', value: 'core' }];

  test('makes one object of one resource, whenever it comes', async () => {
    const [one, other] = [resourceFromAttributes({ id: 1 }), resourceFromAttributes({ id: 2 })];
    const given = [[makeLog({ resource: one }), makeLog({ resource: other })], [makeLog({ resource: one })]];
    const [a, b, c] = (await changeLogs(actions, ...given)).map((record) => record.resource);
    assert.equal(a, c);
    assert.notEqual(a, b);
    assert.deepEqual(
      [a!.attributes, b!.attributes],
      [
        { id: 1, team: 'core' },
        { id: 2, team: 'core' },
      ],
    );
  });

  test('leaves what it was given as it was: others have it too', async () => {
    const original = resourceFromAttributes({ id: 1 });
    const record = makeLog({ resource: original });
    await changeLogs(actions, [record]);
    assert.equal(record.resource, original);
    assert.deepEqual(original.attributes, { id: 1 });
  });

  test('changes nothing of a record but its resource', async () => {
    const record = makeLog();
    const [changed] = await changeLogs(actions, [record]);
    assert.deepEqual({ ...changed, resource: undefined }, { ...record, resource: undefined });
  });

  test('keeps the schema of the resource', async () => {
    const schemaUrl = 'https://opentelemetry.io/schemas/1.40.0';
    const [record] = await changeLogs(actions, [makeLog({ resource: resourceFromAttributes({}, { schemaUrl }) })]);
    assert.equal(record!.resource.schemaUrl, schemaUrl);
  });

  test('changes the resources of metrics', async () => {
    const taken: ResourceMetrics[] = [];
    const next = { consumeMetrics: async (metrics: readonly ResourceMetrics[]) => void taken.push(...metrics) };
    const processor = resource.createMetrics(
      resource.configSchema.parse({ attributes: actions }),
      makeSettings(),
      next,
    );
    const metrics = makeMetrics(2, 1);
    await processor.consumeMetrics(metrics);
    await processor.consumeMetrics(metrics);
    assert.deepEqual(
      taken.map((entry) => entry.resource.attributes['team']),
      ['core', 'core', 'core', 'core'],
    );
    assert.equal(taken[0]!.resource, taken[2]!.resource);
    assert.equal(taken[0]!.scopeMetrics, metrics[0]!.scopeMetrics);
  });

  for (const [action, valid] of [
    [{ key: 'a', action: 'insert', value: false }, true],
    [{ key: 'a', action: 'delete' }, true],
    [{ key: 'a', action: 'insert' }, false],
    [{ key: 'a', action: 'insert', value: 1, from_attribute: 'b' }, false],
    [{ key: 'a', action: 'delete', value: 1 }, false],
    [{ key: '', action: 'delete' }, false],
    [{ key: 'a', action: 'hash' }, false],
  ] as const) {
    test(`${valid ? 'can' : 'cannot'} be told to ${JSON.stringify(action)}`, () =>
      assert.equal(resource.configSchema.safeParse({ attributes: [action] }).success, valid));
  }
});
