import type { AnyValue, Attributes, HrTime } from '@opentelemetry/api';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import { formatBytes } from '../../units.ts';
import type { Look, Style } from './style.ts';
import { safeText, timeText, valueText } from './text.ts';
import { whoIs, whoText } from './who.ts';

/** How a record is written. */
export interface EventLineOptions {
  /** What follows the line: nothing, all attributes of the record, those of its resource as well. */
  attributes: 'none' | 'record' | 'record_and_resource';
  style: Style;
  /** Columns of the terminal: what does not fit goes on, indented, below. Without it a line is as long as it is. */
  columns?: number;
  /** What stands for the time of day. */
  time?: string;
  /** Whom a record is about is padded to this width, so that what follows stands in one column. */
  whoWidth?: number;
}

/** The width of the longest of the usual event names. */
const EVENT_NAME_WIDTH = 'container.oom_kill'.length;

const MAX_BODY_LENGTH = 1024;
const MAX_VALUE_LENGTH = 1024;
const MAX_FACTS = 4;

/** What goes on below begins under the severity. */
const INDENT = ' '.repeat('10:42:07.123  '.length);

/** Facts worth their place on the line, the most telling ones first. */
const KEY_FACTS = [
  'oom.scope',
  'oom.victim',
  'process.executable.name',
  'process.pid',
  'process.exit.code',
  'container.exit.signal',
  'container.exit.cause',
  'container.memory.limit.utilization',
  'container.memory.usage',
  'container.memory.usage.limit',
];

const BYTES = /^(?:container\.memory\.usage|oom\.process|oom\.memory)\b/;

/**
 * One record for people to read, with a newline at its end:
 * `10:42:07.123  ERROR  container.oom_kill  web-1 (7c1f9d0e2b3a)  The kernel killed …  oom.scope=container`
 *
 * All text in it comes from the record and is made safe for a terminal.
 */
export function eventLine(record: ReadableLogRecord, options: EventLineOptions): string {
  const { style, columns = Infinity, attributes, whoWidth = 0 } = options;
  const severity = safeText(record.severityText ?? severityName(record.severityNumber), 8).padEnd(5);
  const eventName = safeText(record.eventName ?? 'log', 64).padEnd(EVENT_NAME_WIDTH);
  const pieces: Piece[] = [
    { text: options.time ?? timeText(toMs(record.hrTime)), look: 'dim' },
    { text: severity, look: severityLook(record.severityNumber) },
    { text: eventName, look: 'bold' },
    { text: whoOf(record).padEnd(whoWidth) },
    { text: safeText(valueText(record.body), MAX_BODY_LENGTH) },
  ];
  if (attributes === 'none') pieces.push({ text: keyFacts(record.attributes), look: 'dim', optional: true });
  const lines = [
    ...layOut(
      pieces.filter(({ text }) => text !== ''),
      style,
      columns,
    ),
  ];
  const shown: Attributes[] = [];
  if (attributes !== 'none') shown.push(record.attributes);
  if (attributes === 'record_and_resource') shown.push(record.resource.attributes);
  lines.push(...attributeLines(shown, style));
  return `${lines.join('\n')}\n`;
}

/** Whom a record is about, as it stands on the line. */
export function whoOf(record: ReadableLogRecord): string {
  return whoText(whoIs(record.resource.attributes));
}

interface Piece {
  text: string;
  look?: Look;
  /** Left out where it does not fit. */
  optional?: boolean;
}

/** Sets pieces side by side, two spaces apart; one that does not fit begins a line of its own. */
function* layOut(pieces: readonly Piece[], style: Style, columns: number): Generator<string> {
  const paint = (look: Look | undefined, text: string) => (look === undefined ? text : style(look, text));
  let line = '';
  let width = 0;
  for (const { text, look, optional } of pieces) {
    if (width === 0 || width + 2 + text.length <= columns) {
      line += (width === 0 ? '' : '  ') + paint(look, text);
      width += (width === 0 ? 0 : 2) + text.length;
    } else if (optional !== true) {
      yield line.trimEnd();
      const wrapped = wrap(text, columns - INDENT.length);
      const last = wrapped.pop() ?? '';
      for (const part of wrapped) yield INDENT + paint(look, part);
      line = INDENT + paint(look, last);
      width = INDENT.length + last.length;
    }
  }
  yield line;
}

/** Breaks text at spaces so that no line is longer than `width`, but for a word that is. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

function keyFacts(attributes: Attributes): string {
  return KEY_FACTS.filter((key) => attributes[key] !== undefined)
    .slice(0, MAX_FACTS)
    .map((key) => `${key}=${factText(key, attributes[key])}`)
    .join(' ');
}

function factText(key: string, value: AnyValue): string {
  const text = safeText(typeof value === 'number' && BYTES.test(key) ? formatBytes(value) : valueText(value), 64);
  return text.includes(' ') ? `"${text}"` : text;
}

function* attributeLines(all: readonly Attributes[], style: Style): Generator<string> {
  const entries = all.flatMap((attributes) => Object.entries(attributes));
  const keys = entries.map(([key]) => safeText(key, 64));
  const width = Math.max(...keys.map((key) => key.length));
  for (const [index, [, value]] of entries.entries()) {
    const key = style('dim', keys[index]!.padEnd(width));
    yield `${INDENT}${key}  ${safeText(valueText(value), MAX_VALUE_LENGTH)}`;
  }
}

/** Names of the severity ranges, four numbers each. https://opentelemetry.io/docs/specs/otel/logs/data-model/ */
const SEVERITIES = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];

function severityName(severityNumber = 0): string {
  return SEVERITIES[Math.floor((severityNumber - 1) / 4)] ?? '';
}

function severityLook(severityNumber = 0): Look {
  if (severityNumber >= 17) return 'red';
  if (severityNumber >= 13) return 'yellow';
  return severityNumber >= 9 ? 'green' : 'dim';
}

function toMs([seconds, nanoseconds]: HrTime): number {
  return seconds * 1e3 + Math.floor(nanoseconds / 1e6);
}
