import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';

/** One request as it waits and travels: bytes, not objects, so that what a queue holds is bounded and known. */
export interface SendRequest {
  readonly body: Uint8Array;
  /** Metric points or log records in it. */
  readonly items: number;
  /** Called when the request is sent, dropped or refused, and nobody needs `body` any more. */
  readonly release?: () => void;
}

/** Number of records in `logs`. */
export function countRecords(logs: readonly ReadableLogRecord[]): number {
  return logs.length;
}

/**
 * Serialises `data` into as few requests as there can be with none above `maxBytes` (0 is no bound). A request that
 * comes out too large is halved until it fits; a single entry that is still too large is sent as it is. `serialize`
 * may return undefined for what would be larger than its second argument.
 */
export function toRequests<Data>(
  data: readonly Data[],
  serialize: (data: readonly Data[], maxBytes: number) => Uint8Array | undefined,
  countItems: (data: readonly Data[]) => number,
  maxBytes: number,
): SendRequest[] {
  if (data.length === 0) return [];
  const bound = maxBytes === 0 ? Infinity : maxBytes;
  const body = serialize(data, bound);
  if (body !== undefined && (body.byteLength <= bound || data.length === 1)) return [{ body, items: countItems(data) }];
  if (data.length === 1) throw new Error('cannot serialise a single entry');
  const middle = data.length >> 1;
  return [
    ...toRequests(data.slice(0, middle), serialize, countItems, maxBytes),
    ...toRequests(data.slice(middle), serialize, countItems, maxBytes),
  ];
}
