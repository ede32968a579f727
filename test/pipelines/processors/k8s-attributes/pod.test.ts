import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { readPod } from '../../../../pipelines/processors/k8s-attributes/pod.ts';
import { makePod, makePodObject, ownedBy } from './make-pod.ts';

suite('a pod of the API', () => {
  test('has what its containers ask for and may use, init containers as well', () => {
    const { resources, qosClass } = makePod({
      spec: {
        initContainers: [{ name: 'migrate', resources: { limits: { memory: '1Gi' } } }],
        containers: [
          {
            name: 'web',
            resources: { requests: { memory: '64Mi', cpu: '250m' }, limits: { memory: '128Mi', cpu: 2 } },
          },
          { name: 'sidecar', resources: {} },
        ],
      },
      status: { qosClass: 'Burstable' },
    });
    assert.equal(qosClass, 'Burstable');
    assert.deepEqual(Object.fromEntries(resources), {
      migrate: { memoryLimitBytes: 2 ** 30 },
      web: {
        memoryRequestBytes: 2 ** 26,
        memoryLimitBytes: 2 ** 27,
        cpuRequestCores: 0.25,
        cpuLimitCores: 2,
      },
      sidecar: {},
    });
  });

  test('has the owner that controls it, whoever else owns it', () => {
    const other = { apiVersion: 'v1', kind: 'ConfigMap', name: 'c', uid: '1' };
    const { ownerReferences } = ownedBy('DaemonSet', 'agent');
    const { controller } = makePod({ metadata: { ownerReferences: [other, ...ownerReferences] } });
    assert.equal(controller?.name, 'agent');
    assert.equal(makePod({ metadata: { ownerReferences: [other] } }).controller, undefined);
  });

  test('has a local uid of its own where it is the mirror of a static pod', () => {
    const hash = '8a9b0c1d2e3f405162738495a6b7c8d9';
    const mirror = { 'kubernetes.io/config.mirror': hash, 'kubernetes.io/config.hash': hash };
    assert.equal(makePod({ metadata: { annotations: mirror } }).localUid, hash);
    const { uid, localUid } = makePod({ metadata: { annotations: { 'kubernetes.io/config.hash': hash } } });
    assert.equal(localUid, uid);
  });

  test('tells of its node only as the mirror of a static pod, and only of its own', () => {
    const mirror = { 'kubernetes.io/config.mirror': 'hash', 'kubernetes.io/config.hash': 'hash' };
    const nodeOf = (annotations: object, name: string) => {
      const owner = { apiVersion: 'v1', kind: 'Node', name, uid: '1111', controller: true };
      return makePod({ metadata: { annotations, ownerReferences: [owner] } }).node?.uid;
    };
    assert.equal(nodeOf(mirror, 'node-1'), '1111');
    assert.equal(nodeOf({}, 'node-1'), undefined);
    assert.equal(nodeOf(mirror, 'node-2'), undefined);
  });

  for (const field of ['uid', 'name', 'namespace']) {
    test(`is none without ${field}`, () => {
      assert.equal(readPod(makePodObject({ metadata: { [field]: undefined } })), undefined);
    });
  }

  test('is read or is none, whatever is sent', () => {
    const anything = fc.anything({ withNullPrototype: true });
    const pod = fc.record({
      metadata: fc.record({
        uid: fc.string({ minLength: 1 }),
        name: anything,
        namespace: anything,
        annotations: anything,
        ownerReferences: anything,
      }),
      spec: fc.record({ containers: anything, initContainers: fc.array(anything) }),
      status: anything,
    });
    fc.assert(fc.property(fc.oneof(anything, pod), (value) => void readPod(value)));
  });
});

suite('the instances of a pod’s containers', () => {
  const [startedAt, finishedAt] = ['2026-11-21T11:59:30Z', '2026-11-21T11:59:58Z'];
  const terminated = { containerID: 'containerd://1', exitCode: 137, reason: 'OOMKilled', startedAt, finishedAt };
  const status = (change: object) => ({ name: 'app', image: 'web:1.2', restartCount: 2, ...change });
  const before = {
    containerId: 'containerd://1',
    name: 'app',
    image: 'web:1.2',
    restartCount: 1,
    running: false,
    startedAtMs: Date.parse(startedAt),
    finishedAtMs: Date.parse(finishedAt),
    exitCode: 137,
  };

  test('are the present one and the one before', () => {
    const state = { running: { startedAt: finishedAt } };
    const { instances, isWaiting } = makePod({
      status: { containerStatuses: [status({ containerID: 'containerd://2', state, lastState: { terminated } })] },
    });
    const { startedAtMs, running, restartCount } = instances[1]!;
    assert.deepEqual(instances[0], before);
    assert.deepEqual([startedAtMs, running, restartCount], [Date.parse(finishedAt), true, 2]);
    assert.equal(isWaiting, false);
  });

  test('are one while it waits for the next, whose number is that of the one that has ended', () => {
    const state = { waiting: { reason: 'CrashLoopBackOff' } };
    const { instances, isWaiting } = makePod({
      status: { containerStatuses: [status({ containerID: 'containerd://1', state, lastState: { terminated } })] },
    });
    assert.deepEqual(instances, [{ ...before, restartCount: 2 }]);
    assert.equal(isWaiting, true);
  });

  test('are of init and ephemeral containers as well, and of one that has ended for good', () => {
    const done = { ...terminated, exitCode: 0, reason: 'Completed' };
    const { instances } = makePod({
      status: {
        initContainerStatuses: [
          { name: 'init', restartCount: 0, containerID: 'containerd://1', state: { terminated: done } },
        ],
        ephemeralContainerStatuses: [
          { name: 'debug', containerID: 'containerd://3', state: { running: { startedAt } } },
        ],
      },
    });
    assert.deepEqual(
      instances.map(({ name, exitCode, running, restartCount }) => [name, exitCode, running, restartCount]),
      [
        ['init', 0, false, 0],
        ['debug', undefined, true, undefined],
      ],
    );
  });

  test('wait for another one where one has ended, unless that was for good', () => {
    const isWaiting = (spec: object, state: object) =>
      makePod({ spec, status: { containerStatuses: [status({ state })] } }).isWaiting;
    assert.equal(isWaiting({}, { terminated }), true);
    assert.equal(isWaiting({ restartPolicy: 'Never' }, { terminated }), false);
    const ofInit = [{ name: 'init', state: { terminated } }];
    assert.equal(makePod({ status: { initContainerStatuses: ofInit } }).isWaiting, false);
  });

  test('have no exit code that the kubelet made up', () => {
    const lost = { ...terminated, reason: 'ContainerStatusUnknown', startedAt: null, finishedAt: null };
    const { instances } = makePod({ status: { containerStatuses: [status({ state: { terminated: lost } })] } });
    assert.deepEqual(instances[0]?.exitCode, undefined);
    assert.equal(instances.length, 1);
  });

  test('are none where the status is not the API’s', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const { instances } = makePod({ status: { containerStatuses: value } });
        assert.ok(instances.every(({ containerId, name }) => containerId !== '' && name !== ''));
      }),
    );
  });
});
