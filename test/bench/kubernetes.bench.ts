// How soon a node full of pods is known, and what that takes.
// Usage: node test/bench/kubernetes.bench.ts [--pods 50] [--containers 10] [--minutes 2] [--source containerd|cri]
// Needs root and what the containerd tests need.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startAgent, type Agent } from '../helpers/agent.ts';
import { startContainerd } from '../helpers/containerd-host.ts';
import { eventually } from '../helpers/eventually.ts';
import { formatMs, printReport } from './report.ts';
import { formatMb, formatShare, readUsage } from './usage.ts';

const { values } = parseArgs({
  options: {
    pods: { type: 'string', default: '50' },
    containers: { type: 'string', default: '10' },
    minutes: { type: 'string', default: '2' },
    source: { type: 'string', default: 'containerd' },
  },
});
const [pods, containers, minutes] = [values.pods, values.containers, values.minutes].map(Number) as [
  number,
  number,
  number,
];
const all = pods * containers;

const host = await startContainerd();
try {
  console.error(`starting ${pods} pods of ${containers} containers`);
  for (let n = 0; n < pods; n++) {
    const pod = await host.kubelet.runPod();
    for (let m = 0; m < containers; m++) await pod.run(['memhog', 'sleep'], { name: `app-${m}`, limitMib: 16 });
  }
  const beganMs = performance.now();
  const agent = await startAgent({ receiver: { sources: sources(), collection_interval: '10s' }, toFile: false });
  try {
    await agent.endpoint.request(1);
    const firstMs = performance.now() - beganMs;
    const namedInFirst = countNamed(agent);
    await agent.observes(values.source);
    const knownMs = performance.now() - beganMs;
    const atStart = readUsage(agent.pid);
    await eventually('all containers are named', () => countNamed(agent) >= all || undefined, 30);
    const before = readUsage(agent.pid);
    for (let n = 0; n < minutes * 12; n++) {
      await sleep(5_000);
      agent.endpoint.received.length = 0;
    }
    const after = readUsage(agent.pid);
    printReport(
      `A node with ${all} containers in ${pods} pods`,
      `The bundle with the source ${values.source} and defaults, on a real containerd: from before its start to its ` +
        `first metrics at an OTLP/gRPC server, and until the source works; then ${minutes} minutes of rest.`,
      [
        {
          'first export': formatMs(firstMs),
          'containers named in it': String(namedInFirst),
          'source works': formatMs(knownMs),
          'CPU until then': formatMs(atStart.cpuMs),
          'of a core afterwards': formatShare(after, before),
          RSS: formatMb(after.rssMb),
        },
      ],
    );
  } finally {
    await agent.close();
  }
} finally {
  await host.stop();
}

function sources(): Record<string, unknown> {
  const asked = { endpoint: `unix://${host.socket}` };
  const off = { enabled: false };
  return { docker: off, containerd: off, cri: off, [values.source]: asked };
}

/** Containers of which metrics with their place in Kubernetes have arrived. */
function countNamed({ endpoint }: Agent): number {
  const resources = endpoint.received.flatMap(({ metrics }) => metrics.map(({ resource }) => resource));
  const named = resources.filter((resource) => resource['k8s.container.name'] !== undefined);
  return new Set(named.map((resource) => JSON.stringify([resource['k8s.pod.uid'], resource['k8s.container.name']])))
    .size;
}
