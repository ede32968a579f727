import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as z from 'zod';
import { keysAt, schemaBelow, shapeOf } from '../../pipelines/config-schema.ts';

const object = z.strictObject({ a: z.string(), b: z.number() });

suite('the keys of a section are seen', () => {
  for (const [what, schema] of [
    ['as they are', object],
    ['through a default', object.default({ a: '', b: 0 })],
    ['through a prefault', object.partial().prefault({})],
    ['through optional and nullable', object.nullish()],
    ['through a refinement', object.refine(() => true)],
    ['through a transform', object.transform(({ a }) => a)],
    ['through a preprocess', z.preprocess((value) => value ?? {}, object)],
    [
      'through several of them',
      z.preprocess((value) => value ?? {}, object.transform(({ a }) => a).optional()).optional(),
    ],
  ] as [string, z.ZodType][]) {
    test(what, () => assert.deepEqual(keysAt(schema, []), ['a', 'b']));
  }

  for (const [what, schema, path] of [
    ['below a key', z.object({ x: object.optional() }), ['x']],
    ['below a list', z.object({ x: z.array(object).default([]) }), ['x', 3]],
    ['below a record', z.record(z.string(), object), ['anything']],
  ] as [string, z.ZodType, PropertyKey[]][]) {
    test(what, () => assert.deepEqual(keysAt(schema, path), ['a', 'b']));
  }
});

test('a schema that is no object has no keys', () => {
  for (const schema of [z.string(), z.union([z.string(), z.number()]), z.array(z.string()), z.enum(['a'])]) {
    assert.equal(shapeOf(schema), undefined);
    assert.deepEqual(keysAt(schema, []), []);
  }
  assert.deepEqual(keysAt(object, ['a', 'x']), []);
});

test('a key that no schema names is not one that every object has', () => {
  assert.equal(schemaBelow(object, 'toString'), undefined);
  assert.deepEqual(keysAt(object, ['constructor', 'name']), []);
});
