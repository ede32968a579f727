import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAgent, type Agent } from '../helpers/agent.ts';
import { eventually } from '../helpers/eventually.ts';
import type { ReceivedLog } from '../helpers/otlp-decoding.ts';
import { nowMs } from '../bench/kernel-kills.ts';

/** How the service is set up for a scenario. */
export interface ObserverOptions {
  /** Configuration of the receiver; default: no runtime, as its containers are made by hand. */
  receiver?: Record<string, unknown>;
  /** Sources that have to work before anything happens. */
  works?: string[];
  /** A command that starts it. */
  through?: string[];
  /** Whether it keeps its state. */
  storage?: boolean;
}

/** A log record, and when it arrived in milliseconds since the epoch. */
export interface Arrival {
  record: ReceivedLog;
  atMs: number;
}

/** The service, whose process may come and go, and the records that arrive from it. */
export class Observer {
  readonly arrivals: Arrival[] = [];
  readonly #options: ObserverOptions;
  /** The first one's endpoint serves all of them. */
  readonly #agents: Agent[] = [];

  readonly #stateFolder: string | undefined;

  private constructor(options: ObserverOptions) {
    this.#options = options;
    if (options.storage === true) this.#stateFolder = mkdtempSync(join(tmpdir(), 'exit137-state-'));
  }

  static async start(options: ObserverOptions = {}): Promise<Observer> {
    const observer = new Observer(options);
    await observer.start();
    void observer.#noteArrivals();
    return observer;
  }

  /** Starts it, again after it was stopped or killed; resolves when its sources work. */
  async start(): Promise<void> {
    const { receiver = { sources: { docker: { enabled: false } } }, works, through } = this.#options;
    const grpcPort = this.#agents[0]?.endpoint.port;
    const agent = await startAgent({ receiver, toFile: false, grpcPort, through, stateFolder: this.#stateFolder });
    this.#agents.push(agent);
    await agent.observes(...(works ?? ['memcg', 'kernel_log']));
  }

  /** SIGTERM, and its end. */
  async stop(): Promise<void> {
    await this.#present.stop();
  }

  /** Has it see nothing from now on, until its end. */
  freeze(): void {
    process.kill(this.#present.pid, 'SIGSTOP');
  }

  /** SIGKILL, and its end. */
  async crash(): Promise<void> {
    process.kill(this.#present.pid, 'SIGKILL');
    await this.#present.stop();
  }

  /** Resolves when metrics of these containers have arrived. */
  async knows(...containerIds: string[]): Promise<void> {
    await eventually('the service knows the containers', () => {
      const known = new Set(
        this.#requests.flatMap(({ metrics }) => metrics.map(({ resource }) => resource['container.id'])),
      );
      return containerIds.every((id) => known.has(id)) || undefined;
    });
  }

  /** Its own log, of all its lives. */
  log(): string {
    return this.#agents.map((agent) => agent.stderr()).join('');
  }

  async close(): Promise<void> {
    for (const agent of this.#agents.toReversed()) await agent.close();
    if (this.#stateFolder !== undefined) rmSync(this.#stateFolder, { recursive: true, force: true });
  }

  get #present(): Agent {
    return this.#agents.at(-1)!;
  }

  get #requests() {
    return this.#agents[0]!.endpoint.received;
  }

  async #noteArrivals(): Promise<void> {
    const { endpoint } = this.#agents[0]!;
    for (let n = 1; ; n++) {
      const { logs } = await endpoint.request(n);
      for (const record of logs) this.arrivals.push({ record, atMs: nowMs() });
    }
  }
}
