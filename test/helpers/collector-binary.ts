import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cachePath } from './cache.ts';

/** The manifest from which the OpenTelemetry Collector for tests is built. */
export const collectorManifest = join(import.meta.dirname, '../collector/builder.yaml');

/** Where the Collector built from the present manifest is, or will be. */
export function collectorBinary(): string {
  const hash = createHash('sha256').update(readFileSync(collectorManifest)).digest('hex').slice(0, 12);
  return cachePath('collector', hash, 'otelcol');
}
