import assert from 'node:assert/strict';
import { suite, test, type TestContext } from 'node:test';
import { resourceFromAttributes, type Resource } from '@opentelemetry/resources';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { SharedProcessor } from '../../../pipelines/component.ts';
import { k8sAttributes } from '../../../pipelines/processors/k8s-attributes.ts';
import { makeSettings, type TestSettings } from '../../helpers/component-settings.ts';
import { eventually } from '../../helpers/eventually.ts';
import { makeLog, makeMetrics } from '../../helpers/telemetry.ts';
import { answerPods, brokenWatch, list, refuse, watch, type ApiAtTheWire } from './k8s-attributes/api-at-the-wire.ts';
import { makePodObject } from './k8s-attributes/make-pod.ts';

const KNOWS = "knows the node's pods";
const AWAY = "cannot watch the node's pods; goes on with what is known of them";

const pod = (uid: string, resourceVersion = '11', metadata: object = {}) =>
  makePodObject({ metadata: { uid, name: `pod-${uid}`, resourceVersion, ...metadata } });
const bookmark = (resourceVersion: string) => ({
  type: 'BOOKMARK',
  object: { kind: 'Pod', metadata: { resourceVersion } },
});
const resourceOf = (uid: string): Resource =>
  resourceFromAttributes({ 'k8s.pod.uid': uid, 'container.id': `c-${uid}` });
const bodies = (logs: readonly ReadableLogRecord[]) => logs.map(({ body }) => body);

const watchAnswer = watch();

interface Started {
  processor: SharedProcessor;
  settings: TestSettings;
}

async function start(context: TestContext, api: ApiAtTheWire, section: object = {}): Promise<Started> {
  const settings = makeSettings('k8s_attributes');
  const config = k8sAttributes.configSchema.parse({
    auth_type: 'none',
    endpoint: api.endpoint,
    filter: { node: 'node-1' },
    extract: { metadata: ['k8s.pod.name'] },
    ...section,
  });
  const processor = k8sAttributes.createShared(config, settings);
  await processor.start();
  context.after(async () => {
    await processor.shutdown(AbortSignal.timeout(1_000));
    await api.close();
  });
  return { processor, settings };
}

/** A pipeline of log records, and what came out of it. */
function logsOf(processor: SharedProcessor) {
  const taken: ReadableLogRecord[] = [];
  const logs = processor.createLogs({ consumeLogs: async (records) => void taken.push(...records) });
  return { taken, logs };
}

async function nameOf(processor: SharedProcessor, uid: string): Promise<unknown> {
  const { taken, logs } = logsOf(processor);
  await logs.consumeLogs([makeLog({ resource: resourceOf(uid) })]);
  return taken[0]!.resource.attributes['k8s.pod.name'];
}

suite('what k8s_attributes makes of resources', () => {
  test('stays one object as long as the pod does not change, for metrics and logs', async (context) => {
    const { processor, settings } = await start(context, await answerPods(list([pod('1')]), watch()));
    await settings.logged(KNOWS);
    const taken: ResourceMetrics[] = [];
    const metrics = processor.createMetrics({ consumeMetrics: async (entries) => void taken.push(...entries) });
    const resource = resourceOf('1');
    const [one] = makeMetrics(1, 1);
    await metrics.consumeMetrics([{ ...one!, resource }]);
    await metrics.consumeMetrics([{ ...one!, resource }]);
    const { taken: records, logs } = logsOf(processor);
    await logs.consumeLogs([makeLog({ resource })]);
    assert.deepEqual(taken[0]!.resource.attributes, {
      'k8s.pod.name': 'pod-1',
      'k8s.pod.uid': '1',
      'container.id': 'c-1',
    });
    assert.equal(taken[1]!.resource, taken[0]!.resource);
    assert.equal(records[0]!.resource, taken[0]!.resource);
    assert.equal(taken[0]!.scopeMetrics, one!.scopeMetrics);
  });

  test('is the resource itself where it is of no pod', async (context) => {
    const { processor, settings } = await start(context, await answerPods(list([]), watch()));
    await settings.logged(KNOWS);
    const { taken, logs } = logsOf(processor);
    const record = makeLog();
    await logs.consumeLogs([record]);
    assert.equal(taken[0]!.resource, record.resource);
  });

  test('has the service that its container tells', async (context) => {
    const extract = { metadata: ['k8s.namespace.name', 'k8s.pod.name', 'service.version', 'service.instance.id'] };
    const { processor, settings } = await start(context, await answerPods(list([pod('1')]), watch()), { extract });
    await settings.logged(KNOWS);
    const { taken, logs } = logsOf(processor);
    const ofContainer = { 'k8s.container.name': 'main', 'container.image.tag': '1.2' };
    const resource = resourceFromAttributes({ 'k8s.pod.uid': '1', ...ofContainer });
    await logs.consumeLogs([makeLog({ resource })]);
    const { attributes } = taken[0]!.resource;
    assert.deepEqual([attributes['service.instance.id'], attributes['service.version']], ['shop.pod-1.main', '1.2']);
  });

  test('has what the resource had already', async (context) => {
    const { processor, settings } = await start(context, await answerPods(list([pod('1')]), watch()));
    await settings.logged(KNOWS);
    const { taken, logs } = logsOf(processor);
    const resource = resourceFromAttributes({ 'k8s.pod.uid': '1', 'k8s.pod.name': 'mine' });
    await logs.consumeLogs([makeLog({ resource })]);
    assert.equal(taken[0]!.resource.attributes['k8s.pod.name'], 'mine');
  });
});

suite('the start of k8s_attributes', () => {
  async function startWaiting(context: TestContext, api: ApiAtTheWire, timeout: string): Promise<TestSettings> {
    const { settings } = await start(context, api, { wait_for_metadata: true, wait_for_metadata_timeout: timeout });
    return settings;
  }

  test('waits for the pods where that is asked for', async (context) => {
    const late: typeof watchAnswer = (response, query) => void setTimeout(() => list([pod('1')])(response, query), 100);
    const settings = await startWaiting(context, await answerPods(late, watchAnswer), '60s');
    assert.ok(settings.lines.some(({ message }) => message === KNOWS));
  });

  test('fails where they do not come in time, and says why', async (context) => {
    const api = await answerPods(refuse(403, 'pods is forbidden'));
    const config = k8sAttributes.configSchema.parse({
      auth_type: 'none',
      endpoint: api.endpoint,
      filter: { node: 'node-1' },
      wait_for_metadata: true,
      wait_for_metadata_timeout: '1s',
    });
    const processor = k8sAttributes.createShared(config, makeSettings('k8s_attributes'));
    context.after(async () => {
      await processor.shutdown(AbortSignal.timeout(1_000));
      await api.close();
    });
    await assert.rejects(processor.start(), (error: Error) => {
      assert.equal(error.message, 'cannot wait any longer for the metadata of pods');
      assert.match((error.cause as Error).message, /HTTP 403: pods is forbidden/);
      return true;
    });
  });
});

suite('log records of a pod that is not known yet', () => {
  test('wait until it is, and others do not wait for them', async (context) => {
    let tell: (() => void) | undefined;
    const api = await answerPods(list([pod('1')]), (response) => {
      response.flushHeaders();
      tell = () => response.write(`${JSON.stringify({ type: 'ADDED', object: pod('2') })}\n`);
    });
    const { processor, settings } = await start(context, api, { wait_for_pod: '60s' });
    await settings.logged(KNOWS);
    const { taken, logs } = logsOf(processor);
    const consumed = logs.consumeLogs([
      makeLog({ resource: resourceOf('2'), body: 'new' }),
      makeLog({ resource: resourceOf('1'), body: 'old' }),
    ]);
    await eventually('the other has arrived', () => taken.length === 1 || undefined);
    assert.deepEqual(bodies(taken), ['old']);
    tell!();
    await consumed;
    assert.deepEqual(bodies(taken), ['old', 'new']);
    assert.equal(taken[1]!.resource.attributes['k8s.pod.name'], 'pod-2');
  });

  test('go on without it after the timeout, and then at once', async (context) => {
    const { processor, settings } = await start(context, await answerPods(list([]), watch()), {
      wait_for_pod: '1s',
    });
    await settings.logged(KNOWS);
    const began = performance.now();
    assert.equal(await nameOf(processor, '1'), undefined);
    const first = performance.now() - began;
    assert.ok(first >= 990, `it waited ${first} ms`);
    await nameOf(processor, '1');
    assert.ok(performance.now() - began - first < 900);
  });

  test('go on at once while the API server is away, and when the pipeline stops', async (context) => {
    const slow = { wait_for_pod: '1h' };
    const away = await start(context, await answerPods(refuse(503, 'not today')), slow);
    await away.settings.logged(AWAY);
    assert.equal(await nameOf(away.processor, '1'), undefined);

    const { processor, settings } = await start(context, await answerPods(list([]), watch()), slow);
    await settings.logged(KNOWS);
    const { taken, logs } = logsOf(processor);
    const consumed = logs.consumeLogs([makeLog({ resource: resourceOf('1') })]);
    await logs.shutdown(AbortSignal.timeout(1_000));
    await consumed;
    assert.equal(taken.length, 1);
  });

  test('do not wait beyond a thousand of them', async (context) => {
    const { processor, settings } = await start(context, await answerPods(list([]), watch()), {
      wait_for_pod: '1h',
    });
    await settings.logged(KNOWS);
    const { taken, logs } = logsOf(processor);
    const waiting = Array.from({ length: 1_000 }, () => makeLog({ resource: resourceOf('1') }));
    const consumed = logs.consumeLogs(waiting);
    await logs.consumeLogs([makeLog({ resource: resourceOf('2') })]);
    assert.equal(taken.length, 1);
    await logs.shutdown(AbortSignal.timeout(1_000));
    await consumed;
    assert.equal(taken.length, 1_001);
  });

  test('are refused where the next component refuses them', async (context) => {
    const { processor, settings } = await start(context, await answerPods(list([pod('1')]), watch()), {
      wait_for_pod: '1ms',
    });
    await settings.logged(KNOWS);
    const full = new Error('full');
    const logs = processor.createLogs({ consumeLogs: () => Promise.reject(full) });
    const records = ['1', '2'].map((uid) => makeLog({ resource: resourceOf(uid) }));
    await assert.rejects(logs.consumeLogs(records), full);
  });
});

suite('the watch of pods', () => {
  test('asks for a list page by page, and then for what changed since', async (context) => {
    const api = await answerPods(
      list([pod('1')], { continue: 'more' }),
      list([pod('2')], { resourceVersion: '12' }),
      watch(),
    );
    const { processor, settings } = await start(context, api);
    await settings.logged(KNOWS);
    assert.deepEqual([await nameOf(processor, '1'), await nameOf(processor, '2')], ['pod-1', 'pod-2']);
    const [first, second, third] = api.asked.map(({ query }) => Object.fromEntries(query));
    const fieldSelector = 'spec.nodeName=node-1';
    assert.deepEqual(first, { fieldSelector, limit: '500', resourceVersion: '0' });
    assert.deepEqual(second, { fieldSelector, limit: '500', continue: 'more' });
    const { timeoutSeconds, ...asked } = third!;
    assert.deepEqual(asked, { fieldSelector, watch: '1', allowWatchBookmarks: 'true', resourceVersion: '12' });
    assert.ok(Number(timeoutSeconds) >= 300 && Number(timeoutSeconds) <= 450, timeoutSeconds);
    assert.equal(api.asked[0]!.headers.authorization, undefined);
    assert.equal(api.asked[0]!.headers['user-agent'], 'exit137/1.2.3');
  });

  test('is of the pods that the filter takes', async (context) => {
    const filter = {
      node: 'node-1',
      namespace: 'shop',
      labels: [
        { key: 'app', value: 'web' },
        { key: 'tier', value: 'back', op: 'not-equals' },
        { key: 'monitoring', op: 'exists' },
        { key: 'canary', op: 'does-not-exist' },
      ],
      fields: [{ key: 'status.phase', value: 'Failed', op: 'not-equals' }],
    };
    const api = await answerPods(list([]), watch());
    const { settings } = await start(context, api, { filter });
    await settings.logged(KNOWS);
    for (const { path, query } of api.asked) {
      assert.equal(path, '/api/v1/namespaces/shop/pods');
      assert.equal(query.get('fieldSelector'), 'spec.nodeName=node-1,status.phase!=Failed');
      assert.equal(query.get('labelSelector'), 'app=web,tier!=back,monitoring,!canary');
    }
    assert.equal(api.asked.length, 2);
  });

  test('goes on after a break where the last event or bookmark was, and says nothing of it', async (context) => {
    const api = await answerPods(
      list([]),
      brokenWatch({ type: 'ADDED', object: pod('1', '15') }, bookmark('17'), '{"type":"ADDED","object":{"meta'),
      brokenWatch({ type: 'DELETED', object: pod('1', '18') }),
      watch(),
    );
    const { settings } = await start(context, api);
    await eventually('it has come back twice', () => api.asked.length === 4 || undefined);
    const versions = api.asked.map(({ query }) => query.get('resourceVersion'));
    assert.deepEqual(versions, ['0', '10', '17', '18']);
    assert.deepEqual(
      settings.lines.map(({ message }) => message),
      [KNOWS],
    );
  });

  for (const [what, expired] of [
    ['an event', watch({ type: 'ERROR', object: { kind: 'Status', code: 410, message: 'too old resource version' } })],
    ['an answer', refuse(410, 'too old resource version')],
  ] as const) {
    test(`asks for a list again where ${what} says that its version is gone`, async (context) => {
      const api = await answerPods(list([pod('1')]), expired, list([pod('2')], { resourceVersion: '30' }), watch());
      const { settings } = await start(context, api);
      await eventually('it watches again', () => api.asked.length === 4 || undefined);
      assert.equal(api.asked[3]!.query.get('resourceVersion'), '30');
      await eventually('it knows of one pod', async () => {
        const series = await settings.series();
        return series['exit137_pods{processor=k8s_attributes}'] === 1 || undefined;
      });
      assert.equal((await settings.series())['exit137_pod_lists{processor=k8s_attributes}'], 2);
      assert.ok(!settings.lines.some(({ level }) => level === 'warn'));
    });
  }

  test('asks etcd where two lists in a row were too old', async (context) => {
    const gone = refuse(410, 'too old resource version');
    const api = await answerPods(list([]), gone, list([]), gone, list([]), watch());
    await start(context, api);
    await eventually('it watches', () => api.asked.length === 6 || undefined, 20);
    assert.deepEqual(
      [0, 2, 4].map((index) => api.asked[index]!.query.get('resourceVersion')),
      ['0', '0', null],
    );
  });

  test('counts what cannot be used, tells it once, and goes on', async (context) => {
    const tooLarge = pod('9', '12', { annotations: { a: 'x'.repeat(5_000_000) } });
    const api = await answerPods(
      list([tooLarge, { metadata: {} }]),
      watch('no JSON\n', 'null\n', { type: 'ADDED', object: tooLarge }, { type: 'ADDED', object: pod('1') }),
    );
    const { processor, settings } = await start(context, api, { wait_for_pod: '20s' });
    await settings.logged(KNOWS);
    assert.equal(await nameOf(processor, '1'), 'pod-1');
    const series = await settings.series();
    assert.equal(series['exit137_pods_dropped{processor=k8s_attributes,reason=too_large}'], 2);
    assert.equal(series['exit137_pods_dropped{processor=k8s_attributes,reason=unreadable}'], 3);
    assert.equal(settings.lines.filter(({ level }) => level === 'warn').length, 2);
  });

  test('waits as long as it is asked to', async (context) => {
    const api = await answerPods(refuse(429, 'later', { 'retry-after': '2' }), list([]), watch());
    const began = performance.now();
    const { settings } = await start(context, api);
    const { fields } = await settings.logged(AWAY);
    assert.equal(fields['error'], 'HTTP 429: later');
    await settings.logged("knows the node's pods again");
    assert.ok(performance.now() - began > 1_900);
  });

  test('says what is wrong with files, and goes on trying', async (context) => {
    const api = await answerPods(list([]), watch());
    const secure = { endpoint: api.endpoint.replace('http:', 'https:'), auth_type: 'serviceAccount' };
    const { settings } = await start(context, api, { ...secure, token_file: '/nowhere/token' });
    const { fields } = await settings.logged(AWAY);
    assert.match(String(fields['error']), /^cannot read token_file "\/nowhere\/token": ENOENT/);
  });

  test('does not start where nothing says which node it is, or where the API server is', async () => {
    const settings = makeSettings();
    const make = (section: object) => k8sAttributes.createShared(k8sAttributes.configSchema.parse(section), settings);
    await assert.rejects(make({ filter: { node_from_env_var: 'NO_SUCH_VARIABLE' } }).start(), {
      message:
        'cannot tell which node this is: the environment variable NO_SUCH_VARIABLE is not set, nor is filter::node',
    });
    await assert.rejects(make({ filter: { node: 'a' } }).start(), /^Error: cannot find the API server: KUBERNETES_/);
  });
});
