import { GrpcClient } from '../grpc/client.ts';
import { RuntimeService } from '../grpc/generated/cri/cri_pb.ts';
import type { RuntimeName } from '../observation.ts';
import { printable } from './bad-input.ts';
import { containerdSockets, findSocket, socketsOf, type SocketProbe, type SocketSearch } from './runtime-sockets.ts';

/** Who answers at a socket. */
export interface CriRuntime {
  /** Absent for one that we have no name for. */
  runtime?: RuntimeName;
  /** What it calls itself, and its version; printable. */
  description: string;
}

/** CRI-O and cri-dockerd, which have no other way for us, before the containerd of each distribution. */
const usualSockets = ['/run/crio/crio.sock', '/run/cri-dockerd.sock', ...containerdSockets];

/**
 * Finds the runtime that is asked for, or the first of the usual ones that serves the CRI. Rejects only for an endpoint
 * that is no unix socket.
 */
export async function findCriRuntime(
  search: SocketSearch,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<SocketProbe<CriRuntime>> {
  return findSocket(socketsOf(search, usualSockets), async (socket) => {
    const client = new GrpcClient(socket);
    try {
      const answer = await client.unary(RuntimeService.method.version, {}, { signal, timeoutMs });
      // RuntimeName of Version: `containerd`, `cri-o`, and `docker` for cri-dockerd.
      const runtime = (['containerd', 'cri-o', 'docker'] as const).find((name) => name === answer.runtimeName);
      return { runtime, description: printable(`${answer.runtimeName} ${answer.runtimeVersion}`) };
    } finally {
      client.close();
    }
  });
}
