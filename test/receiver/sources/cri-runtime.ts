import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import {
  Server,
  ServerCredentials,
  status,
  type MethodDefinition,
  type sendUnaryData,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import {
  ContainerState,
  RuntimeService,
  type ContainerStatusRequest,
  type ContainerStatusSchema,
  type PodSandboxSchema,
} from '../../../receiver/grpc/generated/cri/cri_pb.ts';

type Plain<M> = Extract<M, { $typeName?: undefined }>;

/** An answer to ContainerStatus. */
interface Status {
  info: Record<string, string>;
  status: Plain<MessageInitShape<typeof ContainerStatusSchema>>;
}

/** A runtime at the wire: answers as CRI-O 1.33 does, with what a test puts into it. */
export interface CriRuntime {
  /** A root file system in which it is at the usual place. */
  hostRoot: string;
  socket: string;
  runtimeName: string;
  sandboxes: MessageInitShape<typeof PodSandboxSchema>[];
  /** The answers to ContainerStatus, by id; the listing follows them. */
  containers: Map<string, Status>;
  /** How often each method was called. */
  calls: Record<string, number>;
  /** Answers nothing while it is true. */
  stalls: boolean;
  /** Knows none of the methods, as a containerd without its CRI plugin. */
  isDisabled: boolean;
  /** Never answers for the status of these. */
  readonly hanging: Set<string>;
  stop(): Promise<void>;
}

/** Serves the CRI on a socket below a root file system of its own. */
export async function startCriRuntime(place = 'run/crio/crio.sock'): Promise<CriRuntime> {
  const hostRoot = await mkdtemp(join(tmpdir(), 'exit137-cri-'));
  const socket = join(hostRoot, place);
  await mkdir(dirname(socket), { recursive: true });
  const server = new Server();
  const runtime: CriRuntime = {
    hostRoot,
    socket,
    runtimeName: 'cri-o',
    sandboxes: [],
    containers: new Map(),
    calls: {},
    stalls: false,
    isDisabled: false,
    hanging: new Set(),
    stop: async () => {
      server.forceShutdown();
      await rm(hostRoot, { recursive: true });
    },
  };
  const serve = <O extends DescMessage>(
    method: DescMethod & { output: O },
    answer: (request: unknown) => MessageInitShape<O> | undefined,
  ): void => {
    const handle = ((call: { request: unknown }, respond: sendUnaryData<unknown>) => {
      runtime.calls[method.name] = (runtime.calls[method.name] ?? 0) + 1;
      const { containerId = '' } = call.request as { containerId?: string };
      if (runtime.stalls || runtime.hanging.has(containerId)) return;
      if (runtime.isDisabled) return respond({ code: status.UNIMPLEMENTED, details: 'unknown service' });
      const answered = answer(call.request);
      if (answered === undefined) respond({ code: status.NOT_FOUND, details: 'no such container' });
      else respond(null, create(method.output, answered));
    }) as UntypedHandleCall;
    server.addService({ [method.name]: definitionOf(method) }, { [method.name]: handle });
  };
  const { version, listPodSandbox, listContainers, containerStatus } = RuntimeService.method;
  serve(version, () => ({ runtimeName: runtime.runtimeName, runtimeVersion: '1.33.0' }));
  serve(listPodSandbox, () => ({ items: runtime.sandboxes }));
  serve(listContainers, () => ({
    containers: Array.from(runtime.containers, ([id, answer]) => ({
      id,
      state: answer.status.state,
      createdAt: answer.status.createdAt,
    })),
  }));
  serve(containerStatus, (request) => {
    const { containerId, verbose } = request as ContainerStatusRequest;
    const answer = runtime.containers.get(containerId);
    return answer && { ...answer, info: verbose ? answer.info : {} };
  });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix://${runtime.socket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  return runtime;
}

/** As grpc-js wants it. */
function definitionOf<I extends DescMessage, O extends DescMessage>(
  method: DescMethod & { input: I; output: O },
): MethodDefinition<MessageShape<I>, MessageShape<O>> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: (message) => Buffer.from(toBinary(method.input, message)),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(method.output, message)),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  };
}

const podUid = 'd1827200-d472-493a-a719-236458d06296';

const labels = {
  'io.kubernetes.container.name': 'app',
  'io.kubernetes.pod.uid': podUid,
  'io.kubernetes.pod.namespace': 'shop',
  'io.kubernetes.pod.name': 'web-d1827200',
};

/** The answer of CRI-O 1.33.0 about a container that runs. */
export function runningContainer(id: string, startedAtMs: number): Status {
  return {
    // Cut: the runtimeSpec of the real one has 20 KB.
    info: {
      info: `{"sandboxID":"32","pid":7078,"runtimeSpec":{"linux":{"cgroupsPath":"/x/crio-${id}"}},"privileged":false}`,
    },
    status: {
      id,
      state: ContainerState.CONTAINER_RUNNING,
      createdAt: nanos(startedAtMs - 35),
      startedAt: nanos(startedAtMs),
      metadata: { name: 'app', attempt: 2 },
      image: { image: 'localhost/exit137-test:1' },
      labels,
      annotations: { 'io.kubernetes.container.restartCount': '2', 'io.kubernetes.container.hash': '5f3a1c07' },
    },
  };
}

/** The answer about one that has ended; CRI-O goes on to give its pid. */
export function endedContainer(id: string, startedAtMs: number, finishedAtMs: number, exitCode: number): Status {
  const running = runningContainer(id, startedAtMs);
  const state = ContainerState.CONTAINER_EXITED;
  const reason = exitCode === 137 ? 'OOMKilled' : 'Error';
  return { ...running, status: { ...running.status, state, finishedAt: nanos(finishedAtMs), exitCode, reason } };
}

/** A pod's sandbox as CRI-O 1.33.0 lists it. */
export function sandbox(id: string): MessageInitShape<typeof PodSandboxSchema> {
  return {
    id,
    createdAt: nanos(1_795_274_171_314),
    labels: { ...labels, 'io.kubernetes.container.name': 'POD' },
    metadata: { name: 'web-d1827200', uid: podUid, namespace: 'shop' },
  };
}

function nanos(ms: number): bigint {
  return BigInt(ms) * 1_000_000n;
}
