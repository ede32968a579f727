import { describeError } from '../../pipelines/errors.ts';
import type { RuntimeName } from '../observation.ts';
import { DockerApi, NoAnswerError, type DockerApiOptions } from './docker-api.ts';
import { endpointsOf, type EndpointSearch } from './docker-endpoint.ts';

/** Why a daemon cannot be reached: what to do about it differs. */
export type Unreachable =
  /** There is no such socket or host. */
  | 'missing'
  /** The socket is there and is not ours to open. */
  | 'permission_denied'
  /** The socket is there and nobody listens. */
  | 'refused'
  /** Somebody listens and does not answer in time. */
  | 'no_answer'
  /** Anything else; the error tells. */
  | 'failed';

/** What became of asking one endpoint who answers. */
export type DockerProbe =
  | { endpoint: string; reachable: true; runtime: RuntimeName; version: string }
  | { endpoint: string; reachable: false; why: Unreachable; error: string };

/** Asks one endpoint who answers there. Never rejects; after an abort the answer is unreachable. */
export async function probeDocker(
  endpoint: string,
  options: DockerApiOptions,
  signal = new AbortController().signal,
): Promise<DockerProbe> {
  try {
    const daemon = await new DockerApi(endpoint, options).version(signal);
    return { endpoint, reachable: true, ...daemon };
  } catch (error) {
    return { endpoint, reachable: false, why: reasonOf(error), error: describeError(error) };
  }
}

/** How much each failure tells of what is wrong on this node. */
const telling: readonly Unreachable[] = ['permission_denied', 'no_answer', 'failed', 'refused', 'missing'];

/**
 * Asks the endpoints in their order and returns the first that answers; where none does, the one whose failure tells
 * most. Never rejects.
 */
export async function findDockerEndpoint(
  search: EndpointSearch,
  options: DockerApiOptions,
  signal?: AbortSignal,
): Promise<DockerProbe> {
  const failures: (DockerProbe & { reachable: false })[] = [];
  for (const endpoint of endpointsOf(search)) {
    const probe = await probeDocker(endpoint, { env: search.env, ...options }, signal);
    if (probe.reachable) return probe;
    failures.push(probe);
  }
  const worst = failures.toSorted((a, b) => telling.indexOf(a.why) - telling.indexOf(b.why))[0]!;
  if (failures.length === 1 || worst.why !== 'missing') return worst;
  const sockets = failures.map(({ endpoint }) => `"${endpoint.replace('unix://', '')}"`).join(', ');
  return { ...worst, error: `cannot find a socket of Docker or Podman: there is none of ${sockets}` };
}

function reasonOf(error: unknown): Unreachable {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof NoAnswerError) return 'no_answer';
    switch ((at as NodeJS.ErrnoException).code) {
      case 'ENOENT':
      case 'ENOTDIR':
      case 'ENOTFOUND':
        return 'missing';
      case 'EACCES':
      case 'EPERM':
        return 'permission_denied';
      case 'ECONNREFUSED':
        return 'refused';
    }
  }
  return 'failed';
}
