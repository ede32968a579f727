import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { collectorBinary } from './collector-binary.ts';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';

/** A real OpenTelemetry Collector that runs with the configuration which the README tells users to use. */
export interface Collector {
  grpcPort: number;
  httpPort: number;
  /** What its file exporter has written so far: one OTLP-JSON object for each request. */
  received(): Promise<unknown[]>;
  stop(): Promise<void>;
}

/** Starts it on free ports of this machine; resolves when it is ready. */
export async function startCollector(): Promise<Collector> {
  const folder = await mkdtemp(join(tmpdir(), 'exit137-collector-'));
  const [grpcPort, httpPort, healthPort] = [await freePort(), await freePort(), await freePort()];
  const output = join(folder, 'received.jsonl');
  const configs = ['../../docs/recipes/collector.yaml', '../collector/to-file.yaml'];
  const child = spawn(
    collectorBinary(),
    configs.flatMap((path) => ['--config', join(import.meta.dirname, path)]),
    {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        ...process.env,
        OTLP_GRPC_PORT: String(grpcPort),
        OTLP_HTTP_PORT: String(httpPort),
        HEALTH_PORT: String(healthPort),
        OUTPUT_FILE: output,
      },
    },
  );
  const log: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => log.push(text));
  await eventually('the Collector is ready', async () => {
    if (child.exitCode !== null) throw new Error(`cannot start the Collector: ${log.join('')}`);
    const answer = await fetch(`http://127.0.0.1:${healthPort}/`).catch(() => undefined);
    return answer?.ok === true ? true : undefined;
  });
  return {
    grpcPort,
    httpPort,
    received: async () => parseLines(await readFile(output, 'utf8')),
    stop: async () => {
      await terminate(child);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The exporter writes a line at a time, but a reader can see half of the last one. */
function parseLines(text: string): unknown[] {
  const complete = text.slice(0, text.lastIndexOf('\n') + 1);
  return complete
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);
}

async function terminate(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}
