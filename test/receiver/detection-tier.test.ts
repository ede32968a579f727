import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { detectionTiers, tellDetectionTier, tierOf, type WorkingSources } from '../../receiver/detection-tier.ts';
import { makeSettings } from '../helpers/component-settings.ts';

describe('the detection tier', () => {
  const cases: [WorkingSources, string][] = [
    [{ kernelLog: 'kernel_log', counters: true, runtime: true }, 'kernel_log'],
    [{ kernelLog: 'dmesg', counters: true, runtime: false }, 'dmesg'],
    [{ kernelLog: 'log_file', counters: false, runtime: false }, 'log_file'],
    [{ counters: true, runtime: true }, 'counters_only'],
    [{ counters: false, runtime: true }, 'runtime_only'],
    [{ counters: false, runtime: false }, 'none'],
  ];
  for (const [working, tier] of cases) {
    it(`is ${tier} where ${JSON.stringify(working)} work`, () => assert.equal(tierOf(working), tier));
  }

  it('is told as a series for each, of which one is 1, and follows what works', async () => {
    const settings = makeSettings('lifecycle');
    let working: WorkingSources = { counters: true, runtime: true };
    tellDetectionTier(settings, () => working);
    const told = async () => {
      const series = await settings.series();
      return detectionTiers.filter((tier) => {
        const value = series[`exit137_detection_tier{receiver=lifecycle,tier=${tier}}`];
        assert.ok(value === 0 || value === 1);
        return value === 1;
      });
    };
    assert.deepEqual(await told(), ['counters_only']);
    working = { ...working, kernelLog: 'dmesg' };
    assert.deepEqual(await told(), ['dmesg']);
  });
});
