import assert from 'node:assert/strict';
import type { Agent } from './agent.ts';
import { eventually } from './eventually.ts';
import { onUnifiedHierarchy } from './nested-cgroup.ts';
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

/** One process of a container was OOM-killed. */
export const killOf = (victim: 'init' | 'child'): Told => ({
  event: 'container.oom_kill',
  severity: ERROR,
  attributes: {
    'oom.victim': victim,
    'oom.inferred': true,
    'error.type': 'oom_killed',
    // Only cgroup v2 tells a group kill from another, and whose limit was hit.
    'oom.scope': onUnifiedHierarchy ? 'container' : 'unknown',
    ...(onUnifiedHierarchy ? { 'oom.group': false } : {}),
  },
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
  assert.deepEqual(records().map(toTold), expected);
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
  } = eventName === 'container.oom_kill' ? asCounted(attributes) : attributes;
  return { event: eventName, severity: severityNumber, attributes: stable };
}

/**
 * Where a group went before its counter could be read, nobody can tell whose limit was hit: a record without that
 * evidence must not claim to, and then compares as one that has it.
 */
function asCounted(attributes: Record<string, unknown>): Record<string, unknown> {
  const wasRead = (attributes['oom.evidence'] as string[]).includes('memory_events');
  if (wasRead || !onUnifiedHierarchy) return attributes;
  assert.equal(attributes['oom.scope'], 'unknown');
  assert.equal(attributes['oom.group'], undefined);
  return { ...attributes, 'oom.scope': 'container', 'oom.group': false };
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
    const wasRead = (attributes['oom.evidence'] as string[]).includes('memory_events');
    assert.ok(attributes['container.memory.usage.limit'] === limitBytes || !wasRead, 'the limit is told');
  }
  if (record.eventName === 'container.exit') {
    const uptimeS = attributes['container.uptime'];
    assert.ok(typeof uptimeS === 'number' && uptimeS >= 0 && uptimeS < 120, `it ran ${String(uptimeS)} s`);
  }
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
