import type { ComponentSettings } from '../pipelines/component.ts';
import type { LogWay } from './kernel/log-tap.ts';

/**
 * By what kills are known now, the best first: the kernel log, in one of three ways, with the counters of memory cgroups;
 * these alone, so that nobody names the victims; what a runtime says alone; or nothing.
 */
export const detectionTiers = ['kernel_log', 'dmesg', 'log_file', 'counters_only', 'runtime_only', 'none'] as const;

export type DetectionTier = (typeof detectionTiers)[number];

/** Which sources work now. */
export interface WorkingSources {
  /** How the kernel log is read; undefined where it is not. */
  kernelLog?: LogWay;
  counters: boolean;
  runtime: boolean;
}

/** The tier of a node on which these sources work. */
export function tierOf({ kernelLog, counters, runtime }: WorkingSources): DetectionTier {
  if (kernelLog !== undefined) return kernelLog;
  if (counters) return 'counters_only';
  return runtime ? 'runtime_only' : 'none';
}

/** Tells the tier as one series for each: 1 for the present one, 0 for the others, so that none goes stale with its value. */
export function tellDetectionTier({ id, meter }: ComponentSettings, read: () => WorkingSources): void {
  const description =
    'By what kills are known now: 1 for the present tier, of kernel_log, dmesg, log_file, counters_only, runtime_only, none.';
  meter.createObservableGauge('exit137_detection_tier', { unit: '1', description }).addCallback((result) => {
    const present = tierOf(read());
    for (const tier of detectionTiers) result.observe(tier === present ? 1 : 0, { receiver: id, tier });
  });
}
