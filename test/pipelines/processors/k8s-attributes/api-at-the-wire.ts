import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How one request for pods is answered. */
type Answer = (response: ServerResponse, query: URLSearchParams) => void;

/** A server that is asked for pods and answers as a test wants it to: for what a real API server does too seldom. */
export interface ApiAtTheWire {
  endpoint: string;
  /** What was asked for, oldest first. */
  readonly asked: { path: string; query: URLSearchParams; headers: IncomingMessage['headers'] }[];
  close(): Promise<void>;
}

/** Answers the first request with the first answer and so on; the last stands for all that follow. */
export async function answerPods(...answers: [Answer, ...Answer[]]): Promise<ApiAtTheWire> {
  const asked: ApiAtTheWire['asked'] = [];
  const server = createServer((request, response) => {
    const { pathname: path, searchParams: query } = new URL(request.url!, 'http://api');
    const answer = answers[Math.min(asked.length, answers.length - 1)]!;
    asked.push({ path, query, headers: request.headers });
    answer(response, query);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A list, or a page of one. */
export function list(items: readonly unknown[], metadata: object = {}): Answer {
  return (response) =>
    response.end(JSON.stringify({ kind: 'PodList', metadata: { resourceVersion: '10', ...metadata }, items }));
}

/** Of a watch; a text is sent as it is. */
type Event = string | { type: string; object: unknown };

/** A watch that tells of these events and goes on. */
export function watch(...events: readonly Event[]): Answer {
  return (response) => {
    response.flushHeaders();
    for (const event of events) response.write(typeof event === 'string' ? event : `${JSON.stringify(event)}\n`);
  };
}

/** The same, and the connection breaks after it. */
export function brokenWatch(...events: readonly Event[]): Answer {
  return (response, query) => {
    watch(...events)(response, query);
    setImmediate(() => response.destroy());
  };
}

/** A refusal in the API's form. */
export function refuse(code: number, message: string, headers: Record<string, string> = {}): Answer {
  return (response) => response.writeHead(code, headers).end(JSON.stringify({ kind: 'Status', message, code }));
}
