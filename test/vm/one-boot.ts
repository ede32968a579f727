// One life of a machine, from boot to power cut. Usage: node test/vm/one-boot.ts FOLDER
// FOLDER is what was on the disk when the last one ended; it may be empty. In a container a child is killed before the
// service starts, and another one while it runs; then it is gone in an instant. Prints what it has told, and the disk.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAgent } from '../helpers/agent.ts';
import { eventually } from '../helpers/eventually.ts';
import { MemoryGroup } from '../helpers/memory-group.ts';
import { valueOf } from '../helpers/told.ts';

/** As it is printed. */
export interface Boot {
  /** Of each kill that was told, in their order, the victim. */
  told: { containerId: string; pid: number }[];
  /** Those that were made. */
  killed: { containerId: string; pid: number }[];
  /** The last values of counters. */
  counted: { oomKills: number; unattributed: number };
  log: string;
  /** Names below the folder, and the contents in base64. */
  disk: Record<string, string>;
}

const containerId = 'b007'.repeat(16);
const folder = mkdtempSync(join(tmpdir(), 'disk-'));
cpSync(process.argv[2]!, folder, { recursive: true });

const container = MemoryGroup.make('docker').make(containerId, { limitBytes: 16 * 2 ** 20 });
const killed: Boot['killed'] = [];
await killChild();
const options = { receiver: { sources: { docker: { enabled: false } } }, toFile: false, stateFolder: folder };
const agent = await startAgent(options);
await agent.observes('memcg', 'kernel_log');
await killChild();
await eventually('the kill is told', () => told().some(({ pid }) => pid === killed[1]!.pid) || undefined);
const metrics = await agent.nextMetricsOf(containerId);
process.kill(agent.pid, 'SIGKILL');
await agent.stop();

const node = agent.endpoint.received
  .flatMap((request) => request.metrics)
  .findLast((collection) => collection.metrics['system.linux.oom_kills.unattributed'] !== undefined);
const boot: Boot = {
  told: told(),
  killed,
  counted: {
    oomKills: valueOf(metrics, 'container.memory.oom_kills'),
    unattributed: valueOf(node!.metrics, 'system.linux.oom_kills.unattributed'),
  },
  log: agent.stderr(),
  disk: Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path.slice(folder.length + 1), readFileSync(path, 'base64')]),
  ),
};
process.stdout.write(`${JSON.stringify(boot)}\n`);
// What holds connections open is not waited for.
process.exit();

async function killChild(): Promise<void> {
  const procs = join(container.folder, 'cgroup.procs');
  const victim = spawn('sh', ['-c', 'echo $$ > "$0" && exec tail /dev/zero', procs], { stdio: 'ignore' });
  await once(victim, 'exit');
  assert.equal(victim.signalCode, 'SIGKILL');
  killed.push({ containerId, pid: victim.pid! });
}

function told(): Boot['told'] {
  return agent.endpoint.received
    .flatMap(({ logs }) => logs)
    .filter(({ eventName }) => eventName === 'container.oom_kill')
    .map(({ resource, attributes }) => ({
      containerId: String(resource['container.id']),
      pid: Number(attributes['process.pid']),
    }));
}
