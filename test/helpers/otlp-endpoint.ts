import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import {
  Metadata,
  Server,
  ServerCredentials,
  status,
  type sendUnaryData,
  type ServerUnaryCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { decodeRequest, encodeResponse, type Received } from './otlp-decoding.ts';
import type { TestCertificate } from './certificate.ts';

/** What an endpoint does with a request. Nothing set: it takes it. */
export interface Answer {
  /** gRPC status code other than OK. */
  code?: number;
  /** Text of the status, or of an HTTP failure's google.rpc.Status. */
  message?: string;
  /** Value of the `grpc-status-details-bin` trailer. */
  details?: Uint8Array;
  /** HTTP status code. */
  httpStatus?: number;
  httpHeaders?: Record<string, string>;
  /** Replaces the body of an HTTP answer. */
  httpBody?: string | Uint8Array;
  partialSuccess?: { rejected: number; message: string };
  delayMs?: number;
  /** It answers once this is fulfilled. */
  until?: Promise<unknown>;
  /** It never answers. */
  hang?: boolean;
  /** It closes the connection (HTTP only). */
  disconnect?: boolean;
}

/** A real OTLP server in this process, read by a decoder that is not ours. */
export interface OtlpEndpoint {
  readonly port: number;
  /** `host:port` for gRPC, a URL for HTTP. */
  readonly endpoint: string;
  /** Every request that arrived, refused ones too, in their order. */
  readonly received: Received[];
  /** The next requests get these answers, one each; what comes after them is taken. */
  answerNext(...answers: Answer[]): void;
  /** All requests get this answer from now on. */
  answerAlways(answer: Answer): void;
  /** Resolves with the request number `count`, counted from 1, once it has arrived. */
  request(count: number): Promise<Received>;
  /** Ends all connections and stops listening. */
  close(): Promise<void>;
}

const SERVICES = {
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
} as const;

/** Starts an OTLP/gRPC server on a free port of the loopback address, or on `port`. */
export async function startGrpcEndpoint(
  options: { tls?: TestCertificate; port?: number; socketPath?: string } = {},
): Promise<OtlpEndpoint> {
  const inbox = new Inbox();
  const server = new Server();
  for (const signal of ['metrics', 'logs'] as const) {
    const method = {
      path: SERVICES[signal],
      requestStream: false,
      responseStream: false,
      requestSerialize: identity,
      requestDeserialize: identity,
      responseSerialize: identity,
      responseDeserialize: identity,
    } as const;
    const implementation: UntypedServiceImplementation = {
      Export: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
        const headers = call.metadata.getMap() as Record<string, string>;
        const answer = inbox.take({ ...decodeRequest(signal, 'proto', call.request), headers });
        void later(answer, () => answerGrpc(signal, answer, callback));
      },
    };
    server.addService({ Export: method }, implementation);
  }
  const { tls, port: wantedPort = 0, socketPath } = options;
  const credentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(
          tls.ca === undefined ? null : Buffer.from(tls.ca),
          [{ private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) }],
          tls.ca !== undefined,
        );
  const address = socketPath === undefined ? `127.0.0.1:${wantedPort}` : `unix:${socketPath}`;
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync(address, credentials, (error, port) => (error === null ? resolve(port) : reject(error)));
  const port = await promise;
  return inbox.asEndpoint(port, socketPath === undefined ? `localhost:${port}` : address, async () =>
    server.forceShutdown(),
  );
}

/** Starts an OTLP/HTTP server on a free port of the loopback address, or on `port`. */
export async function startHttpEndpoint(options: { tls?: TestCertificate; port?: number } = {}): Promise<OtlpEndpoint> {
  const inbox = new Inbox();
  const listener = (request: IncomingMessage, response: ServerResponse) => void handleHttp(inbox, request, response);
  const { tls, port: wantedPort = 0 } = options;
  const server =
    tls === undefined
      ? createServer(listener)
      : createTlsServer(
          { ...tls, requestCert: tls.ca !== undefined, rejectUnauthorized: tls.ca !== undefined },
          listener,
        );
  server.listen(wantedPort, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return inbox.asEndpoint(port, `${tls === undefined ? 'http' : 'https'}://localhost:${port}`, async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
}

class Inbox {
  readonly #received: Received[] = [];
  readonly #answers: Answer[] = [];
  #standing: Answer = {};
  readonly #watchers = new Set<() => void>();

  take(request: Received): Answer {
    this.#received.push(request);
    for (const notify of this.#watchers) notify();
    return this.#answers.shift() ?? this.#standing;
  }

  asEndpoint(port: number, endpoint: string, close: () => Promise<void>): OtlpEndpoint {
    return {
      port,
      endpoint,
      received: this.#received,
      answerNext: (...answers) => void this.#answers.push(...answers),
      answerAlways: (answer) => void (this.#standing = answer),
      request: (count) => this.#request(count),
      close,
    };
  }

  async #request(count: number): Promise<Received> {
    while (this.#received.length < count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#watchers.add(resolve);
      await promise;
      this.#watchers.delete(resolve);
    }
    return this.#received[count - 1]!;
  }
}

function answerGrpc(signal: Received['signal'], answer: Answer, callback: sendUnaryData<Buffer>): void {
  if (answer.code === undefined) return callback(null, Buffer.from(encodeResponse(signal, 'proto', answer)));
  const metadata = new Metadata();
  if (answer.details !== undefined) metadata.set('grpc-status-details-bin', Buffer.from(answer.details));
  callback({ code: answer.code, details: answer.message ?? status[answer.code]!, metadata });
}

async function handleHttp(inbox: Inbox, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = decompress(request.headers['content-encoding'], Buffer.concat(await request.toArray()));
  const encoding = request.headers['content-type'] === 'application/json' ? 'json' : 'proto';
  const signal = request.url?.includes('metrics') === true ? 'metrics' : 'logs';
  const headers = request.headers as Record<string, string>;
  const answer = inbox.take({ ...decodeRequest(signal, encoding, body), headers, url: request.url! });
  await later(answer, () => {
    if (answer.disconnect === true) return request.socket.destroy();
    const contentType = encoding === 'json' ? 'application/json' : 'application/x-protobuf';
    response.writeHead(answer.httpStatus ?? 200, { 'content-type': contentType, ...answer.httpHeaders });
    response.end(answer.httpBody ?? encodeResponse(signal, encoding, answer));
  });
}

function decompress(encoding: string | undefined, body: Buffer): Buffer {
  switch (encoding) {
    case undefined:
      return body;
    case 'gzip':
      return gunzipSync(body);
    case 'zstd':
      return zstdDecompressSync(body);
    default:
      throw new Error(`cannot read a body compressed with "${encoding}"`);
  }
}

async function later({ delayMs, until, hang }: Answer, act: () => void): Promise<void> {
  if (hang === true) return;
  if (until !== undefined) await until;
  if (delayMs === undefined) act();
  else setTimeout(act, delayMs).unref();
}

function identity(bytes: Buffer): Buffer {
  return bytes;
}
