import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { configSchema } from '../../receiver/config.ts';
import { probe, type Finding } from '../../receiver/doctor.ts';
import { requires } from '../helpers/requires.ts';

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
