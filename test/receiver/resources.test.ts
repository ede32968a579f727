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

  it('leaves out an id that the host does not have', (t) => {
    assert.equal(readHost(makeRoot(t, { 'etc/hostname': 'node-7\n' }))['host.id'], undefined);
  });
});
