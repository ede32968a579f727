import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Attributes } from '@opentelemetry/api';
import { configSchema } from '../../../../pipelines/processors/k8s-attributes/config.ts';
import { makeExtraction, mostValueLength } from '../../../../pipelines/processors/k8s-attributes/extraction.ts';
import { garbageCollector } from '../../../helpers/garbage-collector.ts';
import { makePod, ownedBy } from './make-pod.ts';

function extract(
  section: object,
  pod: Parameters<typeof makePod>[0],
  exclude = {},
): { attributes: Attributes; cut: number } {
  let cut = 0;
  const config = configSchema.parse({ extract: section, exclude });
  return { attributes: makeExtraction(config, () => cut++)(makePod(pod)), cut };
}

/** What owns a pod, by default. */
function owners(metadata: object): Attributes {
  const { attributes } = extract({}, { metadata });
  const names = Object.entries(attributes).filter(([name]) => !/^k8s\.(pod|node|namespace)\.|uid$/.test(name));
  return Object.fromEntries(names);
}

const onlyLabels = (...labels: object[]) => ({ metadata: [], labels });

suite('the owner of a pod', () => {
  for (const [what, metadata, expected] of [
    [
      'a deployment through its replicaset',
      { ...ownedBy('ReplicaSet', 'web-7d9c5b6f4'), labels: { 'pod-template-hash': '7d9c5b6f4' } },
      { 'k8s.deployment.name': 'web', 'k8s.replicaset.name': 'web-7d9c5b6f4' },
    ],
    ['a replicaset of its own', ownedBy('ReplicaSet', 'web-7d9c5b6f4'), { 'k8s.replicaset.name': 'web-7d9c5b6f4' }],
    [
      'a replicaset whose name does not end in the hash',
      { ...ownedBy('ReplicaSet', 'web-1'), labels: { 'pod-template-hash': '7d9c5b6f4' } },
      { 'k8s.replicaset.name': 'web-1' },
    ],
    ['a statefulset', ownedBy('StatefulSet', 'db'), { 'k8s.statefulset.name': 'db' }],
    ['a daemonset', ownedBy('DaemonSet', 'agent'), { 'k8s.daemonset.name': 'agent' }],
    // 29889520 minutes are 2026-10-30T14:40:00Z.
    [
      'a cronjob through its job',
      ownedBy('Job', 'backup-nightly-29889520'),
      { 'k8s.job.name': 'backup-nightly-29889520', 'k8s.cronjob.name': 'backup-nightly' },
    ],
    ['a job with a date in its name', ownedBy('Job', 'load-20261121'), { 'k8s.job.name': 'load-20261121' }],
    [
      'a job that somebody made of a cronjob',
      ownedBy('Job', 'backup-manual-x7f'),
      { 'k8s.job.name': 'backup-manual-x7f' },
    ],
    ['nobody', {}, {}],
    ['something else', ownedBy('Node', 'node-1'), {}],
  ] as const) {
    test(`is ${what}`, () => assert.deepEqual(owners(metadata), expected));
  }

  test('is known by its uid, too', () => {
    const { attributes } = extract({ metadata: ['k8s.job.uid'] }, { metadata: ownedBy('Job', 'load') });
    assert.deepEqual(attributes, { 'k8s.job.uid': '0b1c2d3e-0000-4000-8000-000000000001' });
  });
});

suite('labels and annotations', () => {
  const labels = { app: 'web', 'team.example.com/owner': 'a', 'team.example.com/cost': '7' };

  for (const [what, rule, expected] of [
    ['are named after their key', { key: 'app' }, { 'k8s.pod.label.app': 'web' }],
    ['are named as asked for', { key: 'app', tag_name: 'service' }, { service: 'web' }],
    [
      'are all that match as a whole',
      { key_regex: 'team\\..*' },
      { 'k8s.pod.label.team.example.com/owner': 'a', 'k8s.pod.label.team.example.com/cost': '7' },
    ],
    ['do not match in part', { key_regex: 'team' }, {}],
    [
      'are named by what matched',
      { key_regex: 'team\\.example\\.com/(.*)', tag_name: 'team.$1' },
      { 'team.owner': 'a', 'team.cost': '7' },
    ],
    [
      'are named by what matched, in Go’s other form',
      { key_regex: 'team\\.example\\.com/(?<what>.*)', tag_name: '${1}.${what}' },
      { 'owner.owner': 'a', 'cost.cost': '7' },
    ],
    ['are none that every object has', { key: 'constructor' }, {}],
    ['are absent where the pod has none', { key: 'tier' }, {}],
  ] as const) {
    test(what, () => assert.deepEqual(extract(onlyLabels(rule), { metadata: { labels } }).attributes, expected));
  }

  test('of a pod are annotations, too', () => {
    const section = { metadata: [], annotations: [{ key: 'note' }] };
    const { attributes } = extract(section, { metadata: { annotations: { note: 'a\u0007b' } } });
    assert.deepEqual(attributes, { 'k8s.pod.annotation.note': 'a\u0007b' });
  });

  test('are cut where they are too long, and counted', () => {
    const long = `${'x'.repeat(mostValueLength - 1)}😀${'x'.repeat(65_536)}`;
    const section = { metadata: [], annotations: [{ key: 'long' }] };
    const { attributes, cut } = extract(section, { metadata: { annotations: { long } } });
    assert.equal(attributes['k8s.pod.annotation.long'], `${'x'.repeat(mostValueLength - 1)}\uFFFD`);
    assert.equal(cut, 1);
  });

  test('hold no more memory than what is left of them', () => {
    const section = { metadata: [], annotations: [{ key: 'long' }] };
    // As from the API, each text is one of its own.
    const kept = Array.from({ length: 100 }, (_, n) => {
      const annotations = JSON.parse(`{"long":"${'x'.repeat(200_000)}${n}"}`) as object;
      return extract(section, { metadata: { annotations } }).attributes;
    });
    const gc = garbageCollector();
    gc();
    const withAll = process.memoryUsage().heapUsed;
    assert.equal(kept.splice(0).length, 100);
    gc();
    const bytesEach = (withAll - process.memoryUsage().heapUsed) / 100;
    assert.ok(bytesEach < 20_000, `${Math.round(bytesEach)} bytes for each`);
  });

  test('are left out where they are too many, and counted', () => {
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`key-${index}`, 'x']));
    const { attributes, cut } = extract(onlyLabels({ key_regex: '.*' }), { metadata: { labels: many } });
    assert.deepEqual([Object.keys(attributes).length, cut], [256, 44]);
  });

  test('of another type than text are left out', () => {
    const metadata = { labels: { app: { $: 1 }, number: 7, empty: '' } };
    assert.deepEqual(extract(onlyLabels({ key_regex: '.*' }), { metadata }).attributes, {});
  });
});

suite('the service of a pod', () => {
  const metadata = ['service.namespace', 'service.name', 'service.version', 'service.instance.id'];
  const ofService = (change: object) => extract({ metadata }, { metadata: change }).attributes;
  const instance = { 'app.kubernetes.io/instance': 'shop-web', 'app.kubernetes.io/name': 'web' };

  for (const [what, change, name] of [
    ['its annotation', { annotations: { 'resource.opentelemetry.io/service.name': 'a' }, labels: instance }, 'a'],
    ['the label of the instance', { labels: instance }, 'shop-web'],
    ['the label of the name', { labels: { 'app.kubernetes.io/name': 'web' } }, 'web'],
    [
      'its deployment',
      { ...ownedBy('ReplicaSet', 'web-7d9c5b6f4'), labels: { 'pod-template-hash': '7d9c5b6f4' } },
      'web',
    ],
    ['its cronjob', ownedBy('Job', 'backup-29889520'), 'backup'],
    ['its daemonset', ownedBy('DaemonSet', 'agent'), 'agent'],
    ['the pod, where the node owns it', { ...ownedBy('Node', 'node-1'), name: 'etcd-node-1' }, 'etcd-node-1'],
  ] as const) {
    test(`is named after ${what}`, () => assert.equal(ofService(change)['service.name'], name));
  }

  test('has the pod’s namespace, and the version that its label tells', () => {
    assert.deepEqual(ofService({ name: 'a', labels: { 'app.kubernetes.io/version': '2.1' } }), {
      'service.namespace': 'shop',
      'service.name': 'a',
      'service.version': '2.1',
    });
  });
});

suite('what a pod says of itself', () => {
  test('is taken from annotations of OpenTelemetry where that is asked for', () => {
    const annotations = { 'resource.opentelemetry.io/team': 'a', 'resource.opentelemetry.io/': 'b', other: 'c' };
    const section = { metadata: [], otel_annotations: true };
    assert.deepEqual(extract(section, { metadata: { annotations } }).attributes, { team: 'a' });
    assert.deepEqual(extract({ metadata: [] }, { metadata: { annotations } }).attributes, {});
  });

  test('does not change what the API knows of it, nor what was asked for', () => {
    const annotations = {
      'resource.opentelemetry.io/k8s.pod.name': 'other',
      'resource.opentelemetry.io/team': 'other',
      'resource.opentelemetry.io/more': 'mine',
    };
    const section = {
      metadata: ['k8s.pod.name'],
      labels: [{ tag_name: 'team', key: 'team' }],
      otel_annotations: true,
    };
    const { attributes } = extract(section, { metadata: { name: 'web-0', labels: { team: 'shop' }, annotations } });
    assert.deepEqual(attributes, { 'k8s.pod.name': 'web-0', team: 'shop', more: 'mine' });
  });

  test('is left out of pods that are excluded, whose whole name must match', () => {
    const exclude = { pods: [{ name: 'jaeger-.*' }] };
    const nameOf = (name: string) => extract({}, { metadata: { name } }, exclude).attributes['k8s.pod.name'];
    assert.deepEqual([nameOf('jaeger-agent'), nameOf('my-jaeger-agent')], [undefined, 'my-jaeger-agent']);
  });
});
