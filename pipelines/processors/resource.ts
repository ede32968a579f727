import type { Attributes } from '@opentelemetry/api';
import { resourceFromAttributes, type Resource } from '@opentelemetry/resources';
import * as z from 'zod';
import type { Component, ProcessorFactory } from '../component.ts';

const action = z
  .strictObject({
    key: z.string().min(1),
    /** insert: where it is absent; update: where it is there; upsert: both; delete. */
    action: z.enum(['insert', 'update', 'upsert', 'delete']),
    value: z.union([z.string(), z.number(), z.boolean()]).optional(),
    /** Takes the value of another attribute of the resource instead. */
    from_attribute: z.string().optional(),
  })
  .refine(({ action: kind, value, from_attribute }) => {
    const given = Number(value !== undefined) + Number(from_attribute !== undefined);
    return kind === 'delete' ? given === 0 : given === 1;
  }, 'expected either value or from_attribute, and neither with delete');

const configSchema = z.strictObject({
  /** Carried out in order. */
  attributes: z.array(action).min(1),
});

type Action = z.infer<typeof action>;

/** Changes the attributes of resources. */
export const resource: ProcessorFactory<z.infer<typeof configSchema>> = {
  type: 'resource',
  configSchema,
  createMetrics(config, _settings, next) {
    const change = makeChange(config.attributes);
    return {
      ...nothingToRun,
      consumeMetrics: async (metrics) =>
        next.consumeMetrics(metrics.map((entry) => ({ ...entry, resource: change(entry.resource) }))),
    };
  },
  createLogs(config, _settings, next) {
    const change = makeChange(config.attributes);
    return {
      ...nothingToRun,
      consumeLogs: async (logs) =>
        next.consumeLogs(logs.map((record) => ({ ...record, resource: change(record.resource) }))),
    };
  },
};

const nothingToRun: Component = { async start() {}, async shutdown() {} };

/** One resource stays one object: serializers group by its identity. */
function makeChange(actions: readonly Action[]): (resource: Resource) => Resource {
  const changed = new WeakMap<Resource, Resource>();
  return (original) => {
    let made = changed.get(original);
    if (made === undefined) {
      const { attributes, schemaUrl } = original;
      made = resourceFromAttributes(apply(actions, attributes), { schemaUrl });
      changed.set(original, made);
    }
    return made;
  };
}

function apply(actions: readonly Action[], original: Attributes): Attributes {
  const attributes = { ...original };
  for (const { key, action: kind, value, from_attribute } of actions) {
    const wanted = from_attribute === undefined ? value : ownValue(attributes, from_attribute);
    if (kind === 'delete') delete attributes[key];
    else if (wanted !== undefined && isWanted(kind, Object.hasOwn(attributes, key))) attributes[key] = wanted;
  }
  return attributes;
}

function ownValue(attributes: Attributes, key: string): Attributes[string] {
  return Object.hasOwn(attributes, key) ? attributes[key] : undefined;
}

function isWanted(kind: 'insert' | 'update' | 'upsert', present: boolean): boolean {
  return kind === 'upsert' || (kind === 'update') === present;
}
