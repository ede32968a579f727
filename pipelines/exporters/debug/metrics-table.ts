import type { Attributes } from '@opentelemetry/api';
import { DataPointType, type MetricData, type ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { formatBytes } from '../../units.ts';
import type { Style } from './style.ts';
import { safeText, timeText } from './text.ts';
import { whoIs, whoText } from './who.ts';

/** Rows of one table; what is beyond is told as a number. */
const MAX_ROWS = 200;

/** A column: the metric it shows, summed over its points, and how. */
interface Column {
  title: string;
  metric: string;
  format: (value: number) => string;
}

const COLUMNS: readonly Column[] = [
  { title: 'USAGE', metric: 'container.memory.usage', format: formatBytes },
  { title: 'WORKING SET', metric: 'container.memory.working_set', format: formatBytes },
  { title: 'LIMIT', metric: 'container.memory.usage.limit', format: formatBytes },
  { title: 'UTILIZATION', metric: 'container.memory.limit.utilization', format: percentText },
  { title: 'OOM KILLS', metric: 'container.memory.oom_kills', format: String },
  { title: 'EXITS', metric: 'container.exits', format: String },
  { title: 'RESTARTS', metric: 'container.restarts', format: String },
];

const UTILIZATION = 'container.memory.limit.utilization';

/** What the metrics of one batch say of one container. */
interface Row {
  who: string;
  /** By metric name. */
  values: Map<string, number>;
}

/** A metric of the node rather than of a container. */
interface NodeMetric {
  name: string;
  value: number;
}

/**
 * A table of the containers in a batch of metrics, the fullest first, and the metrics of the node, with a newline at
 * its end. Columns of which nothing is known are left out. `atMs` is the present time since the epoch.
 */
export function metricsTable(metrics: readonly ResourceMetrics[], atMs: number, style: Style): string {
  const rows = new Map<string, Row>();
  const node: NodeMetric[] = [];
  for (const { resource, scopeMetrics } of metrics) {
    const all = scopeMetrics.flatMap((scope) => scope.metrics);
    const row = rowOf(rows, resource.attributes);
    for (const metric of all) {
      if (row === undefined) node.push(...toNodeMetrics(metric));
      else row.values.set(metric.descriptor.name, (row.values.get(metric.descriptor.name) ?? 0) + sumOf(metric));
    }
  }
  const count = rows.size === 1 ? '1 container' : `${rows.size} containers`;
  const lines = [`${style('dim', timeText(atMs))}  ${style('bold', count)}`];
  if (rows.size > 0) lines.push(...tableLines([...rows.values()], style));
  const nameWidth = Math.max(...node.map(({ name }) => name.length));
  for (const { name, value } of node) lines.push(`  ${style('dim', name.padEnd(nameWidth))}  ${value}`);
  return `${lines.join('\n')}\n`;
}

function rowOf(rows: Map<string, Row>, attributes: Attributes): Row | undefined {
  const who = whoIs(attributes);
  if (who.containerKey === undefined) return undefined;
  let row = rows.get(who.containerKey);
  if (row === undefined) {
    row = { who: whoText(who), values: new Map() };
    rows.set(who.containerKey, row);
  } else if (who.shortId !== undefined) {
    row.who = whoText(who);
  }
  return row;
}

function* tableLines(rows: Row[], style: Style): Generator<string> {
  const fullness = ({ values }: Row) => values.get(UTILIZATION) ?? -1;
  const sorted = rows.toSorted((a, b) => fullness(b) - fullness(a) || (a.who < b.who ? -1 : 1));
  const shown = sorted.slice(0, MAX_ROWS);
  const columns = COLUMNS.filter(({ metric }) => shown.some(({ values }) => values.has(metric)));
  const cells = shown.map(({ who, values }) => [who, ...columns.map((column) => cellText(column, values))]);
  const titles = ['CONTAINER', ...columns.map(({ title }) => title)];
  const widths = titles.map((title, index) => Math.max(title.length, ...cells.map((row) => row[index]!.length)));
  const toLine = (row: readonly string[]) =>
    row.map((cell, index) => (index === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[index]!))).join('  ');
  yield `  ${style('dim', toLine(titles))}`;
  for (const row of cells) yield `  ${toLine(row)}`;
  if (sorted.length > shown.length) yield `  … and ${sorted.length - shown.length} more`;
}

function cellText({ metric, format }: Column, values: ReadonlyMap<string, number>): string {
  const value = values.get(metric);
  return value === undefined ? '–' : format(value);
}

function toNodeMetrics(metric: MetricData): NodeMetric[] {
  const name = safeText(metric.descriptor.name, 96);
  return metric.dataPoints.length === 0 ? [] : [{ name, value: sumOf(metric) }];
}

/** Sum over the points of a sum or gauge. */
function sumOf(metric: MetricData): number {
  if (metric.dataPointType !== DataPointType.SUM && metric.dataPointType !== DataPointType.GAUGE) return NaN;
  return metric.dataPoints.reduce((sum, { value }) => sum + value, 0);
}

function percentText(ratio: number): string {
  return `${(ratio * 100).toFixed(1)} %`;
}
