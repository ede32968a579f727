import { writeFileSync } from 'node:fs';
import { SeverityNumber } from '@opentelemetry/api-logs';
import { format, resolveConfig } from 'prettier';
import {
  eventAttributes,
  events,
  metrics,
  resourceAttributes,
  scopeName,
  type EventDefinition,
  type MetricDefinition,
} from '../receiver/metadata.ts';

/** docs/signals.md, made from receiver/metadata.ts. */
function renderSignals(): string {
  return `<!-- Generated from receiver/metadata.ts by \`npm run docs\`. Do not edit. -->

# What exit137 sends

Instrumentation scope \`${scopeName}\`. Every metric can be switched with \`metrics: <name>: {enabled: true|false}\` and
every resource attribute with \`resource_attributes: <name>: {enabled: true|false}\` in the receiver's configuration.

What cannot be read is absent, never 0. Counters begin with an explicit 0 when a container is first seen, bear a true
start time, never go back, and go on for the grace period after the container is gone.

A container of a Kubernetes pod has a new id after each restart. Its counters (\`container.memory.oom_kills\`,
\`container.memory.oom_incidents\`, \`container.exits\`, \`container.exit.code\`, \`container.restarts\`) outlive that: they
are sent once for all its instances, on a resource without \`container.id\`, and go on for 7 minutes at least after it has
ended, which is longer than the kubelet waits before it starts it again. Its memory and its log records are those of one
instance. Where no runtime tells the container's name, \`container.id\` stands in for it. Pod sandboxes have no metrics;
kills in them are told.

## Metrics

${table(
  ['name', 'kind', 'unit', 'attributes', 'on', 'meaning'],
  [...metrics].map(([name, definition]) => [
    code(name),
    kindOf(definition),
    code(definition.unit),
    attributesOf(definition),
    onOf(definition),
    definition.description,
  ]),
)}

## Events

Log records with an EventName. Timestamp is when it happened, ObservedTimestamp when exit137 saw it. The body is one
sentence for people; the facts are attributes.

${table(
  ['EventName', 'severity', 'when', 'attributes'],
  Object.entries<EventDefinition>(events).map(([name, { severity, when, attributes }]) => [
    code(name),
    severity.map((number) => `${SeverityNumber[number]} (${number})`).join(' or '),
    when,
    attributes.map(code).join(', ') || '–',
  ]),
)}

${table(
  ['attribute', 'type', 'meaning'],
  Object.entries(eventAttributes).map(([name, { type, description }]) => [code(name), type, description]),
)}

## Resource attributes

${table(
  ['name', 'type', 'stands on', 'on', 'meaning'],
  Object.entries(resourceAttributes).map(([name, { on, type, enabled, description }]) => [
    code(name),
    type,
    on,
    enabled ? 'yes' : 'no',
    description,
  ]),
)}
`;
}

function table(head: string[], rows: string[][]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function code(text: string): string {
  return `\`${text}\``;
}

function kindOf({ kind, monotonic, type }: MetricDefinition): string {
  const shape = kind === 'gauge' ? 'Gauge' : monotonic ? 'Sum, monotonic' : 'Sum';
  return `${shape}, ${type}`;
}

function attributesOf({ attributes = {} }: MetricDefinition): string {
  return (
    Object.entries(attributes)
      .map(([key, values]) => `${code(key)}: ${values.join(', ')}`)
      .join('; ') || '–'
  );
}

function onOf({ enabled }: MetricDefinition): string {
  if (enabled === 'outside_kubernetes') return 'outside Kubernetes';
  return enabled ? 'yes' : 'no';
}

/** The page as it lies in the repository, formatted like everything else. */
export async function formatSignals(): Promise<string> {
  const options = await resolveConfig(import.meta.filename);
  return format(renderSignals(), { ...options, parser: 'markdown' });
}

if (import.meta.main) writeFileSync(new URL('signals.md', import.meta.url), await formatSignals());
