import type * as z from 'zod';
import type { ExpandedTree } from './config-expand.ts';
import { describeIssue, type Problem } from './config-issues.ts';
import { schemaBelow, shapeOf } from './config-schema.ts';
import { isMapValue, pathOf, type ConfigValue } from './config-tree.ts';

/** A section as its schema reads it, or everything that the schema has against it. */
export type ParsedSection<T> = { config: T; problems?: undefined } | { config?: undefined; problems: Problem[] };

/**
 * Parses one section, which stands at `keys` of the configuration.
 *
 * A null means the default: that of a section is the section with its own defaults. Where a reference gave a value of
 * another type and a string will do, the reference's text is taken: a password may look like a number.
 */
export function parseSection<T>(
  schema: z.ZodType<T>,
  section: ConfigValue,
  keys: readonly string[],
  texts: ExpandedTree['texts'],
): ParsedSection<T> {
  /** Paths where the schema wants no text. */
  const typed = new Set<string>();
  for (;;) {
    const candidate = prepare(section, schema, keys, texts, typed) ?? {};
    const parsed = schema.safeParse(candidate);
    if (parsed.success) return { config: parsed.data };
    const { issues } = parsed.error;
    const refused = issues.map(({ path }) => pathOf([...keys, ...path])).filter((path) => isText(path));
    if (refused.length === 0) return { problems: issues.flatMap((issue) => describeIssue(issue, candidate, schema)) };
    for (const path of refused) typed.add(path);
  }

  function isText(path: string): boolean {
    return texts.has(path) && !typed.has(path);
  }
}

/** The value with texts in place of what references gave, and without nulls; undefined where it is to be left out. */
function prepare(
  value: ConfigValue,
  schema: z.core.$ZodType | undefined,
  keys: readonly PropertyKey[],
  texts: ExpandedTree['texts'],
  typed: ReadonlySet<string>,
): ConfigValue | undefined {
  const path = pathOf(keys);
  const text = typed.has(path) ? undefined : texts.get(path);
  if (text !== undefined && text !== '') return text;
  if (value === null) return schema !== undefined && hasDefaults(schema) ? {} : undefined;
  const below = (key: PropertyKey) => (schema === undefined ? undefined : schemaBelow(schema, key));
  if (Array.isArray(value)) {
    return value.map((item, index) => prepare(item, below(index), [...keys, index], texts, typed) ?? null);
  }
  if (!isMapValue(value)) return value;
  const entries = Object.entries(value).flatMap(([key, item]) => {
    // A key that nobody knows is a problem, whatever its value.
    if (item === null && below(key) === undefined) return [[key, null] as const];
    const kept = prepare(item, below(key), [...keys, key], texts, typed);
    return kept === undefined ? [] : [[key, kept] as const];
  });
  return Object.fromEntries(entries);
}

function hasDefaults(schema: z.core.$ZodType): boolean {
  return shapeOf(schema) !== undefined && (schema as z.ZodType).safeParse({}).success;
}
