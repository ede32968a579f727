import assert from 'node:assert/strict';
import type { Agent } from './agent.ts';
import { eventually } from './eventually.ts';
import type { ReceivedLog, ReceivedMetric } from './otlp-decoding.ts';

const [INFO, WARN, ERROR] = [9, 13, 17];

/** Memory limit of the containers of these tests. */
const limitBytes = 32 * 2 ** 20;

/** A log record without what differs from run to run, which is checked for itself. */
export interface Told {
  event: string;
  severity: number;
  attributes: Record<string, unknown>;
}

/** One process of a container was OOM-killed, and the kernel log named it. */
export const killOf = (victim: 'init' | 'child', scope = 'container'): Told => ({
  event: 'container.oom_kill',
  severity: ERROR,
  attributes: { 'oom.victim': victim, 'oom.inferred': false, 'oom.scope': scope, 'error.type': 'oom_killed' },
});

/** The main process ended. */
export const exitOf = (code: number, reason: string, cause: string, more: Record<string, unknown> = {}): Told => ({
  event: 'container.exit',
  severity: code === 0 || cause === 'stopped' ? INFO : ERROR,
  attributes: {
    'process.exit.code': code,
    'container.exit.reason': reason,
    'container.exit.cause': cause,
    ...(code === 137 ? { 'container.exit.signal': 'SIGKILL' } : {}),
    ...more,
  },
});

/** … by the OOM killer. */
export const oomExit = exitOf(137, 'oom_killed', 'oom_container', { 'error.type': 'oom_killed' });
/** … by a SIGKILL that is nobody's business. */
export const killedExit = exitOf(137, 'killed', 'killed_externally', { 'error.type': 'signal_SIGKILL' });
/** It was started again. */
export const restarted: Told = { event: 'container.restart', severity: WARN, attributes: {} };

/** Its restarts have become a loop. */
export const crashLoopBegan = (exitCode: number): Told => ({
  event: 'container.crash_loop',
  severity: ERROR,
  attributes: { 'crash_loop.state': 'begun', 'crash_loop.restarts': 3, 'process.exit.code': exitCode },
});

/**
 * Waits until as many records of a container have arrived as are expected, and compares all that have.
 *
 * @returns the records.
 */
export async function waitUntilTold(agent: Agent, containerId: string, expected: Told[]): Promise<ReceivedLog[]> {
  const records = () => agent.logsOf(containerId);
  await eventually(`${expected.length} records have arrived`, () =>
    records().length >= expected.length ? true : undefined,
  ).catch(() => undefined); // The comparison says more.
  assert.deepEqual(
    records().map((record, index) => withHeldBackScope(toTold(record), record, expected[index])),
    expected,
  );
  for (const record of records()) assertWellFormed(record, containerId);
  return records();
}

/** What of a record can be compared. */
export function toTold({ eventName, severityNumber, attributes }: ReceivedLog): Told {
  const {
    'oom.incident.id': _incident,
    'oom.evidence': _evidence,
    'container.uptime': _uptime,
    'container.memory.usage.limit': _limit,
    ...stable
  } = eventName === 'container.oom_kill' ? withoutVictim(attributes) : attributes;
  return { event: eventName, severity: severityNumber, attributes: stable };
}

/** What the kernel log tells of the victim differs from run to run. */
function withoutVictim(attributes: Record<string, unknown>): Record<string, unknown> {
  const names = ['oom.victim', 'oom.inferred', 'oom.scope', 'error.type'];
  return Object.fromEntries(names.map((name) => [name, attributes[name]]));
}

/** Beyond ten reports in five seconds the kernel names the victim and not whose limit was hit. */
function withHeldBackScope(told: Told, { attributes }: ReceivedLog, expected: Told | undefined): Told {
  const heldBack = told.attributes['oom.scope'] === 'unknown' && attributes['oom.constraint'] === undefined;
  if (!heldBack || expected === undefined) return told;
  return { ...told, attributes: { ...told.attributes, 'oom.scope': expected.attributes['oom.scope'] } };
}

/** What holds for every record. */
function assertWellFormed(record: ReceivedLog, containerId: string): void {
  const { resource, scope, attributes, body } = record;
  assert.equal(scope.name, 'exit137');
  assert.equal(resource['container.id'], containerId);
  assert.equal(resource['container.image.tag'], '1');
  assert.equal(typeof resource['host.name'], 'string');
  assert.match(String(body), /^[^\n]+\.$/, 'the body is one sentence');
  const ageS = Date.now() / 1000 - Number(BigInt(record.timeUnixNano) / 1_000_000n) / 1000;
  assert.ok(ageS > -0.1 && ageS < 120, `it happened ${ageS} s ago`);
  assert.ok(BigInt(record.observedTimeUnixNano) > BigInt(record.timeUnixNano) - 1_000_000_000n);
  if (record.eventName === 'container.oom_kill') {
    assert.match(String(attributes['oom.incident.id']), /^\S+$/);
    // Where the group went before it could be read, its limit may never have been known.
    const evidence = attributes['oom.evidence'] as string[];
    const wasRead = evidence.includes('memory_events');
    assert.ok(attributes['container.memory.usage.limit'] === limitBytes || !wasRead, 'the limit is told');
    if (attributes['oom.inferred'] === false) assertNamed(attributes, evidence, containerId);
  }
  if (record.eventName === 'container.exit') {
    const uptimeS = attributes['container.uptime'];
    assert.ok(typeof uptimeS === 'number' && uptimeS >= 0 && uptimeS < 120, `it ran ${String(uptimeS)} s`);
  }
}

/** What the kernel log tells of each victim, and of those whose report was not held back. */
function assertNamed(attributes: Record<string, unknown>, evidence: string[], containerId: string): void {
  assert.ok(evidence.includes('kernel_log'));
  assert.ok(Number(attributes['process.pid']) > 1);
  assert.equal(attributes['process.executable.name'], 'memhog');
  assert.ok(Number(attributes['oom.process.anon_rss']) > 2 ** 20);
  if (attributes['oom.constraint'] === undefined) return;
  assert.equal(attributes['oom.constraint'], 'CONSTRAINT_MEMCG');
  assert.ok(String(attributes['oom.task_memcg']).includes(containerId));
  assert.equal(attributes['oom.group'], false);
  // On v1 the group whose limit was hit tells of itself without the groups below.
  assert.ok(attributes['oom.scope'] === 'pod' || Number(attributes['oom.memory.anon']) > 2 ** 20);
  const tasks = attributes['oom.tasks'] as { pid: number; comm: string; rss: number }[];
  assert.ok(
    tasks.some(({ pid, comm, rss }) => pid === attributes['process.pid'] && comm === 'memhog' && rss > 2 ** 20),
  );
}

/** The counters of a container to which nothing has happened. */
export const nothingCounted = {
  oomKills: 0,
  oomIncidents: 0,
  exitsCompleted: 0,
  exitsError: 0,
  exitsOomKilled: 0,
  exitsKilled: 0,
  restarts: 0,
};

/** The counters of one collection that follow the records. */
export function lifecycleCounters(metrics: Record<string, ReceivedMetric>): Record<string, number> {
  const exits = (reason: string) => valueOf(metrics, 'container.exits', { 'container.exit.reason': reason });
  return {
    oomKills: valueOf(metrics, 'container.memory.oom_kills'),
    oomIncidents: valueOf(metrics, 'container.memory.oom_incidents'),
    exitsCompleted: exits('completed'),
    exitsError: exits('error'),
    exitsOomKilled: exits('oom_killed'),
    exitsKilled: exits('killed'),
    restarts: valueOf(metrics, 'container.restarts'),
    ...(metrics['container.exit.code'] === undefined ? {} : { exitCode: valueOf(metrics, 'container.exit.code') }),
  };
}

/** The value of one data point. */
export function valueOf(
  metrics: Record<string, ReceivedMetric>,
  name: string,
  attributes: Record<string, unknown> = {},
): number {
  const points = metrics[name]?.points ?? [];
  const point = points.find((candidate) => isSame(candidate.attributes, attributes));
  assert.ok(point !== undefined, `there is no ${name} ${JSON.stringify(attributes)}`);
  return point.asDouble ?? Number(point.asInt);
}

function isSame(a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
