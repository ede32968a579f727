import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { configSchema } from '../../receiver/config.ts';
import { ContainerTable } from '../../receiver/container-table.ts';
import { readHost, Resources, splitImage } from '../../receiver/resources.ts';
import { idOf, observationsOf } from './observations.ts';
import { instanceOf, uidOf } from './pods.ts';

const host = { 'host.name': 'node-1', 'host.id': 'f00d', 'os.type': 'linux' };
const { started, renamed } = observationsOf(idOf(1));

function makeContainer() {
  const table = new ContainerTable(1);
  table.apply({ ...started(1), name: 'web-1', image: 'registry:5000/team/web:1.2', runtime: 'docker' });
  return { table, container: table.get(idOf(1))! };
}

describe('Resources', () => {
  it('names a container on metrics, and the node as well on its log records', () => {
    const resources = new Resources(configSchema.parse({}), host);
    const { container } = makeContainer();
    const identity = {
      'container.id': idOf(1),
      'container.name': 'web-1',
      'container.image.name': 'registry:5000/team/web',
      'container.image.tag': '1.2',
      'container.runtime': 'docker',
    };
    assert.deepEqual(resources.ofMetrics(container).attributes, identity);
    assert.deepEqual(resources.ofLogs(container).attributes, { ...identity, ...host });
    assert.deepEqual(resources.node.attributes, host);
  });

  it('gives one object for one identity until a fact changes', () => {
    const resources = new Resources(configSchema.parse({}), host);
    const { table, container } = makeContainer();
    const before = resources.ofLogs(container);
    assert.equal(resources.ofLogs(container), before);
    table.apply(renamed(2, 'web-2'));
    assert.equal(resources.ofLogs(container).attributes['container.name'], 'web-2');
    assert.equal(before.attributes['container.name'], 'web-1');
  });

  it('leaves out what is switched off and what is not known', () => {
    const config = configSchema.parse({ resource_attributes: { 'host.id': { enabled: false } } });
    const table = new ContainerTable(1);
    table.apply(started(1));
    const { attributes } = new Resources(config, host).ofLogs(table.get(idOf(1))!);
    assert.deepEqual(Object.keys(attributes).toSorted(), ['container.id', 'host.name', 'os.type']);
  });
});

describe('the resources of a pod', () => {
  const onNode = { ...host, 'k8s.node.name': 'node-1.example' };

  /**
   * Keys of a container's resource as the Collector's receivers send them by default, from their documentation
   * (kubeletstatsreceiver and k8sclusterreceiver, metadata.yaml and README; container.id of kubelet_stats is one of its
   * extra_metadata_labels). k8s.node.name is on the node's metrics of kubelet_stats only.
   */
  const keysOfKubeletStats = ['k8s.container.name', 'k8s.namespace.name', 'k8s.pod.name', 'k8s.pod.uid'];
  const keysOfK8sCluster = [
    'container.id',
    'container.image.name',
    'container.image.tag',
    'k8s.container.name',
    'k8s.namespace.name',
    'k8s.node.name',
    'k8s.pod.name',
    'k8s.pod.uid',
  ];

  const restartCount = 4;

  function makePod(section: unknown = {}, image = 'registry:5000/team/web:1.2') {
    const table = new ContainerTable(2);
    const { appeared, seen } = instanceOf(1, { restartCount });
    table.apply(appeared(1));
    table.apply(seen(2, { name: 'k8s_app_web-0_shop_u_4', image, runtime: 'containerd', startedAtMs: 1 }));
    const resources = new Resources(configSchema.parse(section), onNode);
    return { table, resources, container: table.get(idOf(1))! };
  }

  it('have the keys of k8s_cluster and kubelet_stats with the same values, and the runtime', () => {
    const { resources, container } = makePod();
    const { attributes } = resources.ofMetrics(container);
    assert.deepEqual(Object.keys(attributes).toSorted(), [...keysOfK8sCluster, 'container.runtime'].toSorted());
    for (const key of keysOfKubeletStats) assert.ok(keysOfK8sCluster.includes(key) && key in attributes, key);
    assert.deepEqual(attributes, {
      'k8s.namespace.name': 'shop',
      'k8s.pod.name': 'web-0',
      'k8s.pod.uid': uidOf(1),
      'k8s.container.name': 'app',
      'k8s.node.name': 'node-1.example',
      'container.id': idOf(1),
      'container.image.name': 'registry:5000/team/web',
      'container.image.tag': '1.2',
      'container.runtime': 'containerd',
    });
  });

  it('have no container id where counters outlive the container', () => {
    const { resources, container } = makePod();
    const { 'container.id': _id, ...ofWorkload } = resources.ofMetrics(container).attributes;
    assert.deepEqual(resources.ofWorkload(container).attributes, ofWorkload);
  });

  it('have the node and the restart count, as a number, on log records', () => {
    const { resources, container } = makePod();
    const ofMetrics = resources.ofMetrics(container).attributes;
    const expected = { ...ofMetrics, 'k8s.container.restart_count': restartCount, ...onNode };
    assert.deepEqual(resources.ofLogs(container).attributes, expected);
    assert.deepEqual(resources.node.attributes, onNode);
  });

  it('have the uid of the pod by the path of the cgroup alone, and then the id on everything', () => {
    const table = new ContainerTable(1);
    table.apply(instanceOf(1).appeared(1));
    const resources = new Resources(
      configSchema.parse({ resource_attributes: { 'k8s.pod.qos_class': { enabled: true } } }),
      host,
    );
    const expected = { 'k8s.pod.uid': uidOf(1), 'k8s.pod.qos_class': 'Burstable', 'container.id': idOf(1) };
    assert.deepEqual(resources.ofMetrics(table.get(idOf(1))!).attributes, expected);
    assert.deepEqual(resources.ofWorkload(table.get(idOf(1))!).attributes, expected);
  });

  it('follow the v1 conventions where these are chosen, and both where these are', () => {
    const changed = ['container.image.tag', 'container.image.tags', 'container.runtime', 'container.runtime.name'];
    const chosen = (section: object) => {
      const { resources, container } = makePod(section);
      const { attributes } = resources.ofMetrics(container);
      return changed.filter((key) => key in attributes);
    };
    assert.deepEqual(chosen({ conventions: 'both' }), changed);
    assert.deepEqual(chosen({ conventions: 'v1' }), ['container.image.tags', 'container.runtime.name']);
    const runtimeOff = { 'container.runtime.name': { enabled: false } };
    assert.deepEqual(chosen({ conventions: 'v1', resource_attributes: runtimeOff }), ['container.image.tags']);
    const { resources, container } = makePod({ conventions: 'v1' });
    assert.deepEqual(resources.ofMetrics(container).attributes['container.image.tags'], ['1.2']);
  });
});

describe('splitImage', () => {
  const cases: [string, ReturnType<typeof splitImage>][] = [
    ['busybox', { name: 'busybox' }],
    ['busybox:1.36', { name: 'busybox', tag: '1.36' }],
    ['registry:5000/team/app', { name: 'registry:5000/team/app' }],
    ['registry:5000/team/app:v1', { name: 'registry:5000/team/app', tag: 'v1' }],
    [`app:v1@sha256:${'a'.repeat(64)}`, { name: 'app', tag: 'v1' }],
    [`app@sha256:${'a'.repeat(64)}`, { name: 'app' }],
    [`sha256:${'a'.repeat(64)}`, undefined],
    ['a'.repeat(64), undefined],
  ];
  for (const [reference, expected] of cases) {
    it(`reads ${reference.slice(0, 40)}`, () => assert.deepEqual(splitImage(reference), expected));
  }

  it('loses nothing of a name and a tag', () => {
    const part = fc.stringMatching(/^[a-z0-9]{1,8}$/);
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), part, (path, tag) => {
        const name = path.join('/');
        assert.deepEqual(splitImage(`${name}:${tag}`), name.length === 64 ? undefined : { name, tag });
      }),
    );
  });
});

describe('readHost', () => {
  function makeRoot(t: TestContext, files: Record<string, string>): string {
    const root = mkdtempSync(join(tmpdir(), 'exit137-host-'));
    t.after(() => rmSync(root, { recursive: true }));
    mkdirSync(join(root, 'etc'));
    for (const [path, text] of Object.entries(files)) writeFileSync(join(root, path), text);
    return root;
  }

  it("takes the host's name and id from its own files, not the container's", (t) => {
    const root = makeRoot(t, { 'etc/hostname': 'node-7\n', 'etc/machine-id': '0123456789abcdef\n' });
    assert.deepEqual(readHost(root), { 'host.name': 'node-7', 'host.id': '0123456789abcdef', 'os.type': 'linux' });
  });

  it('bears the name of the node in Kubernetes where that is known', (t) => {
    const root = makeRoot(t, { 'etc/hostname': 'node-7\n' });
    assert.equal(readHost(root, 'node-7.example')['k8s.node.name'], 'node-7.example');
    assert.equal('k8s.node.name' in readHost(root, ''), false);
  });

  it('leaves out an id that the host does not have', (t) => {
    assert.equal(readHost(makeRoot(t, { 'etc/hostname': 'node-7\n' }))['host.id'], undefined);
  });
});
