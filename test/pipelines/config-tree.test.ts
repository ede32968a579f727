import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import {
  emptyTree,
  findOrigin,
  mergeTrees,
  parseSetting,
  parseTree,
  readYamlValue,
  type ConfigMap,
  type ConfigTree,
  type ConfigValue,
} from '../../pipelines/config-tree.ts';

/** Parses what must be without a problem. */
function parse(text: string): ConfigTree {
  const problems: string[] = [];
  const tree = parseTree(text, 'f.yaml', problems);
  assert.deepEqual(problems, []);
  return tree;
}

function problemsOf(text: string): string[] {
  const problems: string[] = [];
  assert.deepEqual(parseTree(text, 'f.yaml', problems), emptyTree());
  return problems;
}

suite('parsing', () => {
  test('keeps the line of every key and list item', () => {
    const { origins } = parse('a:\n  b: 1\n\n  c:\n    - x\n    - y: 2\n');
    assert.deepEqual(Object.fromEntries(origins), {
      a: 'f.yaml:1',
      'a::b': 'f.yaml:2',
      'a::c': 'f.yaml:4',
      'a::c::0': 'f.yaml:5',
      'a::c::1': 'f.yaml:6',
      'a::c::1::y': 'f.yaml:6',
    });
  });

  for (const [what, text, value] of [
    ['nothing', '', {}],
    ['a comment', '# nothing\n', {}],
    ['null', 'null\n', {}],
    ['aliases', 'a: &x { b: 1 }\nc: *x\n', { a: { b: 1 }, c: { b: 1 } }],
    ['merge keys', 'a: &x { b: 1 }\nc: { <<: *x, d: 2 }\n', { a: { b: 1 }, c: { b: 1, d: 2 } }],
    ['numbers and nothing as keys', '1: x\n? \n: y\n', { 1: 'x', '': 'y' }],
    ['words that YAML 1.1 took for booleans', 'a: yes\nb: off\n', { a: 'yes', b: 'off' }],
  ] as [string, string, ConfigMap][]) {
    test(`reads ${what}`, () => assert.deepEqual(parse(text).value, value));
  }

  for (const [what, text, problem] of [
    ['a key twice', 'a:\n  b: 1\n  c: 2\n  b: 3\n', 'f.yaml:4: the key b stands twice in one map'],
    ['a quoted key twice', '"a": 1\n"a": 2\n', 'f.yaml:2: the key "a" stands twice in one map'],
    ['a list', '- a\n', 'f.yaml:1: expected a map with receivers, exporters and service'],
    ['text', '\n\nhello\n', 'f.yaml:3: expected a map with receivers, exporters and service'],
    ['two documents', 'a: 1\n---\nb: 2\n', 'f.yaml:2: expected one YAML document, got several'],
    ['a tab', 'a:\n\tb: 1\n', 'f.yaml:2: Tabs are not allowed as indentation'],
    ['a value in a value', 'a: b: c\n', 'f.yaml:1: Nested mappings are not allowed in compact mappings'],
    [
      'an unknown alias',
      'a: *x\n',
      'f.yaml: cannot use this YAML: Unresolved alias (the anchor must be set before the alias): x',
    ],
  ] as const) {
    test(`has a problem with ${what}`, () => assert.deepEqual(problemsOf(text), [problem]));
  }

  test('tells every key that stands twice', () => {
    assert.equal(problemsOf('a: 1\na: 2\nb: 1\nb: 2\n').length, 2);
  });

  test('has a problem with a value that contains itself', () => {
    assert.match(problemsOf('a: &x [*x]\n')[0]!, /^f\.yaml: cannot use this YAML: Converting circular/);
  });

  test('has a problem with a text that nests too deep', () => {
    assert.equal(problemsOf(`a: ${'['.repeat(20_000)}`).length, 1);
  });

  test('gives a value to any text, and never throws', () => {
    fc.assert(fc.property(yamlText, (text) => void parseTree(text, 'f.yaml', [])));
  });
});

suite('a value that is YAML', () => {
  for (const [text, value] of [
    ['12', 12],
    ['0123', 123],
    ['true', true],
    ['', null],
    ['[a, b]', ['a', 'b']],
    ['{a: 1}', { a: 1 }],
    ['plain text', 'plain text'],
    ['a: b: c', 'a: b: c'],
    ['@at', '@at'],
    ['*alias', '*alias'],
    ['&a [*a]', '&a [*a]'],
  ] as [string, ConfigValue][]) {
    test(`"${text}" is ${JSON.stringify(value)}`, () => assert.deepEqual(readYamlValue(text), value));
  }
});

suite('merging', () => {
  for (const [what, under, over, merged] of [
    ['merges maps', { a: { b: 1 } }, { a: { c: 2 } }, { a: { b: 1, c: 2 } }],
    ['replaces scalars', { a: { b: 1 } }, { a: { b: 2 } }, { a: { b: 2 } }],
    ['replaces lists', { a: [1, 2] }, { a: [3] }, { a: [3] }],
    ['lets null set a section back to its defaults', { a: { b: 1 } }, { a: null }, { a: null }],
    ['puts a section where null was', { a: null }, { a: { b: 1 } }, { a: { b: 1 } }],
    ['replaces a map by a scalar', { a: { b: 1 } }, { a: 5 }, { a: 5 }],
  ] as [string, ConfigMap, ConfigMap, ConfigMap][]) {
    test(what, () => assert.deepEqual(mergeTrees(treeOf(under), treeOf(over)).value, merged));
  }

  test('keeps where each key stood last', () => {
    const merged = mergeTrees(parseTree('a:\n  b: 1\n  c: 1\n', 'one', []), parseTree('\n\n\na:\n  c: 2\n', 'two', []));
    assert.equal(findOrigin(merged, ['a', 'b']), 'one:2');
    assert.equal(findOrigin(merged, ['a', 'c']), 'two:5');
    assert.equal(findOrigin(merged, ['a', 'c', 'unknown']), 'two:5');
    assert.equal(findOrigin(merged, ['x']), undefined);
  });

  test('obeys its laws: nothing changes nothing, twice is once', () => {
    fc.assert(
      fc.property(configMap, configMap, (a, b) => {
        const [x, y] = [treeOf(a), treeOf(b)];
        assert.deepEqual(mergeTrees(x, emptyTree()).value, a);
        assert.deepEqual(mergeTrees(emptyTree(), x).value, a);
        assert.deepEqual(mergeTrees(x, x).value, a);
        assert.deepEqual(mergeTrees(mergeTrees(x, y), y).value, mergeTrees(x, y).value);
      }),
    );
  });

  test('takes __proto__ for a key like any other', () => {
    const hostile = parse('a: 1\n__proto__: { polluted: true }\n');
    const { value } = mergeTrees(hostile, hostile);
    assert.deepEqual(Object.keys(value), ['a', '__proto__']);
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  });
});

suite('--set', () => {
  for (const [setting, value] of [
    ['a=1', { a: 1 }],
    ['a.b.c=text', { a: { b: { c: 'text' } } }],
    ['a::b=true', { a: { b: true } }],
    ['metrics::container.exits::enabled=false', { metrics: { 'container.exits': { enabled: false } } }],
    ['a.b=', { a: { b: null } }],
    ['a.b=x=y', { a: { b: 'x=y' } }],
    ['a.b=[x, y]', { a: { b: ['x', 'y'] } }],
    ['a.b={c: 1}', { a: { b: { c: 1 } } }],
    ['a.b=${env:X}', { a: { b: '${env:X}' } }],
    ['__proto__.x=1', JSON.parse('{"__proto__":{"x":1}}')],
  ] as [string, ConfigMap][]) {
    test(`${setting} is ${JSON.stringify(value)}`, () => {
      const problems: string[] = [];
      assert.deepEqual(parseSetting(setting, problems).value, value);
      assert.deepEqual(problems, []);
    });
  }

  for (const [setting, problem] of [
    ['a.b', '--set: expected key.key=value, got "a.b"'],
    ['=secret', '--set: expected key.key=value, got "=…"'],
    ['a..b=secret', '--set: expected key.key=value, got "a..b=…"'],
    ['a::=secret', '--set: expected key.key=value, got "a::=…"'],
    ['', '--set: expected key.key=value, got ""'],
  ] as const) {
    test(`has a problem with "${setting}", and keeps its value to itself`, () => {
      const problems: string[] = [];
      parseSetting(setting, problems);
      assert.deepEqual(problems, [problem]);
    });
  }

  test('tells a value that is no YAML with the key', () => {
    const problems: string[] = [];
    parseSetting('a.b=[', problems);
    assert.match(problems[0]!, /^--set: a::b: cannot use the value: /);
  });

  test('gives a value to any argument, and never throws', () => {
    fc.assert(fc.property(yamlText, (text) => void parseSetting(text, [])));
    fc.assert(fc.property(yamlText, (text) => void parseSetting(`a.b=${text}`, [])));
  });
});

function treeOf(value: ConfigMap): ConfigTree {
  return { value, origins: new Map() };
}

const { map: configMap } = fc.letrec<{ value: ConfigValue; map: ConfigMap }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom<ConfigValue>(null, true, 0, 'x'),
    fc.array(fc.constantFrom<ConfigValue>(1, 'y'), { maxLength: 2 }),
    tie('map'),
  ),
  map: fc.dictionary(fc.constantFrom('a', 'b', 'c'), tie('value'), { maxKeys: 3, noNullPrototype: true }),
}));

/** Text that is YAML, nearly YAML, or anything. */
const yamlText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({
    unit: fc.constantFrom('a', ':', ' ', '\n', '-', '[', ']', '{', '}', '&', '*', '"', '|', '#', '!', '<', '='),
  }),
  configMap.map((value) => stringify(value)),
);
