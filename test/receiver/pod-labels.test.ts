import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readPodLabels } from '../../receiver/pod-labels.ts';
import { boundFacts } from '../../receiver/sources/container-facts.ts';

const uid = '5a1f3c62-0b5e-4a51-9e0f-6f1f5b1d2c3e';
const labels = {
  'io.kubernetes.container.name': 'app',
  'io.kubernetes.pod.name': 'web-7d9f-x2x',
  'io.kubernetes.pod.namespace': 'shop',
  'io.kubernetes.pod.uid': uid,
};
const restarts = 'io.kubernetes.container.restartCount';

function read(ofContainer: Record<string, unknown>, annotations: Record<string, unknown> = {}) {
  const told: string[] = [];
  const facts = readPodLabels(ofContainer, annotations, (what) => told.push(what));
  return { ...facts, told };
}

describe('readPodLabels', () => {
  it("reads what a kubelet gives a container, with containerd's annotations or cri-dockerd's labels", () => {
    const expected = { uid, namespace: 'shop', name: 'web-7d9f-x2x', containerName: 'app', restartCount: 4 };
    const ofContainerd = read({ ...labels, 'io.cri-containerd.kind': 'container' }, { [restarts]: '4' });
    assert.deepEqual(ofContainerd, { pod: expected, sandbox: false, told: [] });
    const ofDocker = read({
      ...labels,
      'io.kubernetes.docker.type': 'container',
      'io.kubernetes.sandbox.id': 'f00d',
      [`annotation.${restarts}`]: '4',
    });
    assert.deepEqual(ofDocker, { pod: expected, sandbox: false, told: [] });
  });

  it('knows the sandbox of each runtime, which is no container of the pod', () => {
    const { 'io.kubernetes.container.name': _name, ...ofSandbox } = labels;
    const pod = { uid, namespace: 'shop', name: 'web-7d9f-x2x', containerName: undefined, restartCount: undefined };
    const expected = { pod, sandbox: true, told: [] };
    const kinds: [Record<string, string>, Record<string, string>?][] = [
      [{ 'io.kubernetes.docker.type': 'podsandbox', 'io.kubernetes.container.name': 'POD' }],
      [{ 'io.kubernetes.container.name': 'POD' }],
      [{ 'io.cri-containerd.kind': 'sandbox' }],
      [{}, { 'io.kubernetes.cri.container-type': 'sandbox' }],
      [{}, { 'io.kubernetes.cri-o.ContainerType': 'sandbox' }],
    ];
    for (const [marks, annotations] of kinds) assert.deepEqual(read({ ...ofSandbox, ...marks }, annotations), expected);
  });

  it('takes no container for a sandbox because its image has the label of one', () => {
    // containerd and Docker give a container the labels of its image, but for those that the kubelet gives it itself.
    const ofImage = { 'io.kubernetes.docker.type': 'podsandbox', 'io.kubernetes.cri.container-type': 'sandbox' };
    const { pod, sandbox } = read({ ...ofImage, ...labels });
    assert.deepEqual([pod?.containerName, sandbox], ['app', false]);
  });

  it('takes no count of restarts from a label of the image', () => {
    const ofImage = { [restarts]: '900' };
    assert.equal(read({ ...ofImage, ...labels }).pod?.restartCount, undefined);
    assert.equal(read({ ...ofImage, ...labels, [`annotation.${restarts}`]: '4' }).pod?.restartCount, 4);
  });

  it('knows a static pod by the hash of its manifest', () => {
    const hash = '0123456789abcdef0123456789abcdef';
    assert.equal(read({ ...labels, 'io.kubernetes.pod.uid': hash }).pod?.uid, hash);
  });

  it("finds no pod among a user's own labels", () => {
    assert.deepEqual(read({ team: 'a', 'io.kubernetes.pod.name': 'web' }), { told: [] });
  });

  it('cuts names that no kubelet gives, and tells', () => {
    const { pod, told } = read({
      ...labels,
      'io.kubernetes.pod.name': 'x'.repeat(65_536),
      'io.kubernetes.pod.namespace': 'sh\u001b[31mop\n',
      'io.kubernetes.container.name': '\u0000',
      [`annotation.${restarts}`]: '-1',
    });
    assert.deepEqual(pod, {
      uid,
      name: 'x'.repeat(253),
      namespace: 'sh31mop',
      containerName: undefined,
      restartCount: undefined,
    });
    assert.equal(told.length, 4);
  });

  it('takes no pod for another because of a uid that is none', () => {
    for (const wrong of [`${uid}0`, uid.toUpperCase(), '../..', `${uid}\n`, 7]) {
      const { pod, told } = read({ ...labels, 'io.kubernetes.pod.uid': wrong });
      assert.equal(pod, undefined);
      assert.equal(told.length, 1);
    }
  });

  it('yields names that are safe to print and of the length of a name, whatever the labels hold', () => {
    const hostile = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 400 }),
      fc.constantFrom('app', 'POD', '', '\u202e'),
    );
    const any = fc.record({
      'io.kubernetes.container.name': hostile,
      'io.kubernetes.pod.name': hostile,
      'io.kubernetes.pod.namespace': hostile,
      [restarts]: hostile,
    });
    fc.assert(
      fc.property(any, any, (ofContainer, annotations) => {
        const { pod, told } = read({ 'io.kubernetes.pod.uid': uid, ...ofContainer }, annotations);
        for (const name of [pod!.name, pod!.namespace, pod!.containerName]) {
          if (name !== undefined) assert.match(name, /^[A-Za-z0-9._-]{1,253}$/);
        }
        assert.ok(told.length <= 4);
        assert.ok(pod!.restartCount === undefined || Number.isSafeInteger(pod!.restartCount));
      }),
    );
  });
});

describe('boundFacts', () => {
  it("finds the kubelet's labels beyond those that are kept", () => {
    const many = Array.from({ length: 200 }, (_, n): [string, string] => [`label-${n}`, 'x']);
    const { pod, labels: kept } = boundFacts({ labels: [...many, ...Object.entries(labels)] }, () => {});
    assert.equal(pod?.containerName, 'app');
    assert.equal(Object.keys(kept!).length, 128);
  });
});
