import type { Dispatcher } from 'undici';
import type { SignalKind } from '../../component.ts';
import { ThrottledError } from '../../errors.ts';
import { loadUndici } from '../../undici.ts';
import { compress, type Compression } from './compression.ts';
import { parseRetryAfter } from './retry-after.ts';
import { readRpcStatus } from './rpc-status.ts';
import type { OtlpSerializer } from './serializer.ts';
import { loadTls, type TlsConfig } from './tls.ts';
import { boundedText, RefusedError, type SendAnswer, type Transport } from './transport.ts';

/** How to reach an HTTP server. */
export interface HttpTransportConfig {
  /** Full URLs; a signal that is sent nowhere is absent. */
  urls: Partial<Record<SignalKind, string>>;
  tls: TlsConfig;
  headers: Record<string, string>;
  compression: Compression;
  compressionLevel?: number | undefined;
  timeoutMs: number;
  /** Proxy for all requests; else the environment decides (HTTP_PROXY, HTTPS_PROXY, NO_PROXY). */
  proxyUrl?: string | undefined;
  userAgent: string;
}

/** https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes */
const RETRYABLE = new Set([429, 502, 503, 504]);

/** Those of them whose `Retry-After` is heeded. */
const THROTTLING = new Set([429, 503]);

/** We read no more of an answer. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** An idle connection is kept for longer than the usual interval between collections. */
const KEEP_ALIVE_MS = 90_000;

/** OTLP over HTTP. undici is loaded when it is opened. */
export class HttpTransport implements Transport {
  readonly #config: HttpTransportConfig;
  readonly #serializer: OtlpSerializer;
  #dispatcher: Dispatcher | undefined;

  constructor(config: HttpTransportConfig, serializer: OtlpSerializer) {
    this.#config = config;
    this.#serializer = serializer;
  }

  destination(kind: SignalKind): string {
    const url = this.#config.urls[kind];
    return url === undefined ? 'nowhere' : withoutSecrets(url);
  }

  async open(): Promise<void> {
    const { tls, proxyUrl } = this.#config;
    const { EnvHttpProxyAgent } = await loadUndici();
    const connect = {
      ...(await loadTls(tls)),
      rejectUnauthorized: !tls.insecure_skip_verify,
      ...(tls.server_name_override !== undefined && { servername: tls.server_name_override }),
    };
    this.#dispatcher = new EnvHttpProxyAgent({
      connect,
      requestTls: connect,
      ...(proxyUrl !== undefined && { httpProxy: proxyUrl, httpsProxy: proxyUrl }),
      allowH2: false,
      keepAliveTimeout: KEEP_ALIVE_MS,
      // Our own timeout covers the whole attempt.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  async pack(body: Uint8Array): Promise<Uint8Array> {
    return compress(body, this.#config.compression, this.#config.compressionLevel);
  }

  async send(kind: SignalKind, body: Uint8Array, abandon: AbortSignal): Promise<SendAnswer> {
    const url = this.#config.urls[kind];
    if (url === undefined) throw new RefusedError('no endpoint', `no endpoint is configured for ${kind}`);
    const { timeoutMs } = this.#config;
    const attempt = new AbortController();
    const timer = setTimeout(() => attempt.abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    const abort = () => attempt.abort(abandon.reason);
    abandon.addEventListener('abort', abort);
    try {
      const response = await this.#request(url, body, attempt.signal);
      return this.#toAnswer(kind, response, await readBounded(response));
    } finally {
      clearTimeout(timer);
      abandon.removeEventListener('abort', abort);
    }
  }

  async close(): Promise<void> {
    const dispatcher = this.#dispatcher;
    this.#dispatcher = undefined;
    await dispatcher?.destroy().catch(() => {});
  }

  async #request(url: string, body: Uint8Array, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    if (this.#dispatcher === undefined) throw new Error('the connection is not open');
    const { origin, pathname, search } = new URL(url);
    const options: Dispatcher.RequestOptions = {
      origin,
      path: pathname + search,
      method: 'POST',
      headers: this.#headers(),
      body,
      signal,
    };
    try {
      return await this.#dispatcher.request(options);
    } catch (error) {
      // The server closed an idle connection just when we used it: that says nothing of how it does.
      if (!isClosedConnection(error) || this.#dispatcher === undefined) throw error;
      return this.#dispatcher.request(options);
    }
  }

  #headers(): Record<string, string> {
    const { headers, compression, userAgent } = this.#config;
    return {
      'user-agent': userAgent,
      ...headers,
      'content-type': this.#serializer.contentType,
      ...(compression !== 'none' && { 'content-encoding': compression }),
    };
  }

  #toAnswer(kind: SignalKind, { statusCode, headers }: Dispatcher.ResponseData, body: Uint8Array): SendAnswer {
    if (statusCode >= 200 && statusCode < 300) return this.#serializer.readAnswer(kind, body);
    const code = `HTTP ${statusCode}`;
    const message = readMessage(String(headers['content-type'] ?? ''), body);
    if (!RETRYABLE.has(statusCode)) throw new RefusedError(code, message);
    const text = message === '' ? code : `${code}: ${message}`;
    const retryAfter = THROTTLING.has(statusCode) ? headers['retry-after'] : undefined;
    const retryAfterMs = typeof retryAfter === 'string' ? parseRetryAfter(retryAfter, Date.now()) : undefined;
    throw retryAfterMs === undefined ? new Error(text) : new ThrottledError(text, retryAfterMs);
  }
}

/** The text of a failure: a google.rpc.Status in either encoding, else the body where it is plain text. */
function readMessage(contentType: string, body: Uint8Array): string {
  if (contentType.startsWith('application/x-protobuf')) return boundedText(readRpcStatus(body)?.message ?? '');
  const text = Buffer.from(body).toString();
  if (contentType.startsWith('application/json')) return boundedText(readJsonMessage(text) ?? text);
  return contentType.startsWith('text/plain') ? boundedText(text.trim()) : '';
}

function readJsonMessage(text: string): string | undefined {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? message : undefined;
  } catch {
    return undefined;
  }
}

async function readBounded({ body }: Dispatcher.ResponseData): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop early closes the connection, so that no server can keep us reading.
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    bytes += chunk.byteLength;
    if (bytes >= MAX_ANSWER_BYTES) break;
  }
  return Buffer.concat(chunks).subarray(0, MAX_ANSWER_BYTES);
}

function isClosedConnection(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE';
}

function withoutSecrets(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}
