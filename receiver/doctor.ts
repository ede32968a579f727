import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Finding } from '../pipelines/component.ts';
import { describeError } from '../pipelines/errors.ts';
import { findHierarchy } from './cgroup/hierarchy.ts';
import type { Config } from './config.ts';
import { printable } from './sources/bad-input.ts';
import { findContainerd } from './sources/containerd.ts';
import { findCriRuntime } from './sources/cri-endpoint.ts';
import { findDockerEndpoint } from './sources/docker-probe.ts';
import { unreachableError, type SocketProbe } from './sources/runtime-sockets.ts';
import { NothingToObserveError } from './source.ts';
import { grantFor, probeKernelLog as probeKernelLogWays, type NoKernelLogError } from './sources/kernel-log-tap.ts';

/** Looks at what the node offers. Never rejects; takes no longer than the timeouts of the runtimes and 5 s for dmesg. */
export async function probe(config: Config): Promise<Finding[]> {
  const kubernetes = await probeKubernetes(config);
  return [
    await probeDocker(config, kubernetes.state === 'found'),
    kubernetes,
    probeMemcg(config),
    probeVmstat(config),
    probeProcesses(config),
    await probeKernelLog(config),
  ];
}

async function probeDocker(
  { root_path, sources: { docker, containerd, cri } }: Config,
  isReplaced: boolean,
): Promise<Finding> {
  const what = 'container runtime';
  const lost = 'names, exits, exit codes, restarts; on cgroup v1 most kills of main processes';
  if (!docker.enabled) {
    const detail = 'sources::docker::enabled is false';
    const asksNone = !containerd.enabled && !cri.enabled;
    return { what, state: 'unused', detail, lost: asksNone ? `${lost}; of pods k8s_attributes has most of it` : lost };
  }
  const search = { endpoint: docker.endpoint || undefined, hostRoot: root_path };
  const found = await findDockerEndpoint(search, { timeoutMs: docker.timeout }, new AbortController().signal);
  if (found.reachable)
    return { what, state: 'found', detail: `${found.runtime} ${found.version} at ${found.endpoint}` };
  if (isReplaced && found.why === 'missing') return { what, state: 'unused', detail: found.error };
  return {
    what,
    state: 'missing',
    detail: found.error,
    lost,
    grant:
      found.why === 'permission_denied'
        ? 'run as root, or as a member of the group that owns the socket'
        : 'start Docker or Podman, or set sources::docker::endpoint',
  };
}

/**
 * containerd tells more by its own API than by the CRI, and either is enough. Another runtime may serve the CRI beside it,
 * and be the one that the kubelet uses: then both are asked.
 */
async function probeKubernetes(config: Config): Promise<Finding> {
  const { root_path, sources } = config;
  const { enabled, endpoint, timeout } = sources.containerd;
  if (!enabled) return probeCri(config);
  const found = await findContainerd({ endpoint: endpoint || undefined, hostRoot: root_path }, timeout);
  if (found.reachable) {
    const containerd = `containerd ${printable(found.answer)} at unix://${found.socket}`;
    const beside = await findBeside(config, found.socket);
    return { what: kubernetes, state: 'found', detail: [containerd, ...beside].join(', and ') };
  }
  if (sources.cri.enabled) return probeCri(config);
  return findNoKubernetes(found, 'containerd', endpoint);
}

/** Whom the source `cri` asks where `containerd` answers at a socket. */
async function findBeside({ root_path, sources: { cri } }: Config, containerd: string): Promise<string[]> {
  if (!cri.enabled) return [];
  const found = await findCriRuntime({ endpoint: cri.endpoint || undefined, hostRoot: root_path }, cri.timeout);
  if (!found.reachable || found.socket === containerd || found.answer.runtime === 'docker') return [];
  return [`${found.answer.description} at unix://${found.socket}`];
}

const kubernetes = 'runtime of Kubernetes';
const lostWithoutKubernetes = 'names, exits, exit codes and restarts of pods';

async function probeCri({ root_path, sources: { cri } }: Config): Promise<Finding> {
  const what = kubernetes;
  if (!cri.enabled) return { what, state: 'unused', detail: 'sources::cri::enabled is false' };
  const search = { endpoint: cri.endpoint || undefined, hostRoot: root_path };
  const found = await findCriRuntime(search, cri.timeout);
  if (!found.reachable) return findNoKubernetes(found, 'cri', cri.endpoint);
  return { what, state: 'found', detail: `${found.answer.description} at unix://${found.socket}` };
}

function findNoKubernetes(
  probed: SocketProbe<unknown> & { reachable: false },
  source: 'containerd' | 'cri',
  endpoint: string,
): Finding {
  const what = kubernetes;
  const error = unreachableError(probed, endpoint !== '');
  if (error instanceof NothingToObserveError) return { what, state: 'unused', detail: error.message };
  const grant =
    probed.why === 'permission_denied' ? 'run as root' : `start the runtime, or set sources::${source}::endpoint`;
  return { what, state: 'missing', detail: error.message, lost: lostWithoutKubernetes, grant };
}

function probeMemcg({ root_path, sources: { memcg } }: Config): Finding {
  const what = 'memory cgroups';
  const lost = 'OOM kills of child processes, memory';
  if (!memcg.enabled) return { what, state: 'unused', detail: 'sources::memcg::enabled is false', lost };
  try {
    const { version, root, localEvents } = findHierarchy(root_path);
    const local = version === 2 && localEvents ? ', memory_localevents' : '';
    return { what, state: 'found', detail: `cgroup v${version} at ${root}${local}` };
  } catch (error) {
    const grant = 'mount the memory cgroups, or set root_path to where the host is mounted';
    return { what, state: 'missing', detail: describeError(error), lost, grant };
  }
}

function probeVmstat({ root_path }: Config): Finding {
  const what = "kernel's count of kills";
  const path = join(root_path, 'proc/vmstat');
  const total = /^oom_kill (\d+)$/m.exec(tryReading(path) ?? '')?.[1];
  if (total !== undefined) return { what, state: 'found', detail: `${path}: ${total} since boot` };
  return {
    what,
    state: 'missing',
    detail: `${path} has no oom_kill`,
    lost: 'the proof that no kill was missed; on cgroup v1 kills are seen later',
    grant: "mount the host's /proc, or use Linux 4.13 or newer",
  };
}

function probeProcesses({ root_path }: Config): Finding {
  const what = "host's processes";
  const path = join(root_path, 'proc/1/status');
  if (/^NSpid:\s+1$/m.test(tryReading(path) ?? '')) return { what, state: 'found', detail: join(root_path, 'proc') };
  return {
    what,
    state: 'missing',
    detail: `${path} is not to be read, or not the host's first process`,
    lost: 'a child is told from the main process only after the settle time',
    grant: "mount the host's /proc, or share its pid namespace",
  };
}

async function probeKernelLog({ root_path, sources: { kernel_log } }: Config): Promise<Finding> {
  const what = 'kernel log';
  const lost = "the victim's pid and name, and whose limit it was; kills are known by counters only";
  if (!kernel_log.enabled) return { what, state: 'unused', detail: 'sources::kernel_log::enabled is false', lost };
  try {
    const { from, refused } = await probeKernelLogWays({ hostRoot: root_path, file: kernel_log.file || undefined });
    if (refused.length === 0) return { what, state: 'found', detail: from };
    return { what, state: 'found', detail: `${from}, because ${refused.join('; ')}`, grant: grantFor(refused) };
  } catch (error) {
    const { refused } = error as NoKernelLogError;
    return { what, state: 'missing', detail: refused.join('; '), lost, grant: grantFor(refused) };
  }
}

function tryReading(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}
