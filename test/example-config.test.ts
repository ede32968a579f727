import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { parse } from 'yaml';
import type * as z from 'zod';
import { factories } from '../command/components.ts';
import { loadConfig, validateConfig } from '../pipelines/config.ts';
import { keysAt, shapeOf, schemaBelow } from '../pipelines/config-schema.ts';
import { telemetrySchema } from '../pipelines/telemetry-config.ts';
import { metrics, resourceAttributes } from '../receiver/metadata.ts';

const file = 'otel-config.example.yaml';
const text = readFileSync(file, 'utf8');

/** The same with what is commented out as `#key: value`, which no prose begins with: `# Prose`. */
const everything = text.replaceAll(/^( +)#(?=\S| {2,})/gm, '$1');

/** Each section that has a schema, by its path in the file. */
const sections: [string[], z.ZodType][] = [
  ...Object.entries({ ...factories }).flatMap(([kind, built]: [string, (typeof factories)[keyof typeof factories]]) =>
    built.map(({ type, configSchema }): [string[], z.ZodType] => [[kind, type], configSchema]),
  ),
  [['service', 'telemetry'], telemetrySchema],
];

/** Keys whose value is not the default: they have none, or it would not do here. */
const withoutDefault = new Set([
  'processors::k8s_attributes::extract::annotations::0::key',
  'processors::k8s_attributes::extract::annotations::0::tag_name',
  'processors::k8s_attributes::extract::labels::0::key',
  'processors::k8s_attributes::extract::labels::0::tag_name',
  'processors::resource::attributes::0::key',
  'processors::resource::attributes::0::action',
  'processors::resource::attributes::0::value',
  'exporters::file::path',
  'exporters::otlp_grpc::endpoint',
  'exporters::otlp_grpc::tls::insecure',
  'exporters::otlp_http::endpoint',
]);

suite('the example configuration', () => {
  test('loads and validates without a warning', () => {
    const tree = loadConfig({ locations: [file], env: {} });
    const { service } = validateConfig(tree, factories);
    assert.deepEqual(
      service.pipelines.map(({ id, receivers, exporters }) => ({ id, receivers, exporters })),
      [
        { id: 'metrics', receivers: ['container_lifecycle'], exporters: ['otlp_grpc'] },
        { id: 'logs', receivers: ['container_lifecycle'], exporters: ['debug', 'otlp_grpc'] },
      ],
    );
  });

  test('configures every component that is built in', () => {
    for (const [kind, built] of Object.entries({ ...factories })) {
      const types = built.map(({ type }: { type: string }) => type);
      assert.deepEqual(Object.keys(valueAt(parse(text), [kind]) as object).toSorted(), types.toSorted());
    }
  });

  for (const [path, schema] of sections) {
    test(`has every key of ${path.join('::')}, and no other`, () => {
      const shown = valueAt(parse(everything), path);
      assert.deepEqual(keysOf(shown, schema).toSorted(), keysOfSchema(schema).toSorted());
    });

    test(`gives the defaults of ${path.join('::')}`, () => {
      const section = valueAt(parse(text), path);
      const parsed = schema.parse(withoutNulls(section));
      for (const leaf of leavesOf(section, schema)) {
        const key = [...path, ...leaf].join('::');
        if (withoutDefault.has(key) || leaf[0] === 'metrics' || leaf[0] === 'resource_attributes') continue;
        assert.deepEqual(schema.parse(withoutNulls(without(section, leaf))), parsed, `${key} has another default`);
      }
    });
  }

  test('switches metrics and resource attributes as they are by default', () => {
    const { receivers } = parse(everything) as Receivers;
    const switches = receivers.container_lifecycle;
    for (const [name, { enabled }] of metrics) {
      assert.equal(switches.metrics[name]?.enabled, enabled === 'outside_kubernetes' ? true : enabled, name);
    }
    for (const [name, { enabled }] of Object.entries(resourceAttributes)) {
      assert.equal(switches.resource_attributes[name]?.enabled, enabled, name);
    }
    const asItStands = (parse(text) as Receivers).receivers.container_lifecycle;
    for (const [name, { enabled }] of metrics) {
      if (enabled === 'outside_kubernetes') assert.equal(asItStands.metrics[name], undefined, name);
    }
  });

  test('says of each metric and resource attribute what its metadata say', () => {
    const descriptions = [...metrics, ...Object.entries(resourceAttributes)] as [string, { description: string }][];
    const lines = text.split('\n').map((line) => line.trim());
    for (const [name, { description }] of descriptions) {
      const at = lines.findIndex((line) => line.replace('#', '').startsWith(`${name}: {`));
      assert.ok(lines.slice(at - 2, at).includes(`# ${description}`), name);
    }
  });

  test('has a comment above each key', () => {
    const lines = everything.split('\n');
    const uncommented = lines.filter(
      (line, index) => /^ +(- )?[\w.]+:/.test(line) && !/^ *# \S/.test(lines[index - 1] ?? ''),
    );
    assert.deepEqual(uncommented, []);
  });
});

interface Receivers {
  receivers: {
    container_lifecycle: Record<'metrics' | 'resource_attributes', Record<string, { enabled: boolean } | undefined>>;
  };
}

type Path = (string | number)[];

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce((at, key) => (at as Record<string, unknown>)[key], value);
}

/** The paths of all keys in a section, lists left out of the paths; below a record there are no keys of ours. */
function keysOf(value: unknown, schema: z.core.$ZodType, path: string[] = []): string[] {
  const found = Object.entries(Object(value) as object).flatMap(([key, inner]) => {
    const isItem = Array.isArray(value);
    const below = schemaBelow(schema, key);
    const at = isItem ? path : [...path, key];
    if (isItem || shapeOf(schema) !== undefined) {
      return [...(isItem ? [] : [at.join('::')]), ...(below === undefined ? [] : keysOf(inner, below, at))];
    }
    return [];
  });
  return [...new Set(found)];
}

/** The paths of all keys that a schema knows. */
function keysOfSchema(schema: z.core.$ZodType, path: string[] = []): string[] {
  const shape = shapeOf(schema);
  if (shape === undefined) {
    const items = schemaBelow(schema, 0);
    // The values of a record have names that are not ours.
    return items === undefined || shapeOf(items) === undefined ? [] : keysOfSchema(items, path);
  }
  return Object.entries(shape).flatMap(([key, inner]) => {
    const at = [...path, key];
    return [at.join('::'), ...keysOfSchema(inner, at)];
  });
}

/** The paths of all values that are neither a section nor a list of sections. */
function leavesOf(value: unknown, schema: z.core.$ZodType, path: Path = []): Path[] {
  const hasKeys = keysAt(schema, []).length > 0 || (Array.isArray(value) && shapeOf(schemaBelow(schema, 0)!));
  if (!hasKeys || value === null) return [path];
  return Object.entries(value as object).flatMap(([key, inner]) => {
    const below = schemaBelow(schema, key);
    return below === undefined ? [] : leavesOf(inner, below, [...path, Array.isArray(value) ? Number(key) : key]);
  });
}

function without(section: unknown, path: Path): unknown {
  const copy: unknown = structuredClone(section);
  const parent = valueAt(copy, path.slice(0, -1)) as Record<string, unknown>;
  delete parent[String(path.at(-1))];
  return copy;
}

function withoutNulls(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (_key, inner: unknown) => inner ?? undefined);
}
