import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { ProtobufLogsSerializer, ProtobufMetricsSerializer } from '@opentelemetry/otlp-transformer';
import type { SignalKind } from '../../component.ts';
import { MetricsWriter } from './metrics-writer.ts';
import { logsRequest, metricsRequest } from './otlp-json.ts';
import { boundedText, type SendAnswer } from './transport.ts';

/** Makes OTLP export requests and reads what comes back. All methods but `readAnswer` throw on what is not OTLP. */
export interface OtlpSerializer {
  readonly contentType: string;
  /** One request with the metrics of all resources. */
  readonly metrics: (metrics: readonly ResourceMetrics[]) => Uint8Array;
  /**
   * As `metrics`, for who cannot use a request of more than `maxBytes`: undefined where it would be larger and of
   * several resources. A request that is made to be thrown away is a lot of garbage.
   */
  readonly metricsWithin?: (metrics: readonly ResourceMetrics[], maxBytes: number) => Uint8Array | undefined;
  /** One request with all records. */
  readonly logs: (logs: readonly ReadableLogRecord[]) => Uint8Array;
  /** Takes back the bytes of a request with metrics once nobody reads them any more, to use their memory again. */
  readonly recycle?: (body: Uint8Array) => void;
  /** Reads the answer to a request that was taken. One that cannot be read counts as plain success. */
  readonly readAnswer: (kind: SignalKind, body: Uint8Array) => SendAnswer;
}

/** OTLP as protobuf. Each exporter has its own: it remembers what it has serialised before. */
export function makeProtobufSerializer(): OtlpSerializer {
  const writer = new MetricsWriter();
  return {
    contentType: 'application/x-protobuf',
    metrics: (metrics) => writer.write(metrics),
    metricsWithin: (metrics, maxBytes) => writer.writeWithin(metrics, maxBytes),
    recycle: (body) => writer.recycle(body),
    logs: (logs) => ProtobufLogsSerializer.serializeRequest([...logs])!,
    readAnswer: readProtobufAnswer,
  };
}

function readProtobufAnswer(kind: SignalKind, body: Uint8Array): SendAnswer {
  if (body.byteLength === 0) return { rejectedItems: 0 };
  const serializer = kind === 'metrics' ? ProtobufMetricsSerializer : ProtobufLogsSerializer;
  try {
    return toAnswer(serializer.deserializeResponse(body));
  } catch {
    return { rejectedItems: 0 };
  }
}

/** OTLP as JSON. */
export const jsonSerializer: OtlpSerializer = {
  contentType: 'application/json',
  metrics: (metrics) => Buffer.from(JSON.stringify(metricsRequest(metrics))),
  logs: (logs) => Buffer.from(JSON.stringify(logsRequest(logs))),
  readAnswer: (_kind, body) => {
    try {
      return toAnswer(JSON.parse(Buffer.from(body).toString()));
    } catch {
      return { rejectedItems: 0 };
    }
  },
};

/** The answer of either signal: the two differ in one name. */
interface ExportResponse {
  partialSuccess?: { rejectedDataPoints?: unknown; rejectedLogRecords?: unknown; errorMessage?: unknown };
}

function toAnswer(response: ExportResponse | null): SendAnswer {
  const partial = response?.partialSuccess;
  if (partial === undefined || partial === null) return { rejectedItems: 0 };
  // JSON has 64-bit numbers as strings.
  const rejected = Number(partial.rejectedDataPoints ?? partial.rejectedLogRecords ?? 0);
  const message = typeof partial.errorMessage === 'string' ? boundedText(partial.errorMessage) : '';
  return {
    rejectedItems: Number.isFinite(rejected) ? rejected : 0,
    ...(message !== '' && { message }),
  };
}
