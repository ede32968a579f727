import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type Docker from 'dockerode';
import packageJson from '../../package.json' with { type: 'json' };
import { renderChart, tiers, type Tier } from '../helpers/chart.ts';
import { mainPid, startDocker, type DockerHost } from '../helpers/docker-host.ts';
import { eventually } from '../helpers/eventually.ts';
import { freePort } from '../helpers/free-port.ts';
import { buildImage, type BuiltImage } from '../helpers/image.ts';
import type { ReceivedLog } from '../helpers/otlp-decoding.ts';
import { startGrpcEndpoint, type OtlpEndpoint } from '../helpers/otlp-endpoint.ts';
import { requires } from '../helpers/requires.ts';
import { toDockerRequest } from '../helpers/tier-container.ts';

const mostBytesBeyondBase = 5_000_000;

describe('the image', requires('docker', 'helm', 'kmsg'), () => {
  let host: DockerHost;
  let built: BuiltImage;

  before(
    async () => {
      host = await startDocker();
      built = await buildImage(host);
    },
    { timeout: 600_000 },
  );

  after(async () => {
    await host?.stop();
  });

  it('is the bundle on its base, and no more than 5 MB of it', async () => {
    const added = built.image.Size - built.base.Size;
    assert.ok(added > 1_000_000 && added < mostBytesBeyondBase, `the image has ${added} bytes more than its base`);
    const { Labels, User, Entrypoint } = built.image.Config;
    assert.equal(Labels['org.opencontainers.image.version'], packageJson.version);
    assert.equal(User, '65532:65532');
    assert.deepEqual(Entrypoint, ['/usr/local/bin/exit137']);
  });

  it('runs read-only and as nobody without any configuration, and finds itself healthy', async () => {
    const container = await host.docker.createContainer({
      Image: built.name,
      HostConfig: { NetworkMode: 'host', ReadonlyRootfs: true, CapDrop: ['ALL'], SecurityOpt: ['no-new-privileges'] },
      // At once, and not after half a minute.
      Healthcheck: { ...built.image.Config.Healthcheck!, Interval: 1e9, StartPeriod: 1e6 },
    });
    await container.start();
    await eventually('Docker calls it healthy', async () => {
      const { Health } = (await container.inspect()).State;
      return Health?.Status === 'healthy' || undefined;
    });
    await container.stop();
    assert.equal((await container.inspect()).State.ExitCode, 0, 'it ends by itself when it is told to');
    await container.remove();
  });

  for (const tier of tiers) {
    describe(`with what the tier ${tier} gives it`, () => {
      let run: TierRun;

      before(async () => {
        run = await startTier(host, built.name, tier);
      });

      after(async () => {
        await run?.close();
      });

      it('tells an OOM kill of a child while the main process lives on', async () => {
        const victim = await host.run(['memhog', 'signal', '64'], { name: `${tier}-child` });
        await run.knows(victim.id);
        process.kill(await mainPid(victim), 'SIGUSR1');
        const [kill] = await run.told(victim.id, 'container.oom_kill');
        assert.equal(kill!.resource['container.id'], victim.id);
        assert.equal(kill!.resource['host.name'], 'node-7');
        assert.equal(kill!.resource['k8s.node.name'], 'node-7');
        const { 'oom.evidence': evidence, 'oom.inferred': inferred, 'oom.victim': whom } = kill!.attributes;
        assert.ok((evidence as string[]).includes('memory_events'));
        if (tier === 'minimal') {
          assert.deepEqual({ inferred, name: kill!.resource['container.name'] }, { inferred: true, name: undefined });
        } else {
          assert.ok((evidence as string[]).includes('kernel_log'));
          assert.deepEqual(
            {
              inferred,
              whom,
              name: kill!.resource['container.name'],
              process: kill!.attributes['process.executable.name'],
            },
            { inferred: false, whom: 'child', name: `${tier}-child`, process: 'memhog' },
          );
        }
        assert.equal(run.logs(victim.id).length, 1);
      });

      if (tier !== 'minimal') {
        it('reads the kernel log in the way that the tier allows', async () => {
          const from = { full: '/dev/kmsg', standard: 'dmesg --syslog --raw' }[tier];
          await eventually('it says so', async () => (await run.stderr()).includes(`"from":"${from}`) || undefined);
        });

        it('tells an OOM kill of the main process, and the exit that follows', async () => {
          const victim = await host.run(['memhog', 'self', '64']);
          const [kill] = await run.told(victim.id, 'container.oom_kill');
          assert.equal(kill!.attributes['oom.victim'], 'init');
          const [exit] = await run.told(victim.id, 'container.exit');
          assert.equal(exit!.attributes['process.exit.code'], 137);
          assert.equal(exit!.attributes['container.exit.cause'], 'oom_container');
        });
      }

      it('keeps its state where the tier says, and ends in good order within the grace period', async () => {
        const exitCode = await run.stop();
        assert.equal(exitCode, 0, await run.stderr());
        assert.equal(readdirSync(run.stateFolder).length > 0, tier !== 'minimal');
        if (tier !== 'minimal') assert.equal(statSync(run.stateFolder).uid, 0);
      });
    });
  }
});

interface TierRun {
  stateFolder: string;
  /** Resolves when the metrics of a container have arrived. */
  knows(containerId: string): Promise<unknown>;
  logs(containerId: string): ReceivedLog[];
  /** Resolves with the records of one event of a container when there is one. */
  told(containerId: string, event: string): Promise<ReceivedLog[]>;
  stderr(): Promise<string>;
  stop(): Promise<number>;
  close(): Promise<void>;
}

/** Runs the container of the rendered chart on a host with Docker for a runtime. */
async function startTier(host: DockerHost, image: string, tier: Tier): Promise<TierRun> {
  const folder = mkdtempSync(join(tmpdir(), 'exit137-tier-'));
  // As a kubelet makes it.
  const stateFolder = join(folder, 'state');
  mkdirSync(stateFolder);
  chmodSync(stateFolder, 0o755);
  // As /run is on a node: what is mounted below it later is seen by who has it mounted.
  const socketFolder = join(folder, 'run');
  mkdirSync(socketFolder);
  execFileSync('mount', ['--bind', dirname(host.socket), socketFolder]);
  execFileSync('mount', ['--make-shared', socketFolder]);
  const endpoint = await startGrpcEndpoint();
  const cleanUp = async () => {
    await endpoint.close();
    execFileSync('umount', ['--lazy', socketFolder]);
    rmSync(folder, { recursive: true, force: true });
  };
  const [name, tag] = image.split(':');
  const manifests = renderChart({
    tier,
    image: { repository: name, tag },
    persistence: { hostPath: stateFolder },
    runtime: { socketFolders: [socketFolder] },
    // There is none here; test/kubernetes has one.
    kubernetesApi: { enabled: false },
    ports: { health: await freePort(), metrics: await freePort() },
    config: {
      receivers: {
        container_lifecycle: {
          collection_interval: '500ms',
          // dmesg has told a kill after half a second, where the machine has a CPU for it.
          settle_time: '4s',
          sources: { docker: { endpoint: `unix:///host${join(socketFolder, basename(host.socket))}` } },
        },
      },
      exporters: { otlp_grpc: { endpoint: `\${env:HOST_IP}:${endpoint.port}` } },
    },
  });
  const env = { HOST_IP: '127.0.0.1', POD_IP: '127.0.0.1', K8S_NODE_NAME: 'node-7' };
  const container = await host.docker.createContainer(toDockerRequest(manifests, { env, folder }));
  await container.start().catch(async (error: unknown) => {
    await cleanUp();
    throw error;
  });
  const logs = (containerId: string) =>
    endpoint.received.flatMap((request) =>
      request.logs.filter(({ resource }) => resource['container.id'] === containerId),
    );
  const run: TierRun = {
    stateFolder,
    knows: (id) => eventually(`container ${id} is known`, () => knownIds(endpoint).has(id) || undefined),
    logs,
    told: (id, event) =>
      eventually(`${event} of ${id} is told`, () => {
        const found = logs(id).filter(({ eventName }) => eventName === event);
        return found.length > 0 ? found : undefined;
      }),
    stderr: () => stderrOf(container),
    stop: async () => {
      await container.stop({ t: 15 });
      return (await container.inspect()).State.ExitCode;
    },
    close: async () => {
      await container.remove({ force: true });
      await cleanUp();
    },
  };
  // It sees itself.
  await run.knows(container.id).catch(async (cause: unknown) => {
    const text = await run.stderr();
    await run.close();
    throw new Error(text, { cause });
  });
  return run;
}

function knownIds({ received }: OtlpEndpoint): Set<unknown> {
  return new Set(received.flatMap(({ metrics }) => metrics.map(({ resource }) => resource['container.id'])));
}

async function stderrOf(container: Docker.Container): Promise<string> {
  const output = await container.logs({ stdout: true, stderr: true });
  return output.toString('latin1').replaceAll(/[^\n -~]/g, '');
}
