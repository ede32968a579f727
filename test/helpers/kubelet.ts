import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { GrpcClient } from '../../receiver/grpc/client.ts';
import { untilReady } from './docker-host.ts';
import { eventually } from './eventually.ts';
import {
  ImageService,
  NamespaceMode,
  RuntimeService,
  type ContainerStatus,
  type PodSandboxConfigSchema,
} from './generated/kubelet_pb.ts';
import { podGroups } from './pod-groups.ts';

/** The image with busybox and memhog (test/runtimes/memhog.c tells its modes). */
const image = 'localhost/exit137-test:1';

const mib = 2 ** 20;

/** A pod's place in Kubernetes, and its limit. */
interface PodOptions {
  name?: string;
  namespace?: string;
  /** Default: a new one. */
  uid?: string;
  /** The sum of its containers' limits, as a kubelet writes it into the pod's own group; default: none. */
  limitMib?: number;
}

/** A container of a pod. */
interface PodContainerOptions {
  /** Default: app. */
  name?: string;
  /** Default 32 MiB; `undefined`: none of its own. */
  limitMib?: number | undefined;
  /** Beside those that a kubelet gives. */
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  /** How often it was restarted so far. Default: 0. */
  attempt?: number;
}

/**
 * Plays the kubelet of a node: drives a container runtime over its CRI with the calls, labels, annotations and groups
 * (class burstable) that a kubelet uses. Pods are on the host's network, because there is no CNI.
 */
export class Kubelet {
  readonly #socket: string;
  readonly #folder: string;
  #client: GrpcClient;
  readonly #pods = new Set<Pod>();

  /** Logs of the containers go below `folder`, which belongs to whoever made it. */
  constructor(socket: string, folder: string) {
    this.#socket = socket;
    this.#folder = folder;
    this.#client = new GrpcClient(socket);
  }

  /** Resolves once the runtime's CRI serves, which can be later than the rest of it, and knows of the test image. */
  async untilReady(): Promise<void> {
    await eventually('the CRI serves and the image is there', async () => {
      const asked = this.call(ImageService.method.imageStatus, { image: { image } });
      return (await asked.catch(() => undefined))?.image;
    });
  }

  /** RunPodSandbox. Resolves when the pod's sandbox runs. */
  async runPod(options: PodOptions = {}): Promise<Pod> {
    const { namespace = 'shop', uid = randomUUID(), limitMib } = options;
    const name = options.name ?? `web-${uid.slice(0, 8)}`;
    const logs = join(this.#folder, 'logs', `${namespace}_${name}_${uid}`);
    mkdirSync(logs, { recursive: true });
    await podGroups.make(uid, limitMib);
    const config: MessageInitShape<typeof PodSandboxConfigSchema> = {
      metadata: { name, uid, namespace, attempt: 0 },
      // Empty, as a kubelet gives it to a pod on the host's network.
      hostname: '',
      logDirectory: logs,
      labels: podLabels(namespace, name, uid),
      annotations: { 'kubernetes.io/config.source': 'api' },
      linux: {
        cgroupParent: podGroups.nameOf(uid),
        securityContext: { namespaceOptions: { network: NamespaceMode.NODE, pid: NamespaceMode.CONTAINER } },
      },
    };
    const { podSandboxId } = await this.call(RuntimeService.method.runPodSandbox, { config });
    const pod = new Pod(this, { namespace, name, uid, logs, config, sandboxId: podSandboxId });
    this.#pods.add(pod);
    return pod;
  }

  /** One call of the CRI. */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    return this.#client.unary(method, request, { timeoutMs: 60_000 });
  }

  /** To be called when the runtime was started again: what broke is not waited for. */
  reconnect(): void {
    this.#client.close();
    this.#client = new GrpcClient(this.#socket);
  }

  /** Removes the pods with all of their containers, takes the groups away, and closes the connection. */
  async stop(): Promise<void> {
    for (const pod of this.#pods) await pod.remove();
    this.#client.close();
  }

  /** For when the runtime and all of its processes are gone: takes away the groups of pods that could not be removed. */
  async removeGroups(): Promise<void> {
    for (const { uid } of this.#pods) await podGroups.remove(uid);
  }

  /** Takes note that a pod is gone. */
  forget(pod: Pod): void {
    this.#pods.delete(pod);
  }
}

interface PodFacts {
  namespace: string;
  name: string;
  uid: string;
  /** Id of its sandbox container. */
  sandboxId: string;
  logs: string;
  config: MessageInitShape<typeof PodSandboxConfigSchema>;
}

/** A pod whose sandbox runs. */
export class Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Id of its sandbox container. */
  readonly sandboxId: string;
  readonly #kubelet: Kubelet;
  readonly #facts: PodFacts;

  /** `Kubelet.runPod` makes them. */
  constructor(kubelet: Kubelet, facts: PodFacts) {
    this.#kubelet = kubelet;
    this.#facts = facts;
    this.namespace = facts.namespace;
    this.name = facts.name;
    this.uid = facts.uid;
    this.sandboxId = facts.sandboxId;
  }

  /** CreateContainer and StartContainer; resolves when a main process that takes signals does so. */
  async run(command: string[], options: PodContainerOptions = {}): Promise<PodContainer> {
    const container = await this.#create(command, options);
    await this.#kubelet.call(RuntimeService.method.startContainer, { containerId: container.id });
    if (command[0] === 'memhog' && ['sleep', 'signal', 'hold'].includes(command[1]!)) {
      await untilReady(await container.mainPid());
    }
    return container;
  }

  /** CreateContainer, and StartContainer, which the runtime refuses: a program that is not there. */
  async runInVain(options: PodContainerOptions = {}): Promise<PodContainer> {
    const container = await this.#create(['/is/not/there'], options);
    const starting = this.#kubelet.call(RuntimeService.method.startContainer, { containerId: container.id });
    await assert.rejects(starting, /not\/there|no such file/);
    return container;
  }

  async #create(command: string[], options: PodContainerOptions): Promise<PodContainer> {
    const { name = 'app', attempt = 0 } = options;
    const limitMib = 'limitMib' in options ? options.limitMib : 32;
    const { containerId } = await this.#kubelet.call(RuntimeService.method.createContainer, {
      podSandboxId: this.sandboxId,
      sandboxConfig: this.#facts.config,
      config: {
        metadata: { name, attempt },
        image: { image, userSpecifiedImage: image },
        command,
        labels: {
          ...podLabels(this.namespace, this.name, this.uid),
          'io.kubernetes.container.name': name,
          ...options.labels,
        },
        annotations: {
          'io.kubernetes.container.hash': '5f3a1c07',
          'io.kubernetes.container.restartCount': String(attempt),
          'io.kubernetes.container.terminationMessagePath': '/dev/termination-log',
          'io.kubernetes.container.terminationMessagePolicy': 'File',
          'io.kubernetes.pod.terminationGracePeriod': '30',
          ...options.annotations,
        },
        logPath: `${name}_${attempt}.log`,
        linux: {
          resources: { memoryLimitInBytes: BigInt(limitMib ?? 0) * BigInt(mib), oomScoreAdj: 900n },
          securityContext: { namespaceOptions: { network: NamespaceMode.NODE, pid: NamespaceMode.CONTAINER } },
        },
      },
    });
    return new PodContainer(this.#kubelet, this, containerId, command, { ...options, name, attempt });
  }

  /** StopPodSandbox and RemovePodSandbox, which end and remove its containers. Safe to call twice. */
  async remove(): Promise<void> {
    const { sandboxId: podSandboxId } = this;
    await this.#kubelet.call(RuntimeService.method.stopPodSandbox, { podSandboxId });
    await this.#kubelet.call(RuntimeService.method.removePodSandbox, { podSandboxId });
    await podGroups.remove(this.uid);
    this.#kubelet.forget(this);
  }
}

/** One instance of a container of a pod. */
export class PodContainer {
  /** 64 hex digits. */
  readonly id: string;
  readonly pod: Pod;
  readonly name: string;
  readonly attempt: number;
  readonly #kubelet: Kubelet;
  readonly #command: string[];
  readonly #options: PodContainerOptions;

  /** `Pod.run` makes them. */
  constructor(
    kubelet: Kubelet,
    pod: Pod,
    id: string,
    command: string[],
    options: PodContainerOptions & { name: string; attempt: number },
  ) {
    this.#kubelet = kubelet;
    this.pod = pod;
    this.id = id;
    this.name = options.name;
    this.attempt = options.attempt;
    this.#command = command;
    this.#options = options;
  }

  /** ContainerStatus. */
  async status(): Promise<ContainerStatus> {
    const { status } = await this.#kubelet.call(RuntimeService.method.containerStatus, { containerId: this.id });
    if (status === undefined) throw new Error(`the runtime tells no status of container ${this.id}`);
    return status;
  }

  /** Host pid of the main process. */
  async mainPid(): Promise<number> {
    const request = { containerId: this.id, verbose: true };
    const { info } = await this.#kubelet.call(RuntimeService.method.containerStatus, request);
    return (JSON.parse(info['info']!) as { pid: number }).pid;
  }

  /** A signal to the main process that the runtime knows nothing of. */
  async signal(signal: NodeJS.Signals): Promise<void> {
    process.kill(await this.mainPid(), signal);
  }

  /** Resolves with the status once the main process has ended. */
  ended(): Promise<ContainerStatus> {
    return eventually(`container ${this.id} has ended`, async () => {
      const status = await this.status();
      return status.state === exitedState ? status : undefined;
    });
  }

  /** ExecSync, as a probe of a kubelet's: resolves with the exit code. */
  async exec(cmd: string[]): Promise<number> {
    const request = { containerId: this.id, cmd, timeout: 10n };
    const { exitCode } = await this.#kubelet.call(RuntimeService.method.execSync, request);
    return exitCode;
  }

  /** StopContainer: SIGTERM, and SIGKILL after the grace period. Resolves when it has ended. */
  async stop(graceSeconds = 10): Promise<void> {
    const request = { containerId: this.id, timeout: BigInt(graceSeconds) };
    await this.#kubelet.call(RuntimeService.method.stopContainer, request);
  }

  /** RemoveContainer. */
  async remove(): Promise<void> {
    await this.#kubelet.call(RuntimeService.method.removeContainer, { containerId: this.id });
  }

  /**
   * As a kubelet restarts one that has ended: a new container with the next attempt's number. The old one stays until it
   * is removed. `command` is that of the new one; default: the same.
   */
  restart(command: string[] = this.#command): Promise<PodContainer> {
    return this.pod.run(command, { ...this.#options, name: this.name, attempt: this.attempt + 1 });
  }
}

const exitedState = 2;

function podLabels(namespace: string, name: string, uid: string): Record<string, string> {
  return {
    'io.kubernetes.pod.name': name,
    'io.kubernetes.pod.namespace': namespace,
    'io.kubernetes.pod.uid': uid,
    app: 'web',
  };
}
