import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import * as z from 'zod';
import { parseSection } from '../../pipelines/config-section.ts';
import type { ConfigValue } from '../../pipelines/config-tree.ts';
import { byteSize, duration } from '../../pipelines/units.ts';

const schema = z.strictObject({
  name: z.string('a name is required'),
  other_name: z.string().optional(),
  count: z.int().positive().default(1),
  share: z.number().max(1).default(0.5),
  enabled: z.boolean().default(true),
  wait: duration.default(5_000),
  size: byteSize.default(1),
  level: z.enum(['low', 'high', '']).default('low'),
  headers: z.record(z.string().regex(/^\w+$/, 'not a name'), z.string()).default({}),
  either: z.union([z.boolean(), z.number()]).optional(),
  items: z.array(z.strictObject({ value: z.union([z.string(), z.number()]) })).default([]),
  rotation: z.strictObject({ days: z.int().default(7) }).optional(),
  batch: z.strictObject({ min: z.int().default(1), max: z.int() }).optional(),
  api_token: z.string().optional(),
  wait_for_password: duration.optional(),
  key_pem: z.string().optional(),
  url: z
    .string()
    .refine((value) => value.startsWith('https:'), 'expected https')
    .optional(),
});

const minimal = { name: 'x' };

function problemsOf(section: ConfigValue): string[] {
  const { problems = [] } = parseSection(schema, section, ['s'], new Map());
  return problems.map(({ path, message }) => `${path.join('::')}: ${message}`);
}

function parse(section: ConfigValue, texts: Record<string, string> = {}): z.infer<typeof schema> {
  const { config, problems } = parseSection(schema, section, ['s'], new Map(Object.entries(texts)));
  assert.deepEqual(problems, undefined);
  return config;
}

suite('a problem says what was expected, and what is there', () => {
  for (const [section, ...problems] of [
    [null, 'name: a name is required'],
    [{}, 'name: a name is required'],
    ['text', ': expected a map, got "text"'],
    [{ name: 5 }, 'name: a name is required, got 5'],
    [{ ...minimal, other_name: 5 }, 'other_name: expected string, got 5'],
    [{ ...minimal, other_name: [1] }, 'other_name: expected string, got a list'],
    [{ ...minimal, other_name: { a: 1 } }, 'other_name: expected string, got a map'],
    [{ ...minimal, count: '1' }, 'count: expected number, got "1"'],
    [{ ...minimal, count: 1.5 }, 'count: expected a whole number, got 1.5'],
    [{ ...minimal, count: 0 }, 'count: too small: expected number to be >0, got 0'],
    [{ ...minimal, share: 2 }, 'share: too big: expected number to be <=1, got 2'],
    [{ ...minimal, enabled: 'yes' }, 'enabled: expected boolean, got "yes"'],
    [{ ...minimal, level: 'middle' }, 'level: expected low or high or \'\', got "middle"'],
    [{ ...minimal, wait: true }, 'wait: expected a duration, as in 250ms, 10s or 1m30s, got true'],
    [
      { ...minimal, wait: 10 },
      'wait: cannot read duration "10": expected a number with a unit, as in 250ms, 10s or 1m30s',
    ],
    [{ ...minimal, size: [] }, 'size: expected a size, as in 4096, 512KiB or 3MB, got a list'],
    [{ ...minimal, either: 'x' }, 'either: expected boolean or number, got "x"'],
    [
      { ...minimal, items: [{}, { value: 1, x: 2 }] },
      'items::0::value: expected string or number',
      'items::1::x: unknown key',
    ],
    [{ ...minimal, items: [null] }, 'items::0: expected a map, got null'],
    [{ ...minimal, rotation: { day: 1 } }, 'rotation::day: unknown key; did you mean "days"?'],
    [{ ...minimal, batch: {} }, 'batch::max: is required (number)'],
    [{ ...minimal, nmae: null }, 'nmae: unknown key; did you mean "name"?'],
    [{ ...minimal, something_else: 1 }, 'something_else: unknown key'],
    [{ ...minimal, url: 'http://user:password@host' }, 'url: expected https, got "http://[REDACTED]@host"'],
    [
      { ...minimal, other_name: 7, count: 'x' },
      'other_name: expected string, got 7',
      'count: expected number, got "x"',
    ],
  ] as [ConfigValue, ...string[]][]) {
    test(JSON.stringify(section), () => assert.deepEqual(problemsOf(section), problems));
  }

  test('cut where it is long', () => {
    const [problem] = problemsOf({ ...minimal, count: 'x'.repeat(1000) });
    assert.equal(problem, `count: expected number, got "${'x'.repeat(76)}…`);
  });
});

suite('a value that may be a secret is in no problem', () => {
  for (const [section, problem] of [
    [{ ...minimal, api_token: 4711 }, 'api_token: expected string'],
    [{ ...minimal, key_pem: 4711 }, 'key_pem: expected string'],
    [{ ...minimal, headers: { anything: 4711 } }, 'headers::anything: expected string'],
    [{ ...minimal, headers: { 'any thing': '4711' } }, 'headers::any thing: not a name'],
    [
      { ...minimal, wait_for_password: '4711' },
      'wait_for_password: cannot read duration a value that is not shown here: ' +
        'expected a number with a unit, as in 250ms, 10s or 1m30s',
    ],
  ] as [ConfigValue, string][]) {
    test(JSON.stringify(section), () => assert.deepEqual(problemsOf(section), [problem]));
  }
});

suite('a null', () => {
  test('is the default of a value', () => assert.equal(parse({ ...minimal, count: null, wait: null }).wait, 5_000));
  test('is a section with its defaults', () =>
    assert.deepEqual(parse({ ...minimal, rotation: null }).rotation, { days: 7 }));
  test('leaves out a section that has no defaults', () =>
    assert.equal(parse({ ...minimal, batch: null }).batch, undefined));
  test('leaves out a header', () =>
    assert.deepEqual(parse({ ...minimal, headers: { a: null, b: 'x' } }).headers, { b: 'x' }));
});

suite('what a reference gave is', () => {
  for (const [field, typed, text, taken] of [
    ['name', 123, '0123', '0123'],
    ['name', null, '#secret', '#secret'],
    ['name', { a: 1 }, 'a: 1', 'a: 1'],
    ['other_name', null, '', undefined],
    ['count', 12, '12', 12],
    ['enabled', false, 'false', false],
    ['share', 0.25, '.25', 0.25],
    ['wait', '10s', '10s', 10_000],
    ['level', null, '', 'low'],
    ['rotation', { days: 1 }, '{ days: 1 }', { days: 1 }],
    ['headers', { a: 'x' }, '{ a: x }', { a: 'x' }],
  ] as const) {
    test(`${JSON.stringify(taken)}, where "${text}" stands for ${field}`, () => {
      const config = parse({ ...minimal, [field]: typed }, { [`s::${field}`]: text });
      assert.deepEqual(config[field], taken);
    });
  }

  test('the text for a header and an item, whatever else they look like', () => {
    const texts = { 's::headers::a': '1e3', 's::items::0::value': '007' };
    const { headers, items } = parse({ ...minimal, headers: { a: 1000 }, items: [{ value: 7 }] }, texts);
    assert.deepEqual({ headers, items }, { headers: { a: '1e3' }, items: [{ value: '007' }] });
  });

  test('in a problem as the type that was tried last', () => {
    const { problems } = parseSection(schema, { ...minimal, count: 'many' }, ['s'], new Map([['s::count', 'many']]));
    assert.deepEqual(problems, [{ path: ['count'], message: 'expected number, got "many"' }]);
  });
});

test('any value is parsed or has problems, and nothing is thrown', () => {
  const value = fc.jsonValue() as fc.Arbitrary<ConfigValue>;
  const section = fc.dictionary(fc.constantFrom(...Object.keys(schema.shape), 'toString', '__proto__', 'x'), value);
  fc.assert(
    fc.property(fc.oneof(value, section as fc.Arbitrary<ConfigValue>), fc.string(), (input, text) => {
      const { config, problems } = parseSection(schema, input, ['s'], new Map([['s::name', text]]));
      assert.ok((config === undefined) === (problems !== undefined && problems.length > 0));
    }),
  );
});
