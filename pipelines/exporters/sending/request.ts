import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';

/** One request as it waits and travels: bytes, not objects, so that what a queue holds is bounded and known. */
export interface SendRequest {
  readonly body: Uint8Array;
  /** Metric points or log records in it. */
  readonly items: number;
  /** Called when a request that was queued is sent or dropped, and nobody needs `body` any more. */
  readonly release?: () => void;
}

/** Number of data points in `metrics`. */
export function countPoints(metrics: readonly ResourceMetrics[]): number {
  let points = 0;
  for (const { scopeMetrics } of metrics) {
    for (const scope of scopeMetrics) {
      for (const metric of scope.metrics) points += metric.dataPoints.length;
    }
  }
  return points;
}

/** Number of records in `logs`. */
export function countRecords(logs: readonly ReadableLogRecord[]): number {
  return logs.length;
}

/**
 * Serialises `data` into as few requests as there can be with none above `maxBytes` (0 is no bound). A request that
 * comes out too large is halved until it fits; a single entry that is still too large is sent as it is.
 */
export function toRequests<Data>(
  data: readonly Data[],
  serialize: (data: readonly Data[]) => Uint8Array,
  countItems: (data: readonly Data[]) => number,
  maxBytes: number,
): SendRequest[] {
  if (data.length === 0) return [];
  const body = serialize(data);
  if (maxBytes === 0 || body.byteLength <= maxBytes || data.length === 1) return [{ body, items: countItems(data) }];
  const middle = data.length >> 1;
  return [
    ...toRequests(data.slice(0, middle), serialize, countItems, maxBytes),
    ...toRequests(data.slice(middle), serialize, countItems, maxBytes),
  ];
}
