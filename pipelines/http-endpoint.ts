import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What is answered to a request for one path. */
interface HttpAnswer {
  status: number;
  contentType: string;
  body: string;
}

/** Where to listen, and what to say. */
interface HttpEndpointOptions {
  host: string;
  /** 0 is any free port. */
  port: number;
  /** The only one; any other is not found. */
  path: string;
  answer: () => Promise<HttpAnswer> | HttpAnswer;
  /** Told of what goes wrong once it listens; it goes on. */
  onError: (error: unknown) => void;
}

/** A small HTTP server that answers one path. */
export interface HttpEndpoint {
  /** Rejects when it cannot listen. Resolves with the address and the port that it listens on. */
  start(): Promise<string>;
  /** Ends all connections. Never rejects; safe twice, and before `start`. */
  close(): Promise<void>;
}

/** Who asks here asks every few seconds, and at once. */
const bounds = { requestTimeout: 10_000, headersTimeout: 5_000, connectionsCheckingInterval: 5_000 };
const mostConnections = 100;

/** Makes the server of a health check or of our own metrics. Whatever a client sends, it goes on. */
export function makeHttpEndpoint({ host, port, path, answer, onError }: HttpEndpointOptions): HttpEndpoint {
  const respond = async (response: ServerResponse): Promise<void> => {
    try {
      const { status, contentType, body } = await answer();
      response.writeHead(status, { 'content-type': contentType }).end(body);
    } catch (error) {
      onError(error);
      response.writeHead(500).end();
    }
  };
  const server = createServer(bounds, (request, response) => {
    // The target need not be a path, nor can it always be parsed: `//`, say.
    if (request.url?.split('?', 1)[0] === path) void respond(response);
    else response.writeHead(404).end();
  });
  server.maxConnections = mostConnections;
  return {
    async start() {
      server.listen(port, host);
      await once(server, 'listening');
      // A connection that cannot be accepted, for lack of descriptors, would end the process.
      server.on('error', onError);
      const { address, port: actualPort, family } = server.address() as AddressInfo;
      return family === 'IPv6' ? `[${address}]:${actualPort}` : `${address}:${actualPort}`;
    },
    async close() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
