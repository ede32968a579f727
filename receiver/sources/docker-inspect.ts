import type { ContainerSeen, RuntimeName } from '../observation.ts';
import { fieldsOf, printable, type OnBadInput } from './bad-input.ts';
import { boundFacts, isContainerId } from './container-facts.ts';
import { isDaemonTime } from './daemon-time.ts';
import { clashOf, type LabelClash } from './docker-event.ts';

/** One container in the answer to GET /containers/json. */
export interface ListedContainer {
  containerId: string;
  /** Docker's word: running, exited, created, …; empty where it is not told. */
  state: string;
  /** For people: `Up 3 minutes`, `Exited (137) 4 seconds ago`. */
  status: string;
}

/**
 * Decodes the answer to GET /containers/json?all=1; entries that cannot be read are told and left out. Docker 28.5.2,
 * cut to what is read:
 *
 *     [{"Id":"9bbc…","Names":["/bb"],"State":"exited","Status":"Exited (0) Less than a second ago"}]
 *
 * @throws when the answer is not a list.
 */
export function decodeList(answer: unknown, onBadInput: OnBadInput): ListedContainer[] {
  if (!Array.isArray(answer)) throw new Error(`cannot read the list of containers "${printable(answer)}"`);
  return answer.flatMap((entry: unknown) => {
    const { Id, State, Status } = fieldsOf(entry);
    if (!isContainerId(Id)) {
      onBadInput('listed container has no id of 64 hex digits', printable(entry));
      return [];
    }
    return { containerId: Id, state: textOf(State), status: textOf(Status) };
  });
}

/**
 * How long ago the container ended at least, by its status; undefined where that does not say. Docker and Podman print
 * a rounded age (docker/go-units HumanDuration), so half of the unit is taken off.
 */
export function endedAgoMs({ status }: ListedContainer): number | undefined {
  const match = /\) (?:(\d+)|About an?) (second|minute|hour|day|week|month|year)s? ago$/.exec(status);
  const unitMs = unitsMs.get(match?.[2] ?? '');
  return unitMs === undefined ? undefined : (Number(match?.[1] ?? 1) - 0.5) * unitMs;
}

const dayMs = 86_400_000;
const unitsMs = new Map([
  ['second', 1000],
  ['minute', 60_000],
  ['hour', 3_600_000],
  ['day', dayMs],
  ['week', 7 * dayMs],
  ['month', 30 * dayMs],
  ['year', 365 * dayMs],
]);

/** The runtime's answer about one container. */
export interface Inspection {
  seen: ContainerSeen;
  clash: LabelClash;
}

/**
 * Decodes the answer to GET /containers/{id}/json; undefined for one that cannot be read, which is told. `atMs` is when
 * it was asked. Docker 28.5.2, cut to what is read:
 *
 *     {"Id":"b2c6…","Created":"2026-11-21T07:01:45.9Z","Name":"/rr","RestartCount":2,
 *     "Config":{"Image":"alpine","Labels":{"team":"a"}},"State":{"Running":true,"Paused":false,"Restarting":true,"Pid":0,
 *     "ExitCode":3,"StartedAt":"2026-11-21T07:01:47.039946535Z","FinishedAt":"2026-11-21T07:01:47.181393543Z"}}
 */
export function decodeInspection(
  answer: unknown,
  containerId: string,
  atMs: number,
  runtime: RuntimeName,
  onBadInput: OnBadInput,
): Inspection | undefined {
  const { Id, Created, Name, RestartCount, Config, State } = fieldsOf(answer);
  const state = fieldsOf(State);
  if (Id !== containerId || typeof state['Running'] !== 'boolean') {
    onBadInput('answer about a container has no state or not its id', printable(answer));
    return undefined;
  }
  const config = fieldsOf(Config);
  const labels = fieldsOf(config['Labels']);
  // While Docker waits before a restart it says Running and Restarting, with Pid 0. While Podman (4.3) waits for a
  // container to stop it says stopping and not Running, with the Pid.
  const running = (state['Running'] && state['Restarting'] !== true) || state['Status'] === 'stopping';
  const finishedAtMs = timeOf(state['FinishedAt']);
  const seen: ContainerSeen = {
    kind: 'container_seen',
    containerId,
    runtime,
    ...boundFacts({ name: Name, image: config['Image'], labels: Object.entries(labels) }, onBadInput),
    atMs,
    running,
    paused: state['Paused'] === true,
    pid: running ? positive(state['Pid']) : undefined,
    createdAtMs: timeOf(Created),
    startedAtMs: timeOf(state['StartedAt']),
    finishedAtMs,
    // 0 while it runs and before it ever ran.
    exitCode: running || finishedAtMs === undefined ? undefined : wholeNumber(state['ExitCode']),
    restartCount: restartsSoFar(wholeNumber(RestartCount), state['Restarting'] === true),
  };
  return { seen, clash: clashOf(labels, runtime) };
}

/**
 * A time as Go prints it, in milliseconds with fractions; undefined for Go's zero time, `0001-01-01T00:00:00Z`, and for
 * what is no time or one that a daemon cannot mean. Docker prints UTC, Podman the daemon's own zone.
 */
function timeOf(value: unknown): number | undefined {
  const match = typeof value === 'string' ? goTime.exec(value) : null;
  if (match === null) return undefined;
  const atMs = Date.parse(`${match[1]}${match[3]}`) + Number(match[2] ?? 0) * 1000;
  return isDaemonTime(atMs) ? atMs : undefined;
}

const goTime = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;

/** Docker counts a restart as soon as it means to make it (daemon/monitor.go): not yet one of the life it tells of. */
function restartsSoFar(count: number | undefined, oneIsToCome: boolean): number | undefined {
  return count !== undefined && oneIsToCome ? Math.max(0, count - 1) : count;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function wholeNumber(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}

function positive(value: unknown): number | undefined {
  return value === 0 ? undefined : wholeNumber(value);
}
