import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { identifyCgroup, identifyMemcg, scopeOfLimit, type MemcgIdentity } from '../../../receiver/cgroup/identity.ts';

const id = '7c1f9d0e2b3a48596a7b8c9dae0f1b2c3d4e5f60718293a4b5c6d7e8f9012345';
const outer = '722f40c6405f6933ac2722e40a40fef4c52e36b2ba0e44bdd1a8aba0027ca313';
const uid = '5a1f3c62-0b5e-4a51-9e0f-6f1f5b1d2c3e';
const sliceUid = uid.replaceAll('-', '_');
const staticUid = '8a9d3c1e5b7f40629a1c3e5d7f9b0a2c';

type Facts = Partial<Omit<MemcgIdentity, 'containerIds'>>;

const k8s = (runtime?: string, qosClass?: string, podUid = uid): Facts =>
  ({ containerId: id, runtime, podUid, qosClass }) as Facts;

const layouts: [path: string, facts: Facts][] = [
  [`/kubepods/burstable/pod${uid}/${id}`, k8s(undefined, 'burstable')],
  [`/kubepods/besteffort/pod${uid}/${id}`, k8s(undefined, 'besteffort')],
  [`/kubepods/pod${uid}/${id}`, k8s(undefined, 'guaranteed')],
  [`/kubepods/burstable/pod${staticUid}/${id}`, k8s(undefined, 'burstable', staticUid)],
  [
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${sliceUid}.slice/cri-containerd-${id}.scope`,
    k8s('containerd', 'burstable'),
  ],
  [
    `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${sliceUid}.slice/docker-${id}.scope`,
    k8s('docker', 'besteffort'),
  ],
  [`/kubepods.slice/kubepods-pod${sliceUid}.slice/crio-${id}.scope/container`, k8s('cri-o', 'guaranteed')],
  [
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${staticUid}.slice/crio-${id}.scope`,
    k8s('cri-o', 'burstable', staticUid),
  ],
  [
    `/system.slice/containerd.service/kubepods-burstable-pod${sliceUid}.slice:cri-containerd:${id}`,
    k8s('containerd', 'burstable'),
  ],
  [`/docker/${id}`, { containerId: id, runtime: 'docker' }],
  [`/system.slice/docker-${id}.scope/init.scope`, { containerId: id, runtime: 'docker' }],
  [`/actions_job/${id}`, { containerId: id }],
  [`/machine.slice/libpod-${id}.scope/container`, { containerId: id, runtime: 'podman' }],
  [
    `/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${id}.scope`,
    { containerId: id, runtime: 'podman' },
  ],
  [`/libpod_parent/libpod-${id}`, { containerId: id, runtime: 'podman' }],
  [`/libpod_parent/${outer}/libpod-${id}`, { containerId: id, runtime: 'podman' }],
  [
    `/machine.slice/machine-libpod_pod_${outer}.slice/libpod-${id}.scope`,
    { containerId: id, runtime: 'podman', podMemcg: `/machine.slice/machine-libpod_pod_${outer}.slice` },
  ],
  [`/system.slice/app.service/libpod-payload-${id}`, { containerId: id, runtime: 'podman' }],
  [`/machine.slice/libpod-conmon-${id}.scope`, {}],
  [`/kubepods/burstable/pod${uid}/crio-conmon-${id}`, { podUid: uid, qosClass: 'burstable' }],
  [`/docker/${outer}/kubelet/kubepods/besteffort/pod${uid}/${id}`, k8s(undefined, 'besteffort')],
  [
    `/docker/${outer}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod${sliceUid}.slice/cri-containerd-${id}.scope`,
    k8s('containerd', 'burstable'),
  ],
  [`/docker/${outer}/docker/${id}/app`, { containerId: id, runtime: 'docker' }],
  [`/kubepods/pod${uid}/${outer}/docker/${id}`, { containerId: id, runtime: 'docker' }],
  [`/lxc.payload.ci/system.slice/docker-${id}.scope`, { containerId: id, runtime: 'docker' }],
  [`/lxc/ci/docker/${id}`, { containerId: id, runtime: 'docker' }],
  [
    `/machine.slice/systemd-nspawn@ci.service/payload/system.slice/docker-${id}.scope`,
    { containerId: id, runtime: 'docker' },
  ],
  [`/user.slice/user-1000.slice/session-1.scope`, {}],
  [`/`, {}],
];

describe('identifyMemcg', () => {
  for (const [path, facts] of layouts) {
    it(`finds whose group ${path.replaceAll(/[0-9a-f]{64}/g, (hex) => hex.slice(0, 4))} is`, () => {
      const { containerIds, containerMemcg, kubepodsMemcg: _, ...identity } = identifyMemcg(path);
      const { podMemcg } = identity;
      if (facts.podMemcg === undefined) delete identity.podMemcg;
      assert.deepEqual(definedOf(identity), definedOf(facts));
      assert.equal(containerIds.at(-1), facts.containerId ?? containerIds.at(-1));
      for (const memcg of [containerMemcg, podMemcg])
        assert.ok(memcg === undefined || `${path}/`.startsWith(`${memcg}/`));
    });
  }

  it('tells all containers on the way, outermost first', () => {
    assert.deepEqual(identifyMemcg(`/docker/${outer}/kubelet/kubepods/pod${uid}/${id}`).containerIds, [outer, id]);
  });

  it('never throws', () => {
    const part = fc.constantFrom('kubepods', 'kubepods.slice', `pod${uid}`, id, `docker-${id}.scope`, '', 'a', ':');
    fc.assert(
      fc.property(fc.array(fc.oneof(part, fc.string())), (parts) => {
        const path = `/${parts.join('/')}`;
        identifyMemcg(path);
        scopeOfLimit(path);
      }),
    );
  });
});

describe('identifyCgroup', () => {
  it('takes no monitor and no Podman pod for a container', () => {
    assert.equal(identifyCgroup(`libpod-conmon-${id}.scope`), undefined);
    assert.equal(identifyCgroup(id, 'libpod_parent'), undefined);
    assert.deepEqual(identifyCgroup(`cri-containerd-${id}.scope`), { containerId: id, runtime: 'containerd' });
  });
});

const slices = `/kubepods.slice/kubepods-burstable.slice`;
const podSlice = `${slices}/kubepods-burstable-pod${sliceUid}.slice`;
const scope = `${podSlice}/cri-containerd-${id}.scope`;
const nested = `/docker/${outer}/kubelet/kubepods/burstable/pod${uid}/${id}`;

describe('scopeOfLimit', () => {
  const limits: [oomMemcg: string, taskMemcg: string | undefined, scope: string][] = [
    [scope, scope, 'container'],
    [scope, `${scope}/init.scope`, 'container'],
    [`${scope}/system.slice/app.service`, `${scope}/system.slice/app.service`, 'nested'],
    [`/machine.slice/libpod-${id}.scope/container`, undefined, 'container'],
    [podSlice, scope, 'pod'],
    [podSlice, undefined, 'pod'],
    [`/kubepods/pod${uid}`, `/kubepods/pod${uid}/${id}`, 'pod'],
    [slices, scope, 'node_allocatable'],
    ['/kubepods.slice', scope, 'node_allocatable'],
    ['/kubepods', undefined, 'node_allocatable'],
    ['/kubepods/besteffort', `/kubepods/besteffort/pod${uid}/${id}`, 'node_allocatable'],
    [`/docker/${outer}/kubelet/kubepods`, nested, 'node_allocatable'],
    [`/docker/${outer}`, nested, 'node'],
    [`/docker/${outer}`, `/docker/${outer}`, 'container'],
    [`/docker/${outer}/app`, `/docker/${outer}/app`, 'nested'],
    ['/docker/burst', undefined, 'container'],
    ['/docker/buildkit', undefined, 'unknown'],
    ['/lxc.payload.ci', `/lxc.payload.ci/docker/${id}`, 'node'],
    ['/', scope, 'node'],
    ['/actions_job', `/actions_job/${id}`, 'unknown'],
    ['/user.slice/user-1000.slice', undefined, 'unknown'],
    ['/kubepods/burstable/app', undefined, 'unknown'],
  ];
  for (const [oomMemcg, taskMemcg, expected] of limits) {
    const short = oomMemcg.replaceAll(/[0-9a-f]{64}/g, (hex) => hex.slice(0, 4));
    it(`says ${expected} for the limit of ${short}${taskMemcg === undefined ? '' : ' and its victim'}`, () => {
      assert.equal(scopeOfLimit(oomMemcg, taskMemcg), expected);
    });
  }
});

function definedOf(object: object): object {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}
