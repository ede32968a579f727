import { readFile } from 'node:fs/promises';
import type { Dispatcher } from 'undici';
import { parseRetryAfter } from '../../exporters/sending/retry-after.ts';
import { loadUndici } from '../../undici.ts';

/** Where the API server is, and how it and we are known to each other. */
export interface ApiServerConfig {
  /** Without a path: `https://10.96.0.1:443`. */
  url: string;
  /** Who signs the server's certificate. Read again for each request, as is the token: both change. */
  caFile: string;
  /** Absent where the server asks for no token. */
  tokenFile?: string | undefined;
  userAgent: string;
}

/** The API server refuses a request. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** As of HTTP. */
  readonly code: number;
  readonly retryAfterMs: number;

  constructor(code: number, message: string, retryAfterMs: number = 0) {
    super(message);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Until the server begins to answer. A list of a whole node comes within milliseconds. */
const answerTimeoutMs = 30_000;

/** We read no more of a refusal. */
const mostRefusalBytes = 64 * 1024;

/** How OpenSSL says that a certificate is not one that the authority has signed. */
const untrusted = new Set([
  'CERT_SIGNATURE_FAILURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** Reads from a Kubernetes API server. undici is loaded with the first request. */
export class ApiServer {
  readonly #config: ApiServerConfig;
  #connection: { ca: string | undefined; dispatcher: Dispatcher } | undefined;

  constructor(config: ApiServerConfig) {
    this.#config = config;
  }

  /**
   * The body of a successful answer; it fails where no byte comes for `idleTimeoutMs`. Rejects with an `ApiError` where
   * the server refuses.
   */
  async get(path: string, idleTimeoutMs: number, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { url, userAgent } = this.#config;
    const headers = { accept: 'application/json', 'user-agent': userAgent, ...(await this.#authorization()) };
    const dispatcher = await this.#open();
    const options: Dispatcher.RequestOptions = {
      origin: url,
      path,
      method: 'GET',
      headers,
      signal,
      headersTimeout: answerTimeoutMs,
      bodyTimeout: idleTimeoutMs,
    };
    const {
      statusCode,
      headers: answered,
      body,
    } = await dispatcher.request(options).catch((error: unknown) => {
      throw this.#explain(error);
    });
    if (statusCode === 200) return body;
    const retryAfter = answered['retry-after'];
    const retryAfterMs = typeof retryAfter === 'string' ? parseRetryAfter(retryAfter, Date.now()) : undefined;
    throw new ApiError(statusCode, `HTTP ${statusCode}: ${await readRefusal(body)}`, retryAfterMs);
  }

  /** Breaks off whatever is under way. */
  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.dispatcher.destroy().catch(() => {});
  }

  async #authorization(): Promise<{ authorization?: string }> {
    const { tokenFile } = this.#config;
    if (tokenFile === undefined) return {};
    return { authorization: `Bearer ${(await readText('token_file', tokenFile)).trim()}` };
  }

  async #open(): Promise<Dispatcher> {
    const { url, caFile } = this.#config;
    const ca = url.startsWith('https:') ? await readText('ca_file', caFile) : undefined;
    if (this.#connection !== undefined && this.#connection.ca === ca) return this.#connection.dispatcher;
    await this.close();
    const { Agent } = await loadUndici();
    // Never through a proxy: those of the environment are for what is outside of the cluster.
    const dispatcher = new Agent({ connect: { ...(ca !== undefined && { ca }) }, allowH2: false });
    this.#connection = { ca, dispatcher };
    return dispatcher;
  }

  #explain(error: unknown): Error {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined || !untrusted.has(code)) return error as Error;
    return new Error(`the server's certificate is not signed by an authority in ca_file "${this.#config.caFile}"`, {
      cause: error,
    });
  }
}

async function readText(option: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new Error(`cannot read ${option} "${path}"`, { cause: error });
  }
}

/**
 * The server's own words, cut:
 * `{"kind":"Status","status":"Failure","message":"pods is forbidden: User \"system:serviceaccount:…","code":403}` (v1.33)
 */
async function readRefusal(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    bytes += chunk.byteLength;
    if (bytes >= mostRefusalBytes) break;
  }
  const text = Buffer.concat(chunks).toString();
  return (messageOf(text) ?? text).slice(0, 500);
}

function messageOf(text: string): string | undefined {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? message : undefined;
  } catch {
    return undefined;
  }
}
