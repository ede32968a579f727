// How long after the start of the process its first metrics arrive. Usage: node test/bench/startup.bench.ts [--runs 20]
// Needs root and what the Docker tests need.
import { parseArgs } from 'node:util';
import { startAgent } from '../helpers/agent.ts';
import { startDocker } from '../helpers/docker-host.ts';
import { formatMs, percentile, printReport } from './report.ts';

const { values } = parseArgs({ options: { runs: { type: 'string', default: '20' } } });
const runs = Number(values.runs);

const host = await startDocker();
const startsMs: number[] = [];
try {
  await Promise.all(Array.from({ length: 10 }, () => host.run(['memhog', 'sleep'])));
  for (let run = 0; run < runs; run++) {
    const beganMs = performance.now();
    const agent = await startAgent({
      receiver: { sources: { docker: { endpoint: `unix://${host.socket}` } } },
      toFile: false,
    });
    await agent.endpoint.request(1);
    startsMs.push(performance.now() - beganMs);
    await agent.close();
  }
} finally {
  await host.stop();
}
printReport(
  'Start → first export',
  `From before the bundle is started to the arrival of its first metrics at an OTLP/gRPC server on the same machine, ` +
    `with ten containers and both sources; ${runs} starts.`,
  [
    {
      p50: formatMs(percentile(startsMs, 0.5)),
      p90: formatMs(percentile(startsMs, 0.9)),
      max: formatMs(Math.max(...startsMs)),
    },
  ],
);
