// CPU and memory of the bundle with many containers.
// Usage: node test/bench/footprint.bench.ts [--containers 250] [--minutes 10]. Needs root and what the Docker tests need.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startAgent } from '../helpers/agent.ts';
import { startDocker } from '../helpers/docker-host.ts';
import { eventually } from '../helpers/eventually.ts';
import { printReport } from './report.ts';
import { formatMb, formatShare, readUsage } from './usage.ts';

const { values } = parseArgs({
  options: { containers: { type: 'string', default: '250' }, minutes: { type: 'string', default: '10' } },
});
const containers = Number(values.containers);
const minutes = Number(values.minutes);

const host = await startDocker();
try {
  console.error(`starting ${containers} containers`);
  for (let n = 0; n < containers; n++) await host.run(['memhog', 'sleep'], { memoryMib: 8 });
  const agent = await startAgent({
    receiver: { sources: { docker: { endpoint: `unix://${host.socket}` } }, collection_interval: '10s' },
    toFile: false,
  });
  const rows: Record<string, string>[] = [];
  try {
    await eventually('metrics of all containers have arrived', () =>
      (agent.endpoint.received.at(-1)?.metrics.length ?? 0) >= containers ? true : undefined,
    );
    let before = readUsage(agent.pid);
    let highestRssMb = before.rssMb;
    const first = before;
    for (let minute = 1; minute <= minutes; minute++) {
      for (let n = 0; n < 12; n++) {
        await sleep(5_000);
        highestRssMb = Math.max(highestRssMb, readUsage(agent.pid).rssMb);
        // What has arrived is of no use here, and there is much of it.
        agent.endpoint.received.length = 0;
      }
      const now = readUsage(agent.pid);
      rows.push({
        minute: String(minute),
        'of a core': formatShare(now, before),
        RSS: formatMb(now.rssMb),
        'highest RSS so far': formatMb(highestRssMb),
      });
      console.error(JSON.stringify(rows.at(-1)));
      before = now;
    }
    rows.push({
      minute: 'all',
      'of a core': formatShare(before, first),
      RSS: formatMb(before.rssMb),
      'highest RSS so far': formatMb(highestRssMb),
    });
  } finally {
    await agent.close();
  }
  printReport(
    `Footprint with ${containers} containers`,
    `The bundle with both sources, defaults, and OTLP/gRPC to a server on the same machine every 10 s; ` +
      `${containers} real Docker containers, one sleeping process each. Time on a CPU by /proc/PID/task/*/schedstat, VmRSS.`,
    rows,
  );
} finally {
  await host.stop();
}
