import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { startContainerd } from '../helpers/containerd-host.ts';
import type { CriHost } from '../helpers/cri-host.ts';
import { memoryCgroupOf } from '../helpers/nested-cgroup.ts';
import { podGroups } from '../helpers/pod-groups.ts';
import { requires } from '../helpers/requires.ts';

suite('the kubelet that the tests play', requires('containerd'), () => {
  let host: CriHost;
  before(async () => {
    host = await startContainerd();
  });
  after(() => host.stop());

  test('runs the containers of a pod in the group of the pod, and restarts one as a new container', async () => {
    const pod = await host.kubelet.runPod({ limitMib: 96 });
    const container = await pod.run(['memhog', 'signal', '64']);
    const folder = await memoryCgroupOf(await container.mainPid());
    const own = { cgroupfs: container.id, systemd: `cri-containerd-${container.id}.scope` }[podGroups.driver];
    assert.ok(folder.endsWith(`${podGroups.nameOf(pod.uid)}/${own}`), folder);
    assert.equal(await container.exec(['false']), 1);
    await container.signal('SIGUSR2');
    // Whether the runtime calls it OOMKilled is its own affair: on cgroup v2 that comes too late on a busy machine.
    assert.equal((await container.ended()).exitCode, 137);
    const next = await container.restart(['memhog', 'sleep']);
    await container.remove();
    assert.equal(next.attempt, 1);
    await host.kill();
    await host.start();
    await next.stop();
    assert.equal((await next.ended()).exitCode, 0);
    await pod.remove();
  });
});
