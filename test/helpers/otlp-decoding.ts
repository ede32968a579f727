import otlp from 'otlp-decode/build/src/generated/root.js';

/** A request as it arrived, in plain objects. */
export interface Received {
  signal: 'metrics' | 'logs';
  encoding: 'proto' | 'json';
  headers: Record<string, string>;
  /** Path of an HTTP request. */
  url?: string;
  /** The request after decompression. */
  body: Buffer;
  metrics: ReceivedResourceMetrics[];
  logs: ReceivedLog[];
}

/** Metrics of one resource, by name. */
export interface ReceivedResourceMetrics {
  resource: Record<string, unknown>;
  scope: { name: string; version: string };
  metrics: Record<string, ReceivedMetric>;
}

export interface ReceivedMetric {
  kind: 'sum' | 'gauge' | 'histogram' | 'exponentialHistogram';
  unit: string;
  description: string;
  monotonic: boolean;
  /** 1 is delta, 2 cumulative. */
  temporality: number;
  points: ReceivedPoint[];
}

/** 64-bit integers are decimal strings, as a number would lose digits. */
export interface ReceivedPoint {
  attributes: Record<string, unknown>;
  asInt?: string;
  asDouble?: number;
  startTimeUnixNano: string;
  timeUnixNano: string;
}

export interface ReceivedLog {
  resource: Record<string, unknown>;
  scope: { name: string; version: string };
  eventName: string;
  severityNumber: number;
  severityText: string;
  body: unknown;
  attributes: Record<string, unknown>;
  timeUnixNano: string;
  observedTimeUnixNano: string;
}

/** What protobufjs generates for a message. */
interface MessageType {
  decode(bytes: Uint8Array): object;
  fromObject(plain: object): object;
  toObject(message: object, options: object): unknown;
  encode(message: object): { finish(): Uint8Array };
}

/** The generated code, which has no types of its own. */
interface Generated {
  opentelemetry: { proto: { collector: Record<'metrics' | 'logs', { v1: Record<string, MessageType> }> } };
}

const { collector } = (otlp as unknown as Generated).opentelemetry.proto;
const MESSAGES = {
  metrics: [
    messageType('metrics', 'ExportMetricsServiceRequest'),
    messageType('metrics', 'ExportMetricsServiceResponse'),
  ],
  logs: [messageType('logs', 'ExportLogsServiceRequest'), messageType('logs', 'ExportLogsServiceResponse')],
} as const;

function messageType(signal: 'metrics' | 'logs', name: string): MessageType {
  const type = collector[signal].v1[name];
  if (type === undefined) throw new Error(`cannot find the message "${name}" in the generated code`);
  return type;
}

/** Reads a request with the decoder of another implementation. Throws where it is not one. */
export function decodeRequest(
  signal: Received['signal'],
  encoding: Received['encoding'],
  body: Buffer,
): Omit<Received, 'headers'> {
  const [Request] = MESSAGES[signal];
  const message =
    encoding === 'json' ? Request.fromObject(JSON.parse(body.toString()) as object) : Request.decode(body);
  const plain = Request.toObject(message, { longs: String, arrays: true, oneofs: true }) as Json;
  return {
    signal,
    encoding,
    body,
    metrics: list(plain, 'resourceMetrics').flatMap(toResourceMetrics),
    logs: list(plain, 'resourceLogs').flatMap(toLogs),
  };
}

/** An answer that took the request, with its partial success where it has one. */
export function encodeResponse(
  signal: Received['signal'],
  encoding: Received['encoding'],
  { partialSuccess }: { partialSuccess?: { rejected: number; message: string } },
): Uint8Array {
  const rejected = partialSuccess?.rejected;
  const partial = { rejectedDataPoints: rejected, rejectedLogRecords: rejected, errorMessage: partialSuccess?.message };
  const [, Response] = MESSAGES[signal];
  const response = Response.fromObject(partialSuccess === undefined ? {} : { partialSuccess: partial });
  return encoding === 'json' ? Buffer.from(JSON.stringify(response)) : Response.encode(response).finish();
}

// eslint-disable-next-line typescript/no-explicit-any -- what a decoder returns
type Json = any;

function toResourceMetrics(ofResource: Json): ReceivedResourceMetrics[] {
  const resource = toAttributes(ofResource.resource);
  return list(ofResource, 'scopeMetrics').map((ofScope) => ({
    resource,
    scope: { name: ofScope.scope?.name ?? '', version: ofScope.scope?.version ?? '' },
    metrics: Object.fromEntries(list(ofScope, 'metrics').map((metric) => [metric.name, toMetric(metric)])),
  }));
}

function toMetric(metric: Json): ReceivedMetric {
  const kind = metric.data as ReceivedMetric['kind'];
  const data = metric[kind];
  return {
    kind,
    unit: metric.unit ?? '',
    description: metric.description ?? '',
    monotonic: data.isMonotonic ?? false,
    temporality: data.aggregationTemporality ?? 0,
    points: list(data, 'dataPoints').map(({ value: _value, exemplars: _exemplars, flags: _flags, ...point }) => ({
      ...point,
      attributes: toAttributes(point),
    })),
  };
}

function toLogs(ofResource: Json): ReceivedLog[] {
  const resource = toAttributes(ofResource.resource);
  return list(ofResource, 'scopeLogs').flatMap((ofScope) =>
    list(ofScope, 'logRecords').map((record) => ({
      resource,
      scope: { name: ofScope.scope?.name ?? '', version: ofScope.scope?.version ?? '' },
      eventName: record.eventName ?? '',
      severityNumber: record.severityNumber ?? 0,
      severityText: record.severityText ?? '',
      body: toValue(record.body),
      attributes: toAttributes(record),
      timeUnixNano: record.timeUnixNano ?? '0',
      observedTimeUnixNano: record.observedTimeUnixNano ?? '0',
    })),
  );
}

function toAttributes(holder: Json): Record<string, unknown> {
  return Object.fromEntries(list(holder, 'attributes').map(({ key, value }) => [key, toValue(value)]));
}

/** Integers below 2^53 become numbers; others stay decimal strings. */
function toValue(value: Json): unknown {
  if (value === undefined || value === null) return undefined;
  switch (value.value) {
    case 'intValue':
      return Number.isSafeInteger(Number(value.intValue)) ? Number(value.intValue) : value.intValue;
    case 'arrayValue':
      return list(value.arrayValue, 'values').map(toValue);
    case 'kvlistValue':
      return Object.fromEntries(
        list(value.kvlistValue, 'values').map(({ key, value: inner }) => [key, toValue(inner)]),
      );
    default:
      return value[value.value];
  }
}

function list(holder: Json, key: string): Json[] {
  return holder?.[key] ?? [];
}
