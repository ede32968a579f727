import { constants } from 'node:os';
import { SeverityNumber, type AnyValueMap } from '@opentelemetry/api-logs';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import { formatBytes } from '../pipelines/units.ts';
import type { Container } from './container-table.ts';
import type {
  ContainerExit,
  ContainerRestart,
  CrashLoop,
  Incident,
  LimitScope,
  MemoryStuck,
  NodeOomKill,
  OomKill,
  PodOomKill,
} from './incident.ts';
import type { PodFacts } from './observation.ts';
import { identifyMemcg } from './cgroup/identity.ts';
import { scopeName, type events } from './metadata.ts';
import type { Resources } from './resources.ts';
import { toHrTime } from './metrics-frame.ts';
import { attributesOfVictim } from './victim-attributes.ts';

/** What is particular to one incident's record. */
interface Told {
  eventName: keyof typeof events;
  severity: SeverityNumber;
  /** One human sentence. */
  body: string;
  attributes: AnyValueMap;
}

/** Makes log records of incidents. Pure. */
export class LogsBuilder {
  readonly #resources: Resources;
  readonly #scope: { name: string; version: string };

  constructor(resources: Resources, version: string) {
    this.#resources = resources;
    this.#scope = { name: scopeName, version };
  }

  of(incident: Incident): ReadableLogRecord {
    const { eventName, severity, body, attributes } = tell(incident);
    return {
      hrTime: toHrTime(incident.atMs),
      hrTimeObserved: toHrTime(incident.observedAtMs),
      severityNumber: severity,
      severityText: SeverityNumber[severity],
      eventName,
      body,
      attributes: withoutAbsent(attributes),
      droppedAttributesCount: 0,
      resource: this.#resourceOf(incident),
      instrumentationScope: this.#scope,
    };
  }

  #resourceOf(incident: Incident): Resource {
    if ('container' in incident) return this.#resources.ofLogs(incident.container);
    const pod = incident.kind === 'pod_oom_kill' ? incident.pod : undefined;
    return pod === undefined ? this.#resources.node : this.#resources.ofPod(pod);
  }
}

function tell(incident: Incident): Told {
  switch (incident.kind) {
    case 'oom_kill':
      return tellOomKill(incident);
    case 'pod_oom_kill':
      return tellPodOomKill(incident);
    case 'node_oom_kill':
      return tellNodeOomKill(incident);
    case 'memory_stuck':
      return tellMemoryStuck(incident);
    case 'exit':
      return tellExit(incident);
    case 'restart':
      return tellRestart(incident);
    case 'crash_loop':
      return tellCrashLoop(incident);
  }
}

const victims: Record<OomKill['victim'], string> = {
  init: 'the main process',
  child: 'a child process',
  unknown: 'a process',
};

const namedVictims: Record<OomKill['victim'], string> = {
  init: 'the main process',
  child: 'the child process',
  unknown: 'the process',
};

function tellOomKill(kill: OomKill): Told {
  const { limitBytes, named, scope } = kill;
  const livesOn = kill.mainProcessAlive === true ? '; its main process lives on' : '';
  const victim =
    named === undefined ? victims[kill.victim] : `${namedVictims[kill.victim]} ${printableName(named.victim.comm)}`;
  return {
    eventName: 'container.oom_kill',
    severity: SeverityNumber.ERROR,
    body: `The kernel's OOM killer killed ${victim} of ${nameOf(kill.container)}${whoseLimit(scope, limitBytes)}${livesOn}.`,
    attributes: {
      'oom.incident.id': kill.incidentId,
      'oom.scope': scope,
      'oom.victim': kill.victim,
      'oom.group': kill.group,
      'oom.evidence': kill.evidence,
      'oom.inferred': named === undefined,
      ...(named && attributesOfVictim(named.victim, scope)),
      'container.memory.usage.limit': limitBytes,
      'error.type': 'oom_killed',
    },
  };
}

function tellPodOomKill({ pod, incidentId, scope, group, evidence }: PodOomKill): Told {
  const where = pod === undefined ? "one of the node's pods" : `pod ${printablePod(pod)}`;
  return {
    eventName: pod === undefined ? 'system.oom_kill' : 'container.oom_kill',
    severity: SeverityNumber.ERROR,
    body: `The kernel's OOM killer killed a process of ${where}, in a container that is gone${scope === 'unknown' ? '' : `,${whoseLimit(scope)}`}.`,
    attributes: {
      'oom.incident.id': incidentId,
      'oom.scope': scope,
      'oom.victim': pod && 'unknown',
      'oom.group': group,
      'oom.evidence': evidence,
      'oom.inferred': true,
      'error.type': 'oom_killed',
    },
  };
}

function printablePod({ uid, namespace, name }: PodFacts): string {
  return name === undefined || namespace === undefined ? uid : `${namespace}/${name}`;
}

function tellNodeOomKill({ incidentId, scope, named }: NodeOomKill): Told {
  const { victim } = named;
  return {
    eventName: 'system.oom_kill',
    severity: SeverityNumber.ERROR,
    body: `The kernel's OOM killer killed ${printableName(victim.comm)} (pid ${victim.pid}), ${whereLived(named)}${whoseLimit(scope)}.`,
    attributes: {
      'oom.incident.id': incidentId,
      'oom.scope': scope,
      'oom.evidence': ['kernel_log'],
      'oom.inferred': false,
      ...attributesOfVictim(victim, scope),
      'error.type': 'oom_killed',
    },
  };
}

function whereLived({ victim, memcgSeen }: NodeOomKill['named']): string {
  const memcg = victim.memcg ?? memcgSeen;
  if (memcg === undefined) return 'in which container or group is not known';
  return identifyMemcg(memcg).containerId === undefined ? 'of no container' : 'of a container that is not kept';
}

function tellMemoryStuck({ container, reason, evidence, memcg, limitBytes }: MemoryStuck): Told {
  const why = reason === 'oom_kill_disabled' ? 'its OOM killer is disabled' : 'nothing in it can be killed';
  return {
    eventName: 'container.memory.stuck',
    severity: SeverityNumber.ERROR,
    body: `${nameOf(container)} is out of memory${whoseLimit('container', limitBytes)} and stays so: ${why}.`,
    attributes: {
      'memory.stuck.reason': reason,
      'oom.memcg': memcg,
      'oom.evidence': evidence,
      'container.memory.usage.limit': limitBytes,
    },
  };
}

function whoseLimit(scope: LimitScope, limitBytes?: number): string {
  const own = limitBytes === undefined ? '' : ` (memory limit ${formatBytes(limitBytes)})`;
  switch (scope) {
    case 'container':
    case 'unknown':
      return own;
    case 'nested':
      return ' at the limit of a group inside it';
    case 'pod':
      return " at its pod's memory limit";
    case 'node_allocatable':
      return " at the limit of all the node's pods";
    case 'cpuset':
      return ' because the memory nodes that it may use were full';
    case 'node':
      return ' because the node was out of memory';
  }
}

/** A process gives itself its name. */
function printableName(comm: string): string {
  return comm.replaceAll(/[^\x20-\x7e\u{a0}-\u{10ffff}]/gu, '?');
}

function tellExit(exit: ContainerExit): Told {
  const { exitCode, reason, cause, life, container } = exit;
  const signal = exitCode === undefined ? undefined : signalOf(exitCode);
  const uptimeS = life.startedAtMs === undefined ? undefined : Math.max(0, exit.atMs - life.startedAtMs) / 1000;
  const after = uptimeS === undefined ? '' : ` after ${formatSeconds(uptimeS)}`;
  const fine = exitCode === 0 || cause === 'stopped';
  return {
    eventName: 'container.exit',
    severity: fine ? SeverityNumber.INFO : SeverityNumber.ERROR,
    body: `${nameOf(container)} exited${withCode(exitCode, signal, after)}${explain(exit)}.`,
    attributes: {
      'process.exit.code': exitCode,
      'container.exit.signal': signal,
      'container.exit.reason': reason,
      'container.exit.cause': cause,
      'oom.evidence': exit.evidence,
      'container.uptime': uptimeS,
      'error.type': fine ? undefined : errorTypeOf(exit, signal),
    },
  };
}

function tellRestart({ container, atMs, previous, restarts = 1 }: ContainerRestart): Told {
  const downMs = previous?.endedAtMs === undefined ? undefined : atMs - previous.endedAtMs;
  const since = downMs === undefined || downMs < 0 ? '' : `, ${formatSeconds(downMs / 1000)} after it had exited`;
  const code = previous?.exitCode === undefined || since === '' ? '' : ` with code ${previous.exitCode}`;
  const count = container.workload.restarts;
  const seen = restarts === 1 ? ' seen' : `, ${restarts - 1} of them while nobody looked`;
  return {
    eventName: 'container.restart',
    severity: SeverityNumber.WARN,
    body: `${nameOf(container)} was started again${since}${code} (${count === 1 ? '1 restart' : `${count} restarts`}${seen}).`,
    attributes: {},
  };
}

function tellCrashLoop({ container, atMs, sinceMs, state, restarts }: CrashLoop): Told {
  const { lastExitCode } = container.workload;
  const code = lastExitCode === undefined ? '' : `; its last exit code is ${lastExitCode}`;
  const lasted = formatSeconds(Math.max(0, atMs - sinceMs) / 1000);
  const bodies = {
    begun: `is in a crash loop: ${restarts} restarts within ${lasted}${code}`,
    ended: `has left its crash loop after ${restarts} restarts: it has run for 10 min`,
    gone: `is gone, and its crash loop of ${restarts} restarts with it`,
  };
  return {
    eventName: 'container.crash_loop',
    severity: state === 'begun' ? SeverityNumber.ERROR : SeverityNumber.INFO,
    body: `${nameOf(container)} ${bodies[state]}.`,
    attributes: {
      'crash_loop.state': state,
      'crash_loop.restarts': restarts,
      'process.exit.code': state === 'begun' ? lastExitCode : undefined,
    },
  };
}

function withCode(exitCode: number | undefined, signal: string | undefined, after: string): string {
  if (exitCode === undefined) return `${after}, with which code is not known`;
  return signal === undefined ? ` with code ${exitCode}${after}` : ` with code ${exitCode} (${signal})${after}`;
}

function explain({ cause, exitCode, evidence, killer }: ContainerExit): string {
  switch (cause) {
    case 'oom_container':
    case 'oom_pod':
    case 'oom_node_allocatable':
    case 'oom_node':
      return `: the kernel's OOM killer killed its main process${limitOfCause[cause]}`;
    case 'stopped':
      return exitCode === undefined || exitCode === 0 ? ': it was asked to stop' : ' when it was asked to stop';
    case 'killed_externally':
      return evidence.includes('runtime_event')
        ? ': the runtime was asked to kill it'
        : ': not by the OOM killer, but by a SIGKILL from elsewhere or of its own accord';
    case 'killed_by_userspace_oom':
      return `: ${killer === 'talos' ? 'the OOM controller of Talos' : killer} wrote that it killed it`;
    default:
      return '';
  }
}

const limitOfCause = {
  oom_container: '',
  oom_pod: " at its pod's memory limit",
  oom_node_allocatable: " at the limit of all the node's pods",
  oom_node: ' because the node was out of memory',
};

function errorTypeOf({ reason, exitCode }: ContainerExit, signal: string | undefined): string | undefined {
  if (reason === 'oom_killed') return 'oom_killed';
  if (signal !== undefined) return `signal_${signal}`;
  return exitCode === undefined ? undefined : `exit_${exitCode}`;
}

/** Where a signal has two names the first stands: SIGABRT, not SIGIOT. */
const signalNames = new Map<number, string>(
  Object.entries(constants.signals)
    .toReversed()
    .map(([name, number]) => [number, name]),
);

function signalOf(exitCode: number): string | undefined {
  return exitCode > 128 ? signalNames.get(exitCode - 128) : undefined;
}

/** A pod's container by the names that the API knows it by. */
function nameOf({ name, id, pod, sandbox }: Container): string {
  const container = `container ${id.slice(0, 12)}`;
  if (pod === undefined) return name ?? container;
  const ofPod = pod.name === undefined ? `pod ${pod.uid}` : [pod.namespace, pod.name].filter(Boolean).join('/');
  if (sandbox === true) return `the sandbox of ${ofPod}`;
  return pod.containerName === undefined || pod.name === undefined
    ? `${container} of ${ofPod}`
    : `${ofPod}/${pod.containerName}`;
}

function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${Number(seconds.toPrecision(2))} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

function withoutAbsent(attributes: AnyValueMap): AnyValueMap {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
}
