import type { DockerHost } from '../helpers/docker-host.ts';
import type { KubernetesNode } from './kubernetes-node.ts';
import type { Observer, ObserverOptions } from './observer.ts';

/** What a scenario cannot do without: where it is missing, the table says so. */
export type Need =
  | 'cgroup v1'
  | 'cgroup v2'
  /** A machine of which all processes are ours: some victims are the kernel's choice. */
  | 'a machine of its own'
  | 'Docker'
  /** What exit137 keeps across restarts. */
  | 'state'
  /** The record of a container that is out of memory and of which nothing can be killed. */
  | 'stuck';

/** One process that the kernel killed, and what its record has to say. */
export interface Kill {
  /** Absent for a process outside of containers. */
  containerId?: string;
  victim: 'init' | 'child';
  scope: string;
  /** On this machine; absent where only the kernel log tells. */
  pid?: number;
  /** The process's name. */
  comm?: string;
}

/** What really happened. */
export interface Truth {
  kills: Kill[];
  /** By how much the kernel's own count rose; default: one for each kill. */
  counted?: number;
  /** Ends of main processes in their order, with the cause that has to be told. */
  exits?: { containerId: string; cause: string }[];
  /** Containers that were out of memory without anything that could be killed. */
  stuck?: string[];
}

/** What a scenario acts on. Groups and processes are taken away after it. */
export interface Context {
  observer: Observer;
  node: KubernetesNode;
  /** Throws where the scenario does not need Docker. */
  docker: DockerHost;
}

/** What cannot be told where a source is missing. */
export interface Loss {
  /** For the table. */
  what: string;
  /** Lines of the service's own log that say so. */
  told: RegExp[];
  /** Who died. */
  victim?: boolean;
  /** Whether that was the main process. */
  role?: boolean;
  /** Whose limit it was. Where the kernel holds its report back, that may be missing anyhow. */
  scope?: boolean;
}

/** One thing that happens to containers for real. */
export interface Scenario {
  name: string;
  needs?: Need[];
  /** How the service is set up; those that are the same share one. */
  observer?: ObserverOptions;
  lost?: Loss;
  /** Makes it happen; resolves when it has. */
  run(context: Context): Promise<Truth>;
}
