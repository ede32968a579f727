import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { readRecording, type Step } from './recording.ts';
import { findTimes, Timeline } from './timeline.ts';

/** What was played. */
export interface PlayedEvent {
  action: string;
  containerId: string;
  /** The kernel had counted a kill by then. */
  killCounted: boolean;
}

/**
 * A recorded host as a tree of files and the API of its runtime, at its first step. The steps that follow are played
 * one by one. All times are moved from the time of the recording to the present.
 */
export class RecordedHost {
  readonly #folder: string;
  readonly #steps: Step[];
  readonly #answers = new Map<string, string>();
  readonly #timeline: Timeline;
  readonly #server: Server;
  readonly #subscribers = new Set<ServerResponse>();
  #foldersAside = 0;

  /** Lays out the host in a folder of its own, and answers on a socket in it. */
  static async start(name: string): Promise<RecordedHost> {
    const host = new RecordedHost(await mkdtemp(join(tmpdir(), 'exit137-golden-')), readRecording(name));
    host.#server.listen(host.#socket);
    await once(host.#server, 'listening');
    return host;
  }

  private constructor(folder: string, [first, ...steps]: Step[]) {
    if (first === undefined) throw new Error('cannot play a recording without steps');
    this.#folder = folder;
    this.#steps = steps;
    this.#timeline = new Timeline(Math.max(...findTimes([...first.answers.values()].join(''))), Date.now());
    this.#server = createServer((request, response) => this.#answer(request, response));
    this.#take(first);
  }

  /** For `root_path`. */
  get root(): string {
    return join(this.#folder, 'root');
  }

  /** For the endpoint of the `docker` source. */
  get endpoint(): string {
    return `unix://${this.#socket}`;
  }

  get #socket(): string {
    return join(this.#folder, 'docker.sock');
  }

  /** Names of the containers that were there at the beginning. */
  get containerNames(): string[] {
    const listed = JSON.parse(this.#answers.get('/containers/json')!) as { Names: string[] }[];
    return listed.flatMap(({ Names }) => Names.map((name) => name.slice(1)));
  }

  /**
   * Plays the next step; undefined after the last. The event is sent before the files change: so it is known when a
   * counter tells of the kill, and always among the evidence.
   */
  async play(): Promise<PlayedEvent | undefined> {
    const step = this.#steps.shift();
    if (step?.event === undefined) return undefined;
    const { Action, Actor } = JSON.parse(step.event) as { Action: string; Actor: { ID: string } };
    this.#timeline.pass(findTimes(step.event)[0]!, Date.now(), `${Action} ${Actor.ID.slice(0, 12)}`);
    for (const [path, body] of step.answers) this.#answers.set(path, body);
    await this.#send(this.#timeline.move(step.event));
    this.#take(step);
    return { action: Action, containerId: Actor.ID, killCounted: step.files.has('proc/vmstat') };
  }

  /** Which event happened at a time; undefined for any other time. */
  eventAt(unixMs: number): string | undefined {
    return this.#timeline.labelAt(unixMs);
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #answer({ url = '' }: IncomingMessage, response: ServerResponse): void {
    const path = url.replace(/^\/v[\d.]+/, '').split('?')[0]!;
    const body = this.#answers.get(path);
    response.writeHead(path === '/events' || body !== undefined ? 200 : 404, { 'Content-Type': 'application/json' });
    if (path === '/events') this.#subscribe(response);
    else response.end(body === undefined ? '{"message":"page not found"}' : this.#timeline.move(body));
  }

  #subscribe(response: ServerResponse): void {
    response.flushHeaders();
    this.#subscribers.add(response);
    response.on('close', () => this.#subscribers.delete(response));
  }

  /** Resolves when the system has it. */
  async #send(line: string): Promise<void> {
    const sent = Array.from(this.#subscribers, (subscriber) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      subscriber.write(`${line}\n`, () => resolve());
      return promise;
    });
    await Promise.all(sent);
  }

  #take({ files, gone, answers }: Step): void {
    for (const [path, body] of answers) this.#answers.set(path, body);
    const isThere = (path: string) => existsSync(join(this.root, path));
    // The victim is dying when its death is counted.
    for (const path of gone) if (path.startsWith('proc/')) rmSync(join(this.root, path));
    // A cgroup comes and goes with all its files at once, as the kernel's do.
    const made = new Map<string, string>();
    for (const [path, content] of inOrder(files)) {
      const group = dirname(path);
      if (path.startsWith('sys/') && !isThere(group) && !made.has(group)) made.set(group, this.#makeAside());
      writeInPlace(join(made.get(group) ?? join(this.root, group), basename(path)), content);
    }
    for (const [group, aside] of made) {
      mkdirSync(dirname(join(this.root, group)), { recursive: true });
      renameSync(aside, join(this.root, group));
    }
    for (const path of gone) if (path.startsWith('sys/')) renameSync(join(this.root, path), this.#makeAside());
  }

  #makeAside(): string {
    const aside = join(this.#folder, 'aside', String(this.#foldersAside++));
    mkdirSync(aside, { recursive: true });
    return aside;
  }
}

/** Files at whose change others are read come last, so that these are up to date, as they are in the kernel. */
function inOrder(files: ReadonlyMap<string, string>): [path: string, content: string][] {
  const last = ['memory.oom_control', 'memory.events', 'vmstat'];
  return [...files].toSorted(([a], [b]) => last.indexOf(basename(a)) - last.indexOf(basename(b)));
}

/** Whoever has the file open reads the new content, and at no time an empty file. */
function writeInPlace(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const file = openSync(path, constants.O_WRONLY | constants.O_CREAT);
  try {
    writeSync(file, content);
    ftruncateSync(file, Buffer.byteLength(content));
  } finally {
    closeSync(file);
  }
}
