import type { OomVictim } from '../../receiver/kernel/oom-event.ts';
import type { ContainerSeen, Observation, VictimLogged } from '../../receiver/observation.ts';

/** An id of the right shape for a test's container: `idOf(1)`. */
export function idOf(n: number): string {
  return n.toString(16).padStart(64, '0');
}

type Facts = Partial<Extract<Observation, { containerId: string }>>;

/** Observations of one container, with what a test does not care about filled in. */
export function observationsOf(containerId: string) {
  const of = <K extends Observation['kind']>(kind: K, atMs: number, facts: Facts = {}) =>
    ({ kind, containerId, atMs, ...facts }) as Extract<Observation, { kind: K }>;
  return {
    started: (atMs: number) => of('container_started', atMs),
    exited: (atMs: number, exitCode?: number) => of('container_exited', atMs, { exitCode }),
    signalled: (atMs: number, signal?: number) => of('container_signalled', atMs, { signal }),
    stopped: (atMs: number) => of('container_stopped', atMs),
    removed: (atMs: number) => of('container_removed', atMs),
    renamed: (atMs: number, name: string) => of('container_renamed', atMs, { name }),
    paused: (atMs: number, paused: boolean) => of('container_paused', atMs, { paused }),
    hinted: (atMs: number) => of('oom_hinted', atMs),
    appeared: (atMs: number, fresh = true, memcg = `/docker/${containerId}`) =>
      of('memcg_appeared', atMs, { memcg, fresh }),
    gone: (atMs: number, memcg = `/docker/${containerId}`) => of('memcg_gone', atMs, { memcg }),
    counted: (atMs: number, oomKills = 1, more: Facts = {}) =>
      of('oom_kills_counted', atMs, { memcg: `/docker/${containerId}`, oomKills, ...more }),
    processes: (atMs: number, mainPid?: number) =>
      of('processes_seen', atMs, { pids: mainPid === undefined ? [] : [mainPid], mainPid }),
    stuck: (atMs: number) => of('memory_stuck', atMs, { reason: 'oom_kill_disabled' }),
    mainProcess: (atMs: number, alive: boolean) => of('main_process_seen', atMs, { alive }),
    seen: (atMs: number, facts: Partial<ContainerSeen>) =>
      of('container_seen', atMs, { running: true, paused: false, ...facts }),
  };
}

/** A process that the kernel log named: below a container's own limit where nothing else is said. */
export function victimOf(containerId: string, atMs: number, pid: number, facts: Partial<OomVictim> = {}): VictimLogged {
  const at = { sequence: pid, monotonicUs: atMs * 1000 };
  const memcg = `/docker/${containerId}`;
  const invocation = { at, constraint: 'CONSTRAINT_MEMCG', oomMemcg: memcg, taskMemcg: memcg };
  const victim = {
    kind: 'oom_victim',
    at,
    pid,
    comm: 'hog',
    confirmed: true,
    memcgOom: true,
    memcg,
    invocation,
  } as const;
  return { kind: 'oom_victim', source: 'kernel_log', atMs, bootId: 'b0a1c2d3', victim: { ...victim, ...facts } };
}

/** The same, where the kernel held its report back. */
export function strayOf(atMs: number, pid: number): VictimLogged {
  return victimOf('', atMs, pid, { memcg: undefined, invocation: undefined });
}
