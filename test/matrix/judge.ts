import type { ReceivedLog } from '../helpers/otlp-decoding.ts';
import type { Arrival } from './observer.ts';
import type { Kill, Loss, Truth } from './scenario.ts';

/** What the kernel did meanwhile, by its own account. */
export interface KernelAccount {
  /** By how much `oom_kill` of /proc/vmstat rose. */
  counted: number;
  /** From its log, each process once. Absent ones were overwritten before they could be read. */
  victims: { pid: number; atMs: number }[];
}

/** One line of the table. */
export interface Verdict {
  kills: number;
  records: number;
  rightContainer: number;
  rightVictim: number;
  rightScope: number;
  latenciesMs: number[];
  /** Each is a miss. */
  failures: string[];
}

/** Compares what was told with what happened. Pure. */
export function judge(truth: Truth, kernel: KernelAccount, arrivals: readonly Arrival[], lost?: Loss): Verdict {
  const failures: string[] = [];
  const expect = (what: string, actual: unknown, expected: unknown): void => {
    if (JSON.stringify(actual) !== JSON.stringify(expected)) {
      failures.push(`${what}: ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`);
    }
  };
  const kills = arrivals.filter((arrival) => isKill(arrival, kernel));
  expect('the kernel counted', kernel.counted, truth.counted ?? truth.kills.length);
  expect('records', kills.length, truth.kills.length);

  const verdict = {
    kills: truth.kills.length,
    records: kills.length,
    rightContainer: 0,
    rightVictim: 0,
    rightScope: 0,
  };
  for (const [containerId, expected] of byContainer(truth.kills, (kill) => kill.containerId)) {
    const told = kills.filter(({ record }) => containerOf(record) === containerId);
    const place = containerId === undefined ? 'outside of containers' : `container ${containerId.slice(0, 12)}`;
    if (told.length !== expected.length) failures.push(`${place}: ${told.length} of ${expected.length} kills`);
    verdict.rightContainer += Math.min(told.length, expected.length);
    const pairs = pairUp(expected, told, kernel);
    for (const { kill, record } of pairs) {
      const wrong = judgeVictim(kill, record, kernel, lost);
      if (wrong !== undefined) failures.push(`${place}: ${wrong}`);
      if (isRightVictim(kill, record, kernel)) verdict.rightVictim++;
      const scope = record.attributes['oom.scope'];
      if (scope === kill.scope) verdict.rightScope++;
      else if (scope !== 'unknown' || !(lost?.scope === true || isReportHeldBack(record))) {
        failures.push(`${place}: scope ${String(scope)}, not ${kill.scope}`);
      }
    }
  }
  judgeRest(truth, arrivals, expect);
  return { ...verdict, latenciesMs: latenciesOf(kills, kernel), failures };
}

/** Records of kills; of those outside of containers only the ones of processes that died meanwhile. */
function isKill({ record }: Arrival, { victims }: KernelAccount): boolean {
  if (record.eventName === 'container.oom_kill') return true;
  return record.eventName === 'system.oom_kill' && victims.some(({ pid }) => record.attributes['process.pid'] === pid);
}

function judgeRest(
  { exits = [], stuck = [], kills }: Truth,
  arrivals: readonly Arrival[],
  expect: (what: string, actual: unknown, expected: unknown) => void,
): void {
  const records = arrivals.map(({ record }) => record);
  const ids = new Set([...exits, ...kills].flatMap(({ containerId }) => containerId ?? []));
  const told = records.filter((record) => record.eventName === 'container.exit' && ids.has(containerOf(record) ?? ''));
  const causes = told.map(
    (record) => `${containerOf(record)?.slice(0, 12)} ${String(record.attributes['container.exit.cause'])}`,
  );
  expect(
    'exits',
    causes.toSorted(),
    exits.map(({ containerId, cause }) => `${containerId.slice(0, 12)} ${cause}`).toSorted(),
  );
  const stuckOnes = records.filter(({ eventName }) => eventName === 'container.memory.stuck').map(containerOf);
  expect('stuck containers', stuckOnes, stuck);
}

/** The record that names the victim's pid, else those of the same role first, so that no order is needed. */
function pairUp(
  kills: readonly Kill[],
  told: readonly Arrival[],
  kernel: KernelAccount,
): { kill: Kill; record: ReceivedLog }[] {
  const left = told.map(({ record }) => record);
  const take = (kill: Kill, fits: (record: ReceivedLog) => boolean) => {
    const index = left.findIndex(fits);
    return index < 0 ? [] : [{ kill, record: left.splice(index, 1)[0]! }];
  };
  const sameness: ((kill: Kill) => (record: ReceivedLog) => boolean)[] = [
    ({ pid }) =>
      ({ attributes }) =>
        pid !== undefined && attributes['process.pid'] === pid,
    (kill) => (record) => isRightVictim(kill, record, kernel) && record.attributes['oom.scope'] === kill.scope,
    (kill) => (record) => isRightVictim(kill, record, kernel),
    (kill) => (record) => isRightRole(kill, record),
    () => () => true,
  ];
  let open = kills;
  return sameness.flatMap((isSame) => {
    const pairs = open.flatMap((kill) => take(kill, isSame(kill)));
    open = open.filter((kill) => !pairs.some((pair) => pair.kill === kill));
    return pairs;
  });
}

/** The victim is named, and all that is told of it is so. */
function isRightVictim(kill: Kill, record: ReceivedLog, { victims }: KernelAccount): boolean {
  const { pid } = victimOf(record);
  return pid !== undefined && wrongVictim(kill, record, victims) === undefined && isRightRole(kill, record);
}

function isRightRole({ victim, containerId }: Kill, record: ReceivedLog): boolean {
  return containerId === undefined || victimOf(record).role === victim;
}

function judgeVictim(kill: Kill, record: ReceivedLog, kernel: KernelAccount, lost?: Loss): string | undefined {
  const { pid, role } = victimOf(record);
  const wrong = wrongVictim(kill, record, kernel.victims);
  if (wrong !== undefined) return wrong;
  if (pid === undefined && lost?.victim !== true) return `the victim is not named${evidenceOf(record)}`;
  if (isRightRole(kill, record) || (role === 'unknown' && lost?.role === true)) return undefined;
  return `the victim is ${role}, not ${kill.victim}${evidenceOf(record)}`;
}

function wrongVictim(kill: Kill, record: ReceivedLog, victims: KernelAccount['victims']): string | undefined {
  const { pid, comm } = victimOf(record);
  if (pid === undefined) return undefined;
  if (kill.pid !== undefined && pid !== kill.pid) return `victim ${pid}, not ${kill.pid}`;
  if (!victims.some((victim) => victim.pid === pid)) return `victim ${pid}, which was not killed`;
  if (kill.comm !== undefined && comm !== kill.comm) return `victim ${JSON.stringify(comm)}, not "${kill.comm}"`;
  return undefined;
}

function evidenceOf({ attributes }: ReceivedLog): string {
  const evidence = attributes['oom.evidence'] as string[] | undefined;
  return evidence === undefined ? '' : ` (evidence: ${evidence.join(', ')})`;
}

function victimOf({ attributes }: ReceivedLog): { pid?: number; comm?: string; role: string } {
  return {
    pid: attributes['process.pid'] as number | undefined,
    comm: attributes['process.executable.name'] as string | undefined,
    role: String(attributes['oom.victim']),
  };
}

/** The kernel reports in full no more than ten times in five seconds: of the others it tells only who died. */
function isReportHeldBack({ attributes }: ReceivedLog): boolean {
  return attributes['oom.constraint'] === undefined;
}

/** From the time of the kernel's own line to the arrival of the record; those without a name in their order. */
function latenciesOf(kills: readonly Arrival[], { victims }: KernelAccount): number[] {
  const diedAtMs = new Map(victims.toReversed().map(({ pid, atMs }) => [pid, atMs]));
  const pidOf = ({ record }: Arrival) => Number(record.attributes['process.pid']);
  const named = new Set(kills.map(pidOf));
  const others = victims.filter(({ pid }) => !named.has(pid));
  return kills.flatMap((kill) => {
    const diedMs = diedAtMs.get(pidOf(kill)) ?? others.shift()?.atMs;
    return diedMs === undefined ? [] : [kill.atMs - diedMs];
  });
}

function byContainer<T>(items: readonly T[], keyOf: (item: T) => string | undefined): Map<string | undefined, T[]> {
  return Map.groupBy(items, keyOf);
}

function containerOf({ resource }: ReceivedLog): string | undefined {
  return resource['container.id'] as string | undefined;
}
