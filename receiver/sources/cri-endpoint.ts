import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describeError } from '../../pipelines/errors.ts';
import { GrpcClient, GrpcError } from '../grpc/client.ts';
import { RuntimeService } from '../grpc/generated/cri/cri_pb.ts';
import type { RuntimeName } from '../observation.ts';
import { NothingToObserveError } from '../source.ts';
import { printable } from './bad-input.ts';
import { containerdSockets } from './runtime-sockets.ts';

/** Where a runtime that serves the CRI is looked for. */
export interface CriSearch {
  /** `unix:///…` or an absolute path; absent: the usual sockets. */
  endpoint?: string;
  /** Where the host's root file system is seen from here. */
  hostRoot: string;
  /** For one call. */
  timeoutMs: number;
}

/** Who answers at a socket. */
export interface CriRuntime {
  socket: string;
  /** Absent for one that we have no name for. */
  runtime?: RuntimeName;
  /** What it calls itself, and its version; printable. */
  description: string;
}

/** CRI-O and cri-dockerd, which have no other way for us, before the containerd of each distribution. */
const usualSockets = ['/run/crio/crio.sock', '/run/cri-dockerd.sock', ...containerdSockets];

/** The sockets to try, best first: the one that was asked for, or those of the usual ones that are there. */
function socketsOf({ endpoint, hostRoot }: CriSearch): string[] {
  if (endpoint === undefined)
    return usualSockets.map((path) => join(hostRoot, path)).filter((path) => existsSync(path));
  return [endpoint.replace(/^unix:\/\//, '')];
}

/**
 * Asks the sockets in their order who answers, and returns the first that does. Rejects where none does: with a
 * `NothingToObserveError` where there is no usual socket either.
 */
export async function findCriRuntime(search: CriSearch, signal?: AbortSignal): Promise<CriRuntime> {
  let failure: Error | undefined;
  for (const socket of socketsOf(search)) {
    try {
      return await askRuntime(socket, search.timeoutMs, signal);
    } catch (error) {
      failure ??= error as Error;
    }
  }
  throw failure ?? new NothingToObserveError('there is none of the usual sockets');
}

/** RuntimeName of Version: `containerd`, `cri-o`, and `docker` for cri-dockerd. */
async function askRuntime(socket: string, timeoutMs: number, signal?: AbortSignal): Promise<CriRuntime> {
  const client = new GrpcClient(socket);
  try {
    const answer = await client.unary(RuntimeService.method.version, {}, { signal, timeoutMs });
    const runtime = (['containerd', 'cri-o', 'docker'] as const).find((name) => name === answer.runtimeName);
    return { socket, runtime, description: printable(`${answer.runtimeName} ${answer.runtimeVersion}`) };
  } catch (cause) {
    throw new Error(`cannot reach a CRI at "${socket}": ${reasonOf(cause)}`, { cause });
  } finally {
    client.close();
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof GrpcError)) return describeError(error);
  if (error.code === 'DEADLINE_EXCEEDED') return 'it does not answer in time';
  if (error.code === 'UNIMPLEMENTED') return 'what answers there serves no CRI of version 1';
  return printable(error.message);
}
