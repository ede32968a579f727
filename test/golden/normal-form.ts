import type { ReceivedLog, ReceivedMetric, ReceivedPoint, ReceivedResourceMetrics } from '../helpers/otlp-decoding.ts';

/** Says which recorded event happened at a time, if one did. */
type EventAt = (unixMs: number) => string | undefined;

/** What of a record is the same in every run. The time is, where it is the runtime's; that of the observation is not. */
export function stableRecord(record: ReceivedLog, eventAt: EventAt): object {
  const { timeUnixNano, eventName, severityNumber, severityText, body, attributes, resource, scope } = record;
  return {
    time: eventAt(Number(timeUnixNano) / 1e6) ?? 'at no event',
    event: eventName,
    severity: `${severityText} (${severityNumber})`,
    body: stableText(String(body)),
    attributes: Object.fromEntries(Object.entries(attributes).map(([key, value]) => [key, stableValue(key, value)])),
    resource,
    scope: scope.name,
  };
}

/** The metrics of one resource without times. */
export interface StableMetrics {
  resource: Record<string, unknown>;
  scope: string;
  /** Value by `<metric> {<attributes>} (<kind>, <unit>)`. */
  points: Record<string, number>;
}

/** One collection, the containers by name. */
export function stableMetrics(collection: readonly ReceivedResourceMetrics[]): StableMetrics[] {
  return collection
    .map(({ resource, scope, metrics }) => ({
      resource,
      scope: scope.name,
      points: Object.fromEntries(Object.entries(metrics).flatMap(([name, metric]) => pointsOf(name, metric))),
    }))
    .toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
}

/** The node has none and comes first. */
function nameOf({ resource }: Pick<StableMetrics, 'resource'>): string {
  const name = resource['container.name'];
  return typeof name === 'string' ? name : '';
}

function pointsOf(name: string, { kind, monotonic, temporality, unit, points }: ReceivedMetric): [string, number][] {
  const counter = monotonic ? 'counter' : kind;
  // 2 is cumulative; anything else would be a mistake that has to show.
  const odd = kind === 'gauge' || temporality === 2 ? '' : `, temporality ${temporality}`;
  return points.map((point) => [`${name}${attributesOf(point)} (${counter}, ${unit}${odd})`, valueOf(point)]);
}

function attributesOf({ attributes }: ReceivedPoint): string {
  const pairs = Object.entries(attributes).map(([key, value]) => `${key}=${String(value)}`);
  return pairs.length === 0 ? '' : ` {${pairs.join(', ')}}`;
}

function valueOf({ asInt, asDouble }: ReceivedPoint): number {
  return asDouble ?? Number(asInt);
}

/**
 * What `debug` wrote, without times. Tables come with the clock; kept are the first that knows every container, and the
 * last before the shutdown.
 */
export function stableLines(written: string): string {
  const blocks = written.split(/^(?=\d\d:\d\d:\d\d\.\d{3} )/m);
  const isTable = (block: string) => /^\S+ {2}\d+ containers?$/m.test(block.slice(0, block.indexOf('\n')));
  const firstEvent = blocks.findIndex((block) => !isTable(block));
  // The first that knows everybody: a later one may show what an event changed before it was told.
  const known = namesIn(blocks[firstEvent - 1] ?? '');
  const first = blocks.find((block) => isTable(block) && namesIn(block) === known);
  const last = blocks.filter(isTable).at(-2);
  const kept = blocks.filter((block) => !isTable(block) || block === first || block === last);
  return kept.map((block) => stableText(block)).join('');
}

/** Who is in a table, as `name (id)`, without their order. */
function namesIn(table: string): string {
  const names = Array.from(table.matchAll(/^ {2}(\S+ \([0-9a-f]{12}\)) /gm), ([, name = '']) => name);
  return names.toSorted().join();
}

function stableValue(key: string, value: unknown): unknown {
  if (key === 'container.uptime') return typeof value === 'number' && value >= 0 ? '<seconds>' : value;
  return typeof value === 'string' ? stableText(value) : value;
}

function stableText(text: string): string {
  return text
    .replace(/^\d\d:\d\d:\d\d\.\d{3} /gm, 'hh:mm:ss.mmm ')
    .replace(/\b([0-9a-f]{12})-[0-9a-z]{8,}-(\d+)\b/g, '$1-<time>-$2')
    .replace(/^( +container\.uptime +)\d[\d.e-]*$/gm, '$1<seconds>')
    .replace(/(\bafter|,) \d[\d.e-]* s\b/g, '$1 <time>');
}
