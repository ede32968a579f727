import type { TestContext } from 'node:test';
import type { Exporter, ExporterFactory } from '../../../pipelines/component.ts';
import { makeSettings, type TestSettings } from '../../helpers/component-settings.ts';

/** An exporter under test, started, and what it was given. */
export interface Started {
  exporter: Exporter;
  settings: TestSettings;
}

/** Retries at once, and tells the outcome of each request to who consumes. */
export const IMPATIENT = {
  sending_queue: { wait_for_result: true },
  retry_on_failure: { initial_interval: '1ms', max_interval: '1ms' },
};

/** Makes an exporter from a section as it would stand in a file and starts it; the test's end shuts it down. */
export async function startExporter<Config>(
  context: TestContext,
  factory: ExporterFactory<Config>,
  section: Record<string, unknown>,
): Promise<Started> {
  const settings = makeSettings(factory.type);
  const exporter = factory.create(factory.configSchema.parse(section), settings);
  context.after(() => exporter.shutdown(AbortSignal.abort()));
  await exporter.start();
  return { exporter, settings };
}

/** The path and message of each problem of a section. */
export function problemsOf<Config>(factory: ExporterFactory<Config>, section: unknown): string[] {
  const result = factory.configSchema.safeParse(section);
  return result.success ? [] : result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
}
