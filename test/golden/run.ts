import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { stringify } from 'yaml';
import { eventually } from '../helpers/eventually.ts';
import {
  decodeRequest,
  type Received,
  type ReceivedLog,
  type ReceivedResourceMetrics,
} from '../helpers/otlp-decoding.ts';
import { stableMetrics } from './normal-form.ts';
import type { PlayedEvent, RecordedHost } from './recorded-host.ts';

const bundle = join(import.meta.dirname, '../../dist/main.mjs');

/** What the service made of a recorded host. */
export interface Outcome {
  exitCode: number | null;
  /** All, in their order. */
  records: ReceivedLog[];
  /** The collections in their order; the last is the one of the shutdown. */
  collections: ReceivedResourceMetrics[][];
  /** What `debug` wrote at both ends of its verbosity. */
  basic: string;
  detailed: string;
}

/** The record that must come of an event. */
const recordOf = new Map([
  ['oom', 'container.oom_kill'],
  ['die', 'container.exit'],
  ['start', 'container.restart'],
]);

/** Runs the bundle on a recorded host, plays what was recorded, and stops it when nothing changes any more. */
export async function runOn(host: RecordedHost): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), 'exit137-golden-run-'));
  const service = await Service.start(folder, host);
  try {
    await service.knows(host.containerNames);
    const due: string[] = [];
    for (let event = await host.play(); event !== undefined; event = await host.play()) {
      const record = recordDueTo(event);
      if (record === undefined) continue;
      due.push(record);
      await service.tells(due);
    }
    await service.settles();
    return await service.stop();
  } catch (cause) {
    const { detailed, ownLog } = await service.stop();
    throw new Error(`the run did not come to its end; the service wrote\n${detailed}${ownLog}`, { cause });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Docker can say `oom` more than once for one kill. */
function recordDueTo({ action, containerId, killCounted }: PlayedEvent): string | undefined {
  const eventName = recordOf.get(action);
  const isHint = action === 'oom' && !killCounted;
  return eventName === undefined || isHint ? undefined : `${eventName} of ${containerId}`;
}

/** The bundle as a process. */
class Service {
  readonly #child: ChildProcess;
  readonly #output: string;
  readonly #written: Promise<[stdout: string, stderr: string]>;

  static async start(folder: string, host: RecordedHost): Promise<Service> {
    const output = join(folder, 'telemetry.jsonl');
    const config = join(folder, 'config.yaml');
    await writeFile(config, stringify(configuration(host, output)));
    const child = spawn(process.execPath, [bundle, '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
    await once(child, 'spawn');
    return new Service(child, output);
  }

  private constructor(child: ChildProcess, output: string) {
    this.#child = child;
    this.#output = output;
    this.#written = Promise.all([text(child.stdout!), text(child.stderr!)]);
  }

  /** Waits until its metrics name these containers. */
  knows(names: readonly string[]): Promise<unknown> {
    return eventually(`the metrics name ${names.join(', ')}`, () => {
      const named = new Set(
        this.#collections()
          .at(-1)
          ?.map(({ resource }) => resource['container.name']),
      );
      return names.every((name) => named.has(name)) || undefined;
    });
  }

  /** Waits for these records, and perhaps others. */
  tells(due: readonly string[]): Promise<unknown> {
    return eventually(`the records tell of ${due.join(', ')}`, () => {
      const told = this.#records().map(
        ({ eventName, resource }) => `${eventName} of ${String(resource['container.id'])}`,
      );
      return due.every((record) => countOf(told, record) >= countOf(due, record)) || undefined;
    });
  }

  /** Waits until two collections from now on are the same. */
  settles(): Promise<unknown> {
    const before = this.#collections().length;
    return eventually('the metrics stay the same', () => {
      const [previous, last] = this.#collections().slice(before).slice(-2);
      if (previous === undefined || last === undefined) return undefined;
      return JSON.stringify(stableMetrics(previous)) === JSON.stringify(stableMetrics(last)) || undefined;
    });
  }

  /** SIGTERM, and what there is when it has exited. */
  async stop(): Promise<Outcome & { ownLog: string }> {
    this.#child.kill('SIGTERM');
    const [basic, stderr] = await this.#written;
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
    const isOwnLog = (line: string) => line.startsWith('{');
    const lines = stderr.split(/(?<=\n)/);
    return {
      exitCode: this.#child.exitCode,
      records: this.#records(),
      collections: this.#collections(),
      basic,
      detailed: lines.filter((line) => !isOwnLog(line)).join(''),
      ownLog: lines.filter(isOwnLog).join(''),
    };
  }

  #records(): ReceivedLog[] {
    return this.#requests('logs').flatMap(({ logs }) => logs);
  }

  #collections(): ReceivedResourceMetrics[][] {
    return this.#requests('metrics').map(({ metrics }) => metrics);
  }

  /** What it has written so far: one request a line. */
  #requests(signal: Received['signal']): Omit<Received, 'headers'>[] {
    const lines = readIfThere(this.#output).split('\n').slice(0, -1);
    const key = signal === 'logs' ? '{"resourceLogs"' : '{"resourceMetrics"';
    return lines.filter((line) => line.startsWith(key)).map((line) => decodeRequest(signal, 'json', Buffer.from(line)));
  }
}

function configuration({ root, endpoint }: RecordedHost, output: string): unknown {
  const exporters = {
    file: { path: output, flush_interval: '10ms' },
    debug: { verbosity: 'basic', output: 'stdout' },
    'debug/detailed': { verbosity: 'detailed', output: 'stderr' },
  };
  const pipeline = { receivers: ['container_lifecycle'], exporters: Object.keys(exporters) };
  return {
    receivers: {
      container_lifecycle: {
        root_path: root,
        collection_interval: '200ms',
        sources: { docker: { endpoint }, kernel_log: { enabled: false } },
      },
    },
    exporters,
    service: {
      telemetry: { metrics: { level: 'none' }, logs: { encoding: 'json' } },
      pipelines: { metrics: pipeline, logs: pipeline },
    },
  };
}

function countOf(all: readonly string[], one: string): number {
  return all.filter((candidate) => candidate === one).length;
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
