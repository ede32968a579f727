import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { Finding } from '../../pipelines/component.ts';
import { configSchema } from '../../receiver/config.ts';
import { probe } from '../../receiver/doctor.ts';
import { requires } from '../helpers/requires.ts';
import { startCriRuntime } from './sources/cri-runtime.ts';
import { FakeContainerd } from './sources/fake-containerd.ts';

async function findKernelLog(kernelLog: object): Promise<Finding | undefined> {
  const sources = { docker: { enabled: false }, kernel_log: kernelLog };
  const findings = await probe(configSchema.parse({ sources }));
  return findings.find(({ what }) => what === 'kernel log');
}

suite('the findings about the kernel log', () => {
  test('name the way by which it is read', requires('kmsg'), async () => {
    assert.deepEqual(await findKernelLog({}), { what: 'kernel log', state: 'found', detail: '/dev/kmsg' });
  });

  test('say that it is not to be read', async () => {
    const finding = await findKernelLog({ enabled: false });
    assert.equal(finding?.state, 'unused');
    assert.equal(finding.detail, 'sources::kernel_log::enabled is false');
  });
});

suite('the findings about runtimes', () => {
  let folder: string;
  let fake: FakeContainerd;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'exit137-doctor-'));
    await mkdir(join(folder, 'run/containerd'), { recursive: true });
    fake = new FakeContainerd();
  });

  after(async () => {
    fake.stop();
    await rm(folder, { recursive: true });
  });

  async function findRuntimes(sources: object = {}): Promise<Finding[]> {
    const docker = { endpoint: `unix://${folder}/none.sock` };
    const findings = await probe(configSchema.parse({ root_path: folder, sources: { docker, ...sources } }));
    return findings.filter(({ what }) => what.includes('runtime'));
  }

  test('miss Docker where there is no other runtime', async () => {
    const [docker, kubernetes] = await findRuntimes();
    assert.deepEqual([docker?.state, kubernetes?.state], ['missing', 'unused']);
  });

  test('say what is lost where none is asked, and who has it of pods', async () => {
    const off = { enabled: false };
    const lostWith = async (others: object) => (await findRuntimes({ docker: off, ...others }))[0]?.lost;
    const lost = 'names, exits, exit codes, restarts; on cgroup v1 most kills of main processes';
    assert.equal(await lostWith({ containerd: off }), lost);
    assert.equal(await lostWith({ containerd: off, cri: off }), `${lost}; of pods k8s_attributes has most of it`);
  });

  test('say what is wrong with a socket that was asked for', async () => {
    const endpoint = `unix://${folder}/none.sock`;
    const [, kubernetes] = await findRuntimes({ containerd: { endpoint }, cri: { enabled: false } });
    assert.equal(kubernetes?.state, 'missing');
    assert.match(kubernetes.detail, /^cannot connect to ".*none\.sock": connect ENOENT/);
  });

  test('name the containerd that answers, and miss no Docker then', async () => {
    const socket = join(folder, 'run/containerd/containerd.sock');
    await fake.listen(socket);
    const [docker, kubernetes] = await findRuntimes();
    assert.deepEqual([docker?.state, docker?.lost], ['unused', undefined]);
    assert.deepEqual(kubernetes, {
      what: 'runtime of Kubernetes',
      state: 'found',
      detail: `containerd 1.6.20 at unix://${socket}`,
    });
  });

  test('name CRI-O as well where containerd answers beside it, as both are asked', async (context) => {
    const crio = await startCriRuntime();
    const containerd = new FakeContainerd();
    context.after(() => {
      containerd.stop();
      return crio.stop();
    });
    const socket = join(crio.hostRoot, 'run/containerd/containerd.sock');
    await mkdir(join(crio.hostRoot, 'run/containerd'));
    await containerd.listen(socket);
    const runtimes = async (sources: object = {}) => {
      const findings = await probe(configSchema.parse({ root_path: crio.hostRoot, sources }));
      return findings.find(({ what }) => what === 'runtime of Kubernetes')?.detail;
    };
    const first = `containerd 1.6.20 at unix://${socket}`;
    assert.equal(await runtimes(), `${first}, and cri-o 1.33.0 at unix://${crio.socket}`);
    assert.equal(await runtimes({ cri: { enabled: false } }), first);
  });
});
