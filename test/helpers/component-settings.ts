import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import type { ComponentSettings, Logger } from '../../pipelines/component.ts';

/** A line that a component logged. */
export interface LoggedLine {
  level: keyof Logger;
  message: string;
  fields: Record<string, unknown>;
}

/** What a component is given in a test, and what it made of it. */
export interface TestSettings extends ComponentSettings {
  readonly lines: LoggedLine[];
  /** Resolves with the first line of this message, logged already or yet to come. */
  logged(message: string): Promise<LoggedLine>;
  /** Present values of all series, as `name{key=value,…}` with sorted keys. */
  series(): Promise<Record<string, number>>;
}

/** A real meter and a logger that remembers. */
export function makeSettings(id = 'test'): TestSettings {
  const reader = new PullReader();
  const provider = new MeterProvider({ readers: [reader] });
  const lines: LoggedLine[] = [];
  const watchers = new Set<() => void>();
  const log =
    (level: keyof Logger) =>
    (message: string, fields: Record<string, unknown> = {}) => {
      lines.push({ level, message, fields });
      for (const notify of watchers) notify();
    };
  return {
    id,
    version: '1.2.3',
    meter: provider.getMeter('test'),
    logger: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
    lines,
    logged: (message) => {
      const { promise, resolve } = Promise.withResolvers<LoggedLine>();
      const look = () => {
        const line = lines.find((one) => one.message === message);
        if (line !== undefined) resolve(line);
      };
      watchers.add(look);
      look();
      return promise.finally(() => watchers.delete(look));
    },
    series: () => reader.series(),
  };
}

class PullReader extends MetricReader {
  async series(): Promise<Record<string, number>> {
    const { resourceMetrics } = await this.collect();
    const series: Record<string, number> = {};
    for (const { descriptor, dataPoints } of resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)) {
      for (const { attributes, value } of dataPoints) {
        const labels = Object.entries(attributes).map(([key, text]) => `${key}=${String(text)}`);
        series[`${descriptor.name}{${labels.toSorted().join(',')}}`] = Number(value);
      }
    }
    return series;
  }

  protected override async onShutdown(): Promise<void> {}

  protected override async onForceFlush(): Promise<void> {}
}
