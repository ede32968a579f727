// How long after the kernel has killed a process its record arrives at the exporter's other end.
// Usage: node test/bench/latency.bench.ts [--kills 200]. Needs root and what the Docker tests need.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startAgent } from '../helpers/agent.ts';
import { mainPid, startDocker, type DockerHost } from '../helpers/docker-host.ts';
import { eventually } from '../helpers/eventually.ts';
import type { OtlpEndpoint } from '../helpers/otlp-endpoint.ts';
import { KernelKills, nowMs } from './kernel-kills.ts';
import { formatMs, percentile, printReport } from './report.ts';

const { values } = parseArgs({ options: { kills: { type: 'string', default: '200' } } });
const kills = Number(values.kills);

const host = await startDocker();
try {
  const docker = { endpoint: `unix://${host.socket}` };
  const rows = [
    { sources: 'docker and memcg', ...(await measure(host, { docker })) },
    { sources: 'memcg alone', ...(await measure(host, { docker: { enabled: false } })) },
  ];
  printReport(
    'Latency: kill → record on the wire',
    `From the kernel's own "Killed process" time to the arrival of the request at an OTLP/gRPC server on the same machine. ` +
      `Children of a Docker container's main process, ${kills} one after the other at random intervals of up to 300 ms.`,
    rows,
  );
} finally {
  await host.stop();
}

/** Notes the time of each kill's arrival, for as long as requests come. */
async function noteArrivals(endpoint: OtlpEndpoint, containerId: string, arrivalsMs: number[]): Promise<void> {
  for (let n = endpoint.received.length + 1; ; n++) {
    const { logs } = await endpoint.request(n);
    for (const { eventName, resource } of logs) {
      if (eventName === 'container.oom_kill' && resource['container.id'] === containerId) arrivalsMs.push(nowMs());
    }
  }
}

async function measure(on: DockerHost, sources: Record<string, unknown>): Promise<Record<string, string>> {
  const container = await on.run(['memhog', 'signal', '64']);
  const pid = await mainPid(container);
  const agent = await startAgent({ receiver: { sources, collection_interval: '10s' }, toFile: false, consumers: 10 });
  const log = new KernelKills();
  const arrivalsMs: number[] = [];
  const killsMs: number[] = [];
  try {
    await eventually('the agent knows the container', () =>
      agent.allMetricsOf(container.id).length > 0 ? true : undefined,
    );
    void noteArrivals(agent.endpoint, container.id, arrivalsMs);
    for (let n = 1; n <= kills; n++) {
      await sleep(Math.random() * 300);
      process.kill(pid, 'SIGUSR1');
      await eventually(`kill ${n} has arrived`, () => (arrivalsMs.length >= n ? true : undefined));
      killsMs.push(...log.read());
    }
    // The kernel writes its line after it has counted, and so at times after the record has arrived.
    await eventually('the kernel has told of all kills', () => {
      killsMs.push(...log.read());
      return killsMs.length >= kills ? true : undefined;
    });
  } finally {
    log.close();
    await agent.close();
    await container.remove({ force: true });
  }
  if (killsMs.length !== kills || arrivalsMs.length !== kills) {
    throw new Error(
      `${kills} kills were asked for: the kernel told of ${killsMs.length}, ${arrivalsMs.length} arrived`,
    );
  }
  const latenciesMs = arrivalsMs.map((arrivalMs, n) => arrivalMs - killsMs[n]!);
  return {
    p50: formatMs(percentile(latenciesMs, 0.5)),
    p90: formatMs(percentile(latenciesMs, 0.9)),
    p99: formatMs(percentile(latenciesMs, 0.99)),
    max: formatMs(Math.max(...latenciesMs)),
    'missed or twice': '0',
  };
}
