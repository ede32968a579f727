import type * as z from 'zod';

/** What is read of a schema; zod's public `def`, whatever kind of schema it is. */
interface Definition {
  type: string;
  shape?: Record<string, z.core.$ZodType>;
  innerType?: z.core.$ZodType;
  in?: z.core.$ZodType;
  out?: z.core.$ZodType;
  element?: z.core.$ZodType;
  valueType?: z.core.$ZodType;
}

/** The members of an object schema, seen through defaults, options and transforms; undefined for any other schema. */
export function shapeOf(schema: z.core.$ZodType): Record<string, z.core.$ZodType> | undefined {
  return definitionOf(schema).shape;
}

/**
 * The schema of what stands below a value: of a member of an object, an item of a list or a value of a record.
 * Undefined where the schema says nothing about it.
 */
export function schemaBelow(schema: z.core.$ZodType, key: PropertyKey): z.core.$ZodType | undefined {
  const { shape, element, valueType } = definitionOf(schema);
  if (shape !== undefined) return Object.hasOwn(shape, key) ? shape[String(key)] : undefined;
  return element ?? valueType;
}

/** The keys that a schema knows at a path; empty where it is no object there. */
export function keysAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  let at: z.core.$ZodType | undefined = schema;
  for (const key of path) at = at === undefined ? undefined : schemaBelow(at, key);
  return at === undefined ? [] : Object.keys(shapeOf(at) ?? {});
}

/** Seen through `optional`, `default`, `transform`, `preprocess` and the like. */
function definitionOf(schema: z.core.$ZodType): Definition {
  const definition = (schema as z.ZodType).def as Definition;
  if (definition.innerType !== undefined) return definitionOf(definition.innerType);
  if (definition.type !== 'pipe') return definition;
  // z.preprocess() is a pipe from a transform to the schema, .transform() one from the schema to a transform.
  const { in: first, out: second } = definition;
  return definitionOf((first as z.ZodType).type === 'transform' ? second! : first!);
}
