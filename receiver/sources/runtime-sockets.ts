import { createConnection } from 'node:net';
import { join } from 'node:path';
import { describeError } from '../../pipelines/errors.ts';
import { GrpcError } from '../grpc/client.ts';
import { NothingToObserveError } from '../source.ts';

/**
 * Where containerd listens. Distributions of Kubernetes bring their own, and mostly beside one of Docker's, which runs
 * no pods: theirs come first.
 */
export const containerdSockets: readonly string[] = [
  '/run/k3s/containerd/containerd.sock', // k3s and RKE2
  '/run/k0s/containerd.sock',
  '/var/snap/microk8s/common/run/containerd.sock',
  '/run/containerd/containerd.sock',
];

/** Why nobody answers at a socket: what to do about it differs. */
export type Unreachable =
  /** There is no such socket. */
  | 'missing'
  /** The socket is there and is not ours to open. */
  | 'permission_denied'
  /** The socket is there and nobody listens. */
  | 'refused'
  /** Somebody listens and does not answer in time. */
  | 'no_answer'
  /** Somebody answers who does not serve what was asked for, such as Docker's containerd without its CRI plugin. */
  | 'not_served'
  /** Anything else, such as an answer of somebody else; the error tells. */
  | 'failed';

/** What became of asking who answers at a socket. `Answer` is what was asked for. */
export type SocketProbe<Answer> =
  | { socket: string; reachable: true; answer: Answer }
  | { socket: string; reachable: false; why: Unreachable; error: string };

/** Where a runtime is looked for. */
export interface SocketSearch {
  /** `unix:///path` or `/path`, as it is seen from here; absent: the usual sockets below the host's root. */
  endpoint?: string;
  /** Where the host's root file system is seen from here. */
  hostRoot: string;
}

/**
 * The sockets to try, best first: the one that was asked for, or the usual ones.
 *
 * @throws for an endpoint that is no unix socket.
 */
export function socketsOf({ endpoint, hostRoot }: SocketSearch, usual: readonly string[]): string[] {
  if (endpoint === undefined) return usual.map((path) => join(hostRoot, path));
  const path = endpoint.replace(/^unix:\/\/(?=\/)/, '');
  if (!path.startsWith('/')) throw new Error(`cannot use endpoint "${endpoint}": expected unix:///path`);
  return [path];
}

/** How much each failure tells of what is wrong on this node. */
const telling: readonly Unreachable[] = [
  'permission_denied',
  'no_answer',
  'failed',
  'refused',
  'not_served',
  'missing',
];

/** What it means that nobody answers: nothing is wrong where `isExpected` is false, and nobody is there who could. */
export function unreachableError(
  { why, error }: SocketProbe<unknown> & { reachable: false },
  isExpected: boolean,
): Error {
  if (isExpected) return new Error(error);
  if (why === 'missing') return new NothingToObserveError('there is none of the usual sockets');
  return why === 'not_served' ? new NothingToObserveError(error) : new Error(error);
}

/**
 * Asks at each socket in turn who answers, and returns the first that does; where none does, the one whose failure tells
 * most. `ask` is called where somebody listens, and rejects with a GrpcError. Never rejects.
 */
export async function findSocket<Answer>(
  sockets: readonly string[],
  ask: (socket: string) => Promise<Answer>,
): Promise<SocketProbe<Answer>> {
  const failures: (SocketProbe<Answer> & { reachable: false })[] = [];
  for (const socket of sockets) {
    const probe = await probeSocket(socket, ask);
    if (probe.reachable) return probe;
    failures.push(probe);
  }
  const worst = failures.toSorted((a, b) => telling.indexOf(a.why) - telling.indexOf(b.why))[0]!;
  if (failures.length === 1 || worst.why !== 'missing') return worst;
  return { ...worst, error: `there is none of ${sockets.map((socket) => `"${socket}"`).join(', ')}` };
}

async function probeSocket<Answer>(
  socket: string,
  ask: (socket: string) => Promise<Answer>,
): Promise<SocketProbe<Answer>> {
  try {
    // gRPC does not tell why it cannot connect, and is not loaded where nobody listens.
    await connect(socket);
  } catch (error) {
    return {
      socket,
      reachable: false,
      why: reasonOf(error),
      error: `cannot connect to "${socket}": ${describeError(error)}`,
    };
  }
  try {
    return { socket, reachable: true, answer: await ask(socket) };
  } catch (error) {
    return {
      socket,
      reachable: false,
      why: reasonOfAnswer(error),
      error: `cannot use "${socket}": ${describeError(error)}`,
    };
  }
}

function connect(path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const connection = createConnection({ path }, () => {
    connection.destroy();
    resolve();
  });
  connection.once('error', reject);
  return promise;
}

function reasonOfAnswer(error: unknown): Unreachable {
  const code = error instanceof GrpcError ? error.code : undefined;
  if (code === 'DEADLINE_EXCEEDED') return 'no_answer';
  return code === 'UNIMPLEMENTED' ? 'not_served' : 'failed';
}

function reasonOf(error: unknown): Unreachable {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'missing';
    case 'EACCES':
    case 'EPERM':
      return 'permission_denied';
    case 'ECONNREFUSED':
      return 'refused';
    default:
      return 'failed';
  }
}
