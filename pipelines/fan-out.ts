import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { LogsConsumer, MetricsConsumer } from './component.ts';

/**
 * Gives the same data to several consumers. One that fails does not keep the others from getting it: what they threw
 * is thrown once all have taken or refused. Data is shared, so that a processor must copy what it changes.
 */
export function fanOutMetrics(consumers: readonly MetricsConsumer[]): MetricsConsumer {
  if (consumers.length === 1) return consumers[0]!;
  return {
    consumeMetrics: (metrics: readonly ResourceMetrics[]) =>
      settleAll(consumers.map((consumer) => consumer.consumeMetrics(metrics))),
  };
}

/** As `fanOutMetrics`, for log records. */
export function fanOutLogs(consumers: readonly LogsConsumer[]): LogsConsumer {
  if (consumers.length === 1) return consumers[0]!;
  return {
    consumeLogs: (logs: readonly ReadableLogRecord[]) =>
      settleAll(consumers.map((consumer) => consumer.consumeLogs(logs))),
  };
}

async function settleAll(taken: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(taken);
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, `${errors.length} of ${taken.length} consumers refused`);
}
