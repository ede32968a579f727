import { createSecureContext } from 'node:tls';
import type * as grpcJs from '@grpc/grpc-js';
import type { ChannelCredentials, ChannelOptions, Client, Metadata, ServiceError } from '@grpc/grpc-js';
import type { SignalKind } from '../../component.ts';
import { ThrottledError } from '../../errors.ts';
import type { GrpcEndpoint } from './grpc-endpoint.ts';
import { readRpcStatus } from './rpc-status.ts';
import type { OtlpSerializer } from './serializer.ts';
import { loadTls, type TlsConfig } from './tls.ts';
import { boundedText, RefusedError, type SendAnswer, type Transport } from './transport.ts';

/** How to reach a gRPC server. Times in milliseconds. */
export interface GrpcTransportConfig {
  endpoint: GrpcEndpoint;
  tls: TlsConfig;
  headers: Record<string, string>;
  compression: 'gzip' | 'none';
  timeoutMs: number;
  waitForReady: boolean;
  keepalive: { timeMs: number; timeoutMs: number; permitWithoutStream: boolean };
  /** Replaces the host in the `:authority` header. */
  authority?: string | undefined;
  userAgent: string;
}

/** The methods of the OTLP services. */
const EXPORT_METHODS: Record<SignalKind, string> = {
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
};

/** https://opentelemetry.io/docs/specs/otlp/#failures; RESOURCE_EXHAUSTED only where it comes with a RetryInfo. */
const RETRYABLE = new Set(['CANCELLED', 'DEADLINE_EXCEEDED', 'ABORTED', 'OUT_OF_RANGE', 'UNAVAILABLE', 'DATA_LOSS']);

/** Number of gzip among gRPC's compression algorithms. */
const GZIP = 2;

/** A connection that failed is tried again after at most this. */
const MAX_RECONNECT_BACKOFF_MS = 10_000;

/** OTLP over gRPC: one channel, one unary call for each attempt. grpc-js is loaded when it is opened. */
export class GrpcTransport implements Transport {
  readonly #config: GrpcTransportConfig;
  readonly #serializer: OtlpSerializer;
  #grpc: typeof grpcJs | undefined;
  #client: Client | undefined;
  #metadata: Metadata | undefined;

  constructor(config: GrpcTransportConfig, serializer: OtlpSerializer) {
    this.#config = config;
    this.#serializer = serializer;
  }

  destination(): string {
    return this.#config.endpoint.target;
  }

  async open(): Promise<void> {
    const { headers, waitForReady, endpoint } = this.#config;
    const grpc = await import('@grpc/grpc-js');
    this.#grpc = grpc;
    this.#metadata = new grpc.Metadata({ waitForReady });
    for (const [name, value] of Object.entries(headers)) this.#metadata.set(name, value);
    this.#client = new grpc.Client(endpoint.target, await this.#credentials(grpc), this.#channelOptions());
  }

  send(kind: SignalKind, body: Uint8Array, abandon: AbortSignal): Promise<SendAnswer> {
    const client = this.#client;
    const metadata = this.#metadata;
    if (client === undefined || metadata === undefined) return Promise.reject(new Error('the channel is not open'));
    return new Promise((resolve, reject) => {
      const call = client.makeUnaryRequest(
        EXPORT_METHODS[kind],
        toBuffer,
        (bytes: Buffer) => bytes,
        body,
        metadata.clone(),
        { deadline: Date.now() + this.#config.timeoutMs },
        (error, answer) => {
          abandon.removeEventListener('abort', cancel);
          if (error) reject(this.#toError(error));
          else resolve(this.#serializer.readAnswer(kind, answer ?? Buffer.alloc(0)));
        },
      );
      const cancel = () => call.cancel();
      abandon.addEventListener('abort', cancel);
    });
  }

  async close(): Promise<void> {
    this.#client?.close();
    this.#client = undefined;
  }

  async #credentials({ credentials }: typeof grpcJs): Promise<ChannelCredentials> {
    const { endpoint, tls } = this.#config;
    if (!(endpoint.secure ?? !tls.insecure)) return credentials.createInsecure();
    const context = createSecureContext(await loadTls(tls));
    return credentials.createFromSecureContext(context, { rejectUnauthorized: !tls.insecure_skip_verify });
  }

  #channelOptions(): ChannelOptions {
    const { tls, keepalive, compression, userAgent, authority } = this.#config;
    const serverName = tls.server_name_override;
    return {
      'grpc.primary_user_agent': userAgent,
      ...(compression === 'gzip' && { 'grpc.default_compression_algorithm': GZIP }),
      ...(serverName !== undefined && { 'grpc.ssl_target_name_override': serverName }),
      ...((authority ?? serverName) !== undefined && { 'grpc.default_authority': authority ?? serverName }),
      'grpc.keepalive_time_ms': keepalive.timeMs,
      'grpc.keepalive_timeout_ms': keepalive.timeoutMs,
      'grpc.keepalive_permit_without_calls': keepalive.permitWithoutStream ? 1 : 0,
      'grpc.max_send_message_length': -1,
      // gRPC's own bound of two minutes would leave a backend unused long after it is back.
      'grpc.max_reconnect_backoff_ms': MAX_RECONNECT_BACKOFF_MS,
      // Attempts are ours to make, and to count.
      'grpc.enable_retries': 0,
      // Saves a lookup of TXT records for something that nobody configures there.
      'grpc.service_config_disable_resolution': 1,
    };
  }

  #toError(error: ServiceError): Error {
    const code = this.#grpc?.status[error.code] ?? `code ${error.code}`;
    const message = boundedText(error.details);
    const details = error.metadata?.get('grpc-status-details-bin')[0];
    const retryDelayMs = details instanceof Buffer ? readRpcStatus(details)?.retryDelayMs : undefined;
    const throttled = retryDelayMs !== undefined && (RETRYABLE.has(code) || code === 'RESOURCE_EXHAUSTED');
    if (throttled) return new ThrottledError(`${code}: ${message}`, retryDelayMs);
    return RETRYABLE.has(code) ? new Error(`${code}: ${message}`) : new RefusedError(code, message);
  }
}

/** A view, not a copy. */
function toBuffer(body: Uint8Array): Buffer {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}
