import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { versions } from './docker-recordings.ts';

/** What a test can make the daemon do instead of answering a call. */
type Misbehaviour = (response: ServerResponse, call: string) => void;

/**
 * Speaks the part of the Docker Engine API that the source uses, on a socket of its own. Its containers are what a test
 * says that inspections answer.
 */
export class DockerDaemon {
  version: unknown = versions.docker28;
  /** Answers to inspections by container id. They are also what is listed. */
  readonly containers = new Map<string, { State: { Status: string } }>();
  /** `Status` in the list. */
  readonly statuses = new Map<string, string>();
  /** Method, path and decoded query of each call, in their order. */
  readonly calls: string[] = [];
  /** What to do with calls whose path matches, instead of answering; the last that matches. */
  readonly misbehaviours: [RegExp, Misbehaviour][] = [];
  /** Podman 4.3 sends no header before the first event. */
  silentUntilFirstEvent = false;
  /** Events sent at once to whoever subscribes. */
  replay: string[] = [];

  readonly #server: Server;
  readonly #folder: string;
  readonly #connections = new Set<Socket>();
  readonly #subscribers = new Set<ServerResponse>();
  readonly #awaited: { pattern: RegExp; resolve: () => void }[] = [];

  /** On a socket in a folder of its own, at the given path, or on a port of the given loopback address. */
  static async start(at?: string): Promise<DockerDaemon> {
    const daemon = new DockerDaemon(await mkdtemp(join(tmpdir(), 'exit137-daemon-')));
    if (at?.startsWith('/')) await mkdir(dirname(at), { recursive: true });
    const own = join(daemon.#folder, 'docker.sock');
    if (at === undefined || at.startsWith('/')) daemon.#server.listen(at ?? own);
    else daemon.#server.listen(0, at);
    await once(daemon.#server, 'listening');
    return daemon;
  }

  private constructor(folder: string) {
    this.#folder = folder;
    this.#server = createServer((request, response) => this.#answer(request, response));
    this.#server.on('connection', (socket) => {
      this.#connections.add(socket);
      socket.on('close', () => this.#connections.delete(socket));
    });
  }

  get socketPath(): string {
    return this.endpoint.replace('unix://', '');
  }

  get endpoint(): string {
    const address = this.#server.address() as AddressInfo | string;
    if (typeof address === 'string') return `unix://${address}`;
    return `tcp://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
  }

  get openConnections(): number {
    return this.#connections.size;
  }

  /** Sends lines to all subscribers, in one chunk. */
  send(...lines: string[]): void {
    for (const subscriber of this.#subscribers) subscriber.write(lines.map((line) => `${line}\n`).join(''));
  }

  /** Resolves when a call that matches has been answered, or has been misbehaved upon; those before now don't count. */
  async called(pattern: RegExp): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#awaited.push({ pattern, resolve });
    await promise;
  }

  /** Ends the streams in good order. */
  endStreams(): void {
    for (const subscriber of this.#subscribers) subscriber.end();
  }

  /** As if the process were killed: every connection breaks and nobody listens. */
  async die(): Promise<void> {
    this.#server.close();
    for (const connection of this.#connections) connection.destroy();
    await Promise.all([...this.#connections].map((connection) => once(connection, 'close')));
  }

  async stop(): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    this.#server.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const call = `${request.method} ${decodeURIComponent(request.url ?? '')}`;
    this.calls.push(call);
    const misbehaviour = this.misbehaviours.findLast(([pattern]) => pattern.test(call));
    if (misbehaviour === undefined) this.#behave(request.url ?? '', response);
    else misbehaviour[1](response, call);
    for (const { pattern, resolve } of this.#awaited) if (pattern.test(call)) resolve();
  }

  #behave(url: string, response: ServerResponse): void {
    const path = url.replace(/^\/v[\d.]+/, '').split('?')[0]!;
    if (path === '/version') sendJson(response, 200, this.version);
    else if (path === '/events') this.#subscribe(response);
    else if (path === '/containers/json') sendJson(response, 200, this.#list());
    else if (path.startsWith('/containers/')) this.#inspect(path.split('/')[2]!, response);
    else sendJson(response, 404, { message: 'page not found' });
  }

  #subscribe(response: ServerResponse): void {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    if (!this.silentUntilFirstEvent) response.flushHeaders();
    for (const line of this.replay) response.write(`${line}\n`);
    this.#subscribers.add(response);
    response.on('close', () => this.#subscribers.delete(response));
  }

  #list(): unknown {
    return Array.from(this.containers, ([Id, { State }]) => ({
      Id,
      Names: ['/listed'],
      State: State.Status,
      Status: this.statuses.get(Id) ?? (State.Status === 'running' ? 'Up 2 seconds' : 'Exited (0) 2 seconds ago'),
    }));
  }

  #inspect(id: string, response: ServerResponse): void {
    const container = this.containers.get(id);
    if (container === undefined) sendJson(response, 404, { message: `No such container: ${id}` });
    else sendJson(response, 200, container);
  }
}

/** Answers with this status and text, whatever the call was. */
export function answerWith(status: number, text: string): (response: ServerResponse) => void {
  return (response) => {
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(text);
  };
}

/** Takes the call and never answers. */
export const neverAnswer: Misbehaviour = () => {};

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  answerWith(status, JSON.stringify(value))(response);
}
