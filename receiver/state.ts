import * as z from 'zod';
import { openCase, type Case } from './case.ts';
import { isRunning, type Container } from './container-table.ts';
import type { OomInvocation } from './kernel/oom-dump.ts';
import type { Life } from './life.ts';
import type { VictimLogged } from './observation.ts';
import type { KnownGroup } from './sources/memcg-group.ts';
import { hasWorkloadOfPod } from './workload-table.ts';

/** Of the form of the state. Keys may be added to a version; whatever changes the meaning of one is another version. */
const version = 1;

/** Of one case that are open at one moment. */
const mostVictims = 1_000;

const amount = z.number().nonnegative();
const number = z.number();
const evidence = z.enum(['kernel_log', 'memory_events', 'vmstat', 'runtime_event', 'exit_status']);
const scope = z.enum(['container', 'pod', 'node_allocatable', 'nested', 'node', 'unknown', 'cpuset']);
const teller = z.enum(['event', 'inspection']).optional();

const lifeSchema = z.object({
  startedAtMs: number.optional(),
  endedAtMs: number.optional(),
  exitCode: number.optional(),
  pid: number.optional(),
  beginToldBy: teller,
  endToldBy: teller,
  endPresumed: z.boolean().optional(),
  previousEndedAtMs: number.optional(),
  movedMs: number.optional(),
  beganUnderOurEyes: z.boolean(),
});

const positionSchema = z.looseObject({ sequence: number.optional(), monotonicUs: number.optional() });

/** What only telemetry is made of is taken as it was written. */
const victimSchema = z
  .looseObject({
    kind: z.literal('oom_victim'),
    atMs: number,
    memcgSeen: z.string().optional(),
    bootId: z.string().optional(),
    victim: z.looseObject({
      at: positionSchema,
      pid: number,
      comm: z.string(),
      memcg: z.string().optional(),
      invocation: z
        .looseObject({
          at: positionSchema,
          memoryStat: z
            .array(z.tuple([z.string(), number]))
            .transform((entries) => new Map(entries))
            .optional(),
        })
        .optional(),
    }),
  })
  .transform((logged) => logged as unknown as VictimLogged);

const caseSchema = z.object({
  /** The life is the container's present one. */
  isPresent: z.boolean(),
  /** The life of another case. */
  life: lifeSchema.optional(),
  counted: z.array(
    z.object({
      atMs: number,
      processes: amount,
      group: z.boolean().optional(),
      ownLimitHit: z.boolean(),
      limitBytes: amount.optional(),
    }),
  ),
  named: z.array(victimSchema),
  /** So many more were named. */
  namedUnkept: amount.optional(),
  toldUncounted: amount,
  toldUnnamed: amount,
  /** Absent where it is never. */
  unnamedBeforeMs: number.optional(),
  hintedAtMs: number.optional(),
  signals: z.array(z.object({ signal: number.optional(), atMs: number })),
  stopped: z.boolean(),
  userspaceKill: z.object({ killer: z.enum(['systemd-oomd', 'earlyoom', 'talos']), atMs: number }).optional(),
  mainProcess: z.object({ alive: z.boolean(), atMs: number }).optional(),
  initKilled: z.object({ evidence: z.array(evidence), scope }).optional(),
  maybeInitKilled: z.object({ evidence: z.array(evidence), scope, atMs: number }).optional(),
  mainPid: amount.optional(),
  group: z.object({ memcg: z.string(), atMs: number, fresh: z.boolean() }).optional(),
  ended: z.object({ atMs: number, observedAtMs: number }).optional(),
  endTold: z.boolean(),
});

const podSchema = z.object({
  uid: z.string(),
  namespace: z.string().optional(),
  name: z.string().optional(),
  containerName: z.string().optional(),
  restartCount: amount.optional(),
});

const instanceSchema = z
  .object({
    containerId: z.string(),
    startedAtMs: number.optional(),
    endedAtMs: number.optional(),
    restartCount: amount.optional(),
  })
  .optional();

const groupSchema = z.object({
  memcg: z.string(),
  inode: amount,
  taken: z.object({ oomKills: amount, oomGroupKills: amount, ooms: amount, oomsBelow: amount }),
});

const lostRiseSchema = z.object({
  memcg: z.string(),
  atMs: number,
  oomKills: amount,
  processes: amount,
  group: z.boolean(),
  ownLimitHit: z.boolean(),
  goneContainerIds: z.array(z.string()),
});

const toldLostSchema = z.object({
  memcg: z.string(),
  containerId: z.string().optional(),
  processes: amount,
  atMs: number,
});

const containerSchema = z.object({
  id: z.string().regex(/^[0-9a-f]{64}$/),
  runtime: z.enum(['docker', 'containerd', 'cri-o', 'podman']).optional(),
  name: z.string().optional(),
  image: z.string().optional(),
  pod: podSchema.optional(),
  qosClass: z.enum(['guaranteed', 'burstable', 'besteffort']).optional(),
  sandbox: z.boolean().optional(),
  removed: z.boolean().optional(),
  /** Absent in what was written before pods were known: that of the workload. */
  firstSeenAtMs: number.optional(),
  life: lifeSchema.optional(),
  runtimeRestartCount: number.optional(),
  memcgSinceMs: number.optional(),
  workload: z.object({
    firstSeenAtMs: number,
    oomKills: amount,
    oomIncidents: amount,
    exits: z.object({ completed: amount, error: amount, oom_killed: amount, killed: amount }),
    restarts: amount,
    lastExitCode: number.optional(),
    lastExitAtMs: number.optional(),
    crashLoop: z
      .object({
        restartsAtMs: z.array(number),
        open: z.object({ sinceMs: number, restarts: amount }).optional(),
      })
      .optional(),
    oldest: instanceSchema,
    newest: instanceSchema,
  }),
  limitBytes: amount.optional(),
  goneAtMs: number.optional(),
  stuck: z.object({ sinceMs: number, lastMs: number, count: amount, told: z.boolean() }).optional(),
  groups: z.array(groupSchema),
  cases: z.array(caseSchema),
});

const nodeSchema = z.object({
  bootId: z.string().optional(),
  /** How far the kernel log is told. */
  log: z
    .object({
      bootId: z.string(),
      sequence: amount.optional(),
      monotonicUs: amount.optional(),
      wallTimeMs: number.optional(),
      file: z.object({ inode: amount, offset: amount, lineBytes: amount, lineCrc32: amount }).optional(),
    })
    .optional(),
  /** What the log has of that time is told. */
  countersTold: z.array(z.object({ fromUs: number, toUs: number })).optional(),
  /** Since when the runtime's events are to be told. */
  eventsSinceMs: number.optional(),
  /** Until when a runtime was asked over the CRI. */
  polledAtMs: number.optional(),
  /** All groups that there were are among those of the containers. */
  knowsAllGroups: z.boolean(),
  ledger: z.object({
    total: amount.optional(),
    unattributed: amount,
    ahead: amount,
    open: z.array(z.object({ wallMs: number, kills: amount })),
  }),
  /** Begin of the count of unattributed kills. */
  countedSinceMs: number,
  strays: z.array(victimSchema),
  /** Of pods, as far as they have counted kills. */
  slices: z.array(groupSchema).optional(),
  lost: z.object({ rises: z.array(lostRiseSchema), told: z.array(toldLostSchema) }).optional(),
});

const lineSchema = z.object({
  version: z.literal(version),
  node: nodeSchema,
  /** Those that have changed; in the first line all. */
  containers: z.array(containerSchema),
  /** Ids of those that are forgotten. */
  forgotten: z.array(z.string()),
});

export type NodeState = z.infer<typeof nodeSchema>;
export type ContainerState = z.infer<typeof containerSchema>;
type CaseState = z.infer<typeof caseSchema>;

/** What an earlier run has left. */
export interface State {
  node: NodeState;
  containers: ReadonlyMap<string, ContainerState>;
}

/** One container's part of a line. */
export function encodeContainer(state: ContainerState): string {
  return JSON.stringify(state, plain);
}

/** One line of a state file: the node's state, and that of the containers that changed since the line before. */
export function encodeLine(node: NodeState, containers: readonly string[], forgotten: readonly string[]): Buffer {
  const parts = [`"version":${version}`, `"node":${JSON.stringify(node, plain)}`];
  parts.push(`"containers":[${containers.join(',')}]`, `"forgotten":${JSON.stringify(forgotten)}`);
  return Buffer.from(`{${parts.join(',')}}\n`);
}

/**
 * Reads a state file. What is behind a line that cannot be read is left out: the process or the machine ended while it
 * was being written.
 *
 * @throws where not even the first line can be read.
 */
export function decodeState(bytes: Buffer): State {
  const lines = bytes.toString('utf8').split('\n').slice(0, -1);
  if (lines.length === 0) throw new Error('it has no line that is whole');
  const containers = new Map<string, ContainerState>();
  let node: NodeState | undefined;
  for (const text of lines) {
    const line = decodeLine(text);
    if (line instanceof Error) {
      if (node === undefined) throw line;
      break;
    }
    node = line.node;
    for (const container of line.containers) containers.set(container.id, container);
    for (const id of line.forgotten) containers.delete(id);
  }
  return { node: node!, containers };
}

function decodeLine(text: string): z.infer<typeof lineSchema> | Error {
  try {
    const { data, error } = lineSchema.safeParse(JSON.parse(text));
    if (error === undefined) return data;
    const [issue] = error.issues;
    return new Error(`"${issue?.path.join('.') ?? ''}": ${issue?.message ?? error.message}`);
  } catch {
    return new Error('it is not JSON');
  }
}

/** Maps have no form in JSON, and who lived beside a victim is known elsewhere by now. */
function plain(key: string, value: unknown): unknown {
  if (key === 'pids') return undefined;
  return value instanceof Map ? [...(value as Map<string, number>)] : value;
}

/** What is known of a container, with its groups' counters and its cases as they are at this moment. */
export function stateOf(container: Container, groups: readonly KnownGroup[], cases: readonly Case[]): ContainerState {
  const { id, runtime, name, image, pod, qosClass, sandbox, removed, firstSeenAtMs, life } = container;
  const { runtimeRestartCount, memcgSinceMs, workload, limitBytes, goneAtMs, stuck } = container;
  return {
    id,
    runtime,
    name,
    image,
    pod,
    qosClass,
    sandbox,
    removed,
    firstSeenAtMs,
    life,
    runtimeRestartCount,
    memcgSinceMs,
    workload,
    limitBytes,
    goneAtMs,
    stuck,
    groups: [...groups],
    cases: cases.map((open) => stateOfCase(open, life)),
  };
}

/**
 * What the log tells of an invocation is kept with the first of its victims: of a group kill there can be thousands.
 * Those beyond the most are known to a later run by the counters alone: the container's, or the machine's, which has
 * them as unattributed.
 */
function keepVictims(named: readonly VictimLogged[]): VictimLogged[] {
  const kept = new Set<OomInvocation>();
  return named.slice(0, mostVictims).map((logged) => {
    const { victim } = logged;
    const { invocation } = victim;
    if (invocation === undefined) return logged;
    if (!kept.has(invocation)) {
      kept.add(invocation);
      return logged;
    }
    return { ...logged, victim: { ...victim, invocation: { ...invocation, memoryStat: undefined, tasks: undefined } } };
  });
}

function stateOfCase(open: Case, present: Life | undefined): CaseState {
  const { container: _container, ...known } = open;
  const { dueAtMs: _dueAtMs, killsDueByMs: _killsDueByMs, uncountedUntilMs: _uncountedUntilMs, ...rest } = known;
  const { life, ended, group, unnamedBeforeMs } = open;
  return {
    ...rest,
    named: keepVictims(open.named),
    namedUnkept: Math.max(0, open.named.length - mostVictims) || undefined,
    isPresent: life !== undefined && life === present,
    life: life === present ? undefined : life,
    group: group && { memcg: group.memcg, atMs: group.atMs, fresh: group.fresh },
    ended: ended && { atMs: ended.atMs, observedAtMs: ended.observedAtMs },
    unnamedBeforeMs: Number.isFinite(unnamedBeforeMs) ? unnamedBeforeMs : undefined,
  };
}

/**
 * The container of an earlier run, and its cases, newest first. Its group is found again, or is gone; so is
 * what ran in it, if the machine was started since.
 */
export function restore(
  state: ContainerState,
  isSameBoot: boolean,
  nowMs: number,
): { container: Container; cases: Case[] } {
  const { groups: _groups, cases, memcgSinceMs, firstSeenAtMs = state.workload.firstSeenAtMs, ...facts } = state;
  const container: Container = {
    ...facts,
    firstSeenAtMs,
    factsVersion: 0,
    memcgSinceMs: isSameBoot ? memcgSinceMs : undefined,
  };
  const restored = cases.map((open) => restoreCase(open, container));
  if (!isSameBoot) for (const holder of [container, ...restored]) forgetPids(holder);
  if (isRunning(container)) container.lostSightAtMs = nowMs;
  // What has become of a pod's container meanwhile, its next instance tells.
  else container.goneAtMs = hasWorkloadOfPod(container) ? nowMs : (container.goneAtMs ?? nowMs);
  return { container, cases: restored };
}

/** A machine that was started anew gives the same pids to others. */
function forgetPids(holder: Container | Case): void {
  if (holder.life !== undefined) holder.life.pid = undefined;
  if ('mainPid' in holder) holder.mainPid = undefined;
}

function restoreCase(
  { isPresent, life: other, ended, group, unnamedBeforeMs, namedUnkept: _namedUnkept, ...rest }: CaseState,
  container: Container,
): Case {
  const life = isPresent ? container.life : other;
  return {
    ...openCase(container, life),
    ...rest,
    // Until it is seen again.
    group: group && { ...group, gone: true },
    unnamedBeforeMs: unnamedBeforeMs ?? -Infinity,
    ended: ended && { ...ended, life: life ?? { beganUnderOurEyes: false } },
  };
}
