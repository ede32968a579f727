import { constants } from 'node:os';
import type { Observation, RuntimeName } from '../observation.ts';
import { printable, type OnBadInput } from './bad-input.ts';
import { boundFacts, isContainerId } from './container-facts.ts';
import { isDaemonTime } from './daemon-time.ts';

/**
 * The actions that we follow, for the filter on the daemon's side. Podman filters by names of its own, `remove` and, in
 * 4.3, `died`, which it then reports as `die`. Left out are those that tell nothing new: `create` (nothing runs
 * yet) and `restart` (Docker sends it after the `start`, Podman before, and both send kill or stop, die and start).
 */
export const followedActions = [
  'start',
  'die',
  'died',
  'oom',
  'kill',
  'stop',
  'pause',
  'unpause',
  'rename',
  'destroy',
  'remove',
] as const;

const actions = new Set<string>(followedActions);

/** Podman's words for Docker's. */
const synonyms = new Map([
  ['died', 'die'],
  ['remove', 'destroy'],
]);

/** One event of a container. */
export interface DockerEvent {
  containerId: string;
  /** Docker's word, whoever sent it. */
  action: string;
  atMs: number;
  /** Labels, name and image of the container mixed with the facts of the event: exitCode, signal, oldName. */
  attributes: Readonly<Record<string, string>>;
  /** Tells this event from every other; absent where the daemon gives no exact time. */
  key?: string;
}

interface EventLine {
  Action?: unknown;
  Actor?: { ID?: unknown; Attributes?: unknown };
  time?: unknown;
  timeNano?: unknown;
  status?: unknown;
  id?: unknown;
}

/**
 * Decodes one line of the answer to GET /events; undefined for one that does not concern us and for one that cannot be
 * read, which is told. Never throws. `nowMs` stands in for a missing time.
 *
 * Docker 28.5.2:
 *
 *     {"status":"die","id":"5b1f…","from":"alpine","Type":"container","Action":"die","Actor":{"ID":"5b1f…","Attributes":
 *     {"execDuration":"0","exitCode":"137","image":"alpine","name":"web","team":"a"}},"scope":"local",
 *     "time":1795244506,"timeNano":1795244506231145275}
 */
export function decodeEvent(line: string, nowMs: number, onBadInput: OnBadInput): DockerEvent | undefined {
  const event = parse(line);
  if (event === undefined) {
    onBadInput('event is not a JSON object', printable(line));
    return undefined;
  }
  const said = event.Action ?? event.status;
  if (typeof said !== 'string') {
    onBadInput('event has no action', printable(line));
    return undefined;
  }
  if (!actions.has(said)) return undefined;
  const containerId = event.Actor?.ID ?? event.id;
  if (!isContainerId(containerId)) {
    onBadInput('event has no container id of 64 hex digits', printable(containerId ?? line));
    return undefined;
  }
  const action = synonyms.get(said) ?? said;
  const nanos = typeof event.timeNano === 'string' && /^\d{10,20}$/.test(event.timeNano) ? event.timeNano : undefined;
  const key = nanos === undefined ? undefined : `${containerId} ${action} ${nanos}`;
  return { containerId, action, atMs: timeOf(nanos, event.time) ?? nowMs, attributes: attributesOf(event), key };
}

/** What an event says; undefined where it says nothing that can be used. */
export function observationOf(
  event: DockerEvent,
  runtime: RuntimeName,
  { deceptive, incomplete }: LabelClash,
  onBadInput: OnBadInput,
): Observation | undefined {
  const { containerId, action, atMs, attributes } = event;
  const own = (name: string) => (deceptive ? undefined : attributes[name]);
  const facts = () => ({ containerId, runtime, ...factsOf(event, runtime, incomplete, onBadInput) });
  switch (action) {
    case 'start':
      return { kind: 'container_started', ...facts(), atMs };
    case 'die':
      return { kind: 'container_exited', ...facts(), atMs, exitCode: exitCodeOf(own('exitCode'), onBadInput) };
    case 'oom':
      return { kind: 'oom_hinted', containerId, atMs };
    case 'kill':
      return { kind: 'container_signalled', containerId, atMs, signal: signalOf(own('signal')) };
    case 'stop':
      return { kind: 'container_stopped', containerId, atMs };
    case 'pause':
    case 'unpause':
      return { kind: 'container_paused', containerId, atMs, paused: action === 'pause' };
    case 'rename': {
      const { name } = boundFacts({ name: attributes['name'] }, onBadInput);
      return name === undefined ? undefined : { kind: 'container_renamed', containerId, atMs, name };
    }
    case 'destroy':
      return { kind: 'container_removed', containerId, atMs };
  }
}

/**
 * Labels that bear the name of a fact in the attributes of events. The fact wins, but for Docker (20.10, 26.1, 28.5),
 * where only the container's name and image win, and the label wins over all other facts.
 */
export interface LabelClash {
  /** Exit code and signal of its events are what a label says, and not to be believed. */
  deceptive: boolean;
  /** The labels of its events are not all that it has. */
  incomplete: boolean;
}

/** What each action adds to the attributes, besides name and image. */
const ownAttributes: Readonly<Record<string, readonly string[]>> = {
  die: ['exitCode', 'execDuration'],
  kill: ['signal'],
  rename: ['oldName'],
};

/** What Podman adds to the attributes: 4.3 both to every event, 5.4 the first where there is one. */
const podmanAttributes = ['containerExitCode', 'podId'];

const allAttributes = ['name', 'image', ...podmanAttributes, ...Object.values(ownAttributes).flat()];
const believed = ['exitCode', 'signal'];

/** Which of a container's labels clash with the facts of its events. */
export function clashOf(labels: Readonly<Record<string, unknown>>, runtime: RuntimeName): LabelClash {
  return {
    deceptive: runtime === 'docker' && believed.some((name) => Object.hasOwn(labels, name)),
    incomplete: allAttributes.some((name) => Object.hasOwn(labels, name)),
  };
}

/** Whether an event of Docker shows a deceptive label: it has an exit code or a signal where there is none to tell. */
export function showsDeception({ action, attributes }: DockerEvent, runtime: RuntimeName): boolean {
  if (runtime !== 'docker') return false;
  return believed.some((name) => attributes[name] !== undefined && !ownAttributes[action]?.includes(name));
}

/** The attributes without what is not a label. */
function factsOf(
  { action, attributes }: DockerEvent,
  runtime: RuntimeName,
  incomplete: boolean,
  onBadInput: OnBadInput,
): ReturnType<typeof boundFacts> {
  const { name, image, ...rest } = attributes;
  if (incomplete) return boundFacts({ name, image }, onBadInput);
  const own = new Set([...(ownAttributes[action] ?? []), ...(runtime === 'podman' ? podmanAttributes : [])]);
  const labels = Object.entries(rest).filter(([key]) => !own.has(key));
  return boundFacts({ name, image, labels }, onBadInput);
}

function exitCodeOf(text: string | undefined, onBadInput: OnBadInput): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,10}$/.test(text)) return Number(text);
  onBadInput('exit code is not a number', printable(text));
  return undefined;
}

/** Docker sends the number; names are what the API takes. Podman (4.3, 5.4) sends neither. */
function signalOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,3}$/.test(text)) return Number(text);
  const name = text.startsWith('SIG') ? text : `SIG${text}`;
  return constants.signals[name as keyof typeof constants.signals];
}

function timeOf(nanos: string | undefined, seconds: unknown): number | undefined {
  // 2^53 is passed by a factor of 200: what is lost is less than a microsecond.
  const ofNanos = nanos === undefined ? undefined : Number(nanos) / 1e6;
  const atMs = ofNanos ?? (typeof seconds === 'number' ? seconds * 1000 : NaN);
  return isDaemonTime(atMs) ? atMs : undefined;
}

function attributesOf({ Actor }: EventLine): Record<string, string> {
  const attributes = Actor?.Attributes;
  if (typeof attributes !== 'object' || attributes === null) return {};
  return Object.fromEntries(Object.entries(attributes).filter((entry) => typeof entry[1] === 'string'));
}

function parse(line: string): EventLine | undefined {
  try {
    const event: unknown = JSON.parse(line, withExactTime);
    return typeof event === 'object' && event !== null && !Array.isArray(event) ? event : undefined;
  } catch {
    return undefined;
  }
}

/** `timeNano` exceeds 2^53: two events of one container could have the same number. Its digits are kept instead. */
function withExactTime(key: string, value: unknown, context?: { source?: string }): unknown {
  return key === 'timeNano' && typeof value === 'number' ? (context?.source ?? String(value)) : value;
}
