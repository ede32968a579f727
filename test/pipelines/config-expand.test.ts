import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import fc from 'fast-check';
import { expandTree, type ExpandedTree } from '../../pipelines/config-expand.ts';
import { parseTree, type ConfigValue } from '../../pipelines/config-tree.ts';

const folder = mkdtempSync(join(tmpdir(), 'exit137-expand-'));
after(() => rmSync(folder, { recursive: true }));

function fileOf(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const env = {
  HOST: 'backend',
  PORT: '4317',
  NUMBER: '0123',
  EMPTY: '',
  DOLLARS: 'pa$$word${env:HOST}$',
  LIST: '[debug, otlp]',
  MAP: '{ host: "${env:HOST}" }',
  NAME: 'HOST',
  BROKEN: 'a: b: c',
  HASH: '#secret',
};

function expand(value: ConfigValue): ExpandedTree & { problems: string[] } {
  const problems: string[] = [];
  return { ...expandTree({ value: { key: value }, origins: new Map([['key', 'f.yaml:7']]) }, env, problems), problems };
}

suite('a reference', () => {
  const secret = fileOf('secret', 'from a file\n');
  const section = fileOf('section.yaml', 'endpoint: ${env:HOST}:4317\nlist: [1, "${PORT}"]\n');
  for (const [text, value] of [
    ['${env:HOST}', 'backend'],
    ['${HOST}', 'backend'],
    ['${env:PORT}', 4317],
    ['${env:NUMBER}', 123],
    ['${env:EMPTY}', null],
    ['${env:EMPTY:-default}', null],
    ['${env:NONE:-default}', 'default'],
    ['${NONE:-5}', 5],
    ['${NONE:-}', null],
    ['${NONE:-a:-b}', 'a:-b'],
    ['${env:LIST}', ['debug', 'otlp']],
    ['${env:BROKEN}', 'a: b: c'],
    ['${yaml:[1, 2]}', [1, 2]],
    [`\${file:${secret}}`, 'from a file'],
    // In a longer text the text is put in.
    ['http://${env:HOST}:${env:PORT}/', 'http://backend:4317/'],
    ['${env:HOST}${env:NUMBER}', 'backend0123'],
    ['a${env:EMPTY}b', 'ab'],
    [`Bearer \${file:${secret}}`, 'Bearer from a file'],
    // References in references, in maps and in lists.
    ['${env:NONE:-${env:HOST}}', 'backend'],
    ['${env:${env:NAME}}', 'backend'],
    ['${NONE:-${NONE_EITHER:-x}}${PORT}', 'x4317'],
    [`\${file:${folder}/\${NONE:-secret}}`, 'from a file'],
    ['${env:MAP}', { host: 'backend' }],
    [`\${file:${section}}`, { endpoint: 'backend:4317', list: [1, 4317] }],
    // What is no reference.
    ['$$', '$'],
    ['$${env:HOST}', '${env:HOST}'],
    ['$$$${env:HOST}', '$${env:HOST}'],
    ['$$${env:HOST}', '$backend'],
    ['$HOST', '$HOST'],
    ['${env:HOST', '${env:HOST'],
    ['${a ${env:HOST}', '${a backend'],
    ['a}b{c}', 'a}b{c}'],
    ['$', '$'],
    // What a variable says is not expanded again.
    ['${env:DOLLARS}', 'pa$$word${env:HOST}$'],
    ['x${env:DOLLARS}', 'xpa$$word${env:HOST}$'],
    // Not only at the top.
    [
      ['${HOST}', { a: '${PORT}' }],
      ['backend', { a: 4317 }],
    ],
    [5, 5],
    [null, null],
  ] as [ConfigValue, ConfigValue][]) {
    test(`${JSON.stringify(text)} is ${JSON.stringify(value)}`, () => {
      const expanded = expand(text);
      assert.deepEqual(expanded.problems, []);
      assert.deepEqual(expanded.warnings, []);
      assert.deepEqual(expanded.value, { key: value });
    });
  }

  test('leaves its text for fields that want a string', () => {
    assert.deepEqual(
      expand(['${NUMBER}', 'x${NUMBER}', '${HASH}', '12']).texts,
      new Map([
        ['key::0', '0123'],
        ['key::2', '#secret'],
      ]),
    );
  });

  test('to a variable that is not set is null or empty, and a warning with its place', () => {
    const { value, warnings, problems } = expand(['${env:NONE}', 'a${NONE}b', '${NONE_EITHER}']);
    assert.deepEqual(value, { key: [null, 'ab', null] });
    assert.deepEqual(problems, []);
    assert.deepEqual(warnings, [
      'f.yaml:7: key::0: the environment variable "NONE" is not set and has no default',
      'f.yaml:7: key::1: the environment variable "NONE" is not set and has no default',
      'f.yaml:7: key::2: the environment variable "NONE_EITHER" is not set and has no default',
    ]);
  });

  for (const [text, problem] of [
    ['${http://x}', 'cannot expand "${http://x}": expected env:, file: or yaml:'],
    ['${env:A B}', 'cannot expand "${env:A B}": expected the name of an environment variable'],
    ['${1A:-secret}', 'cannot expand "${1A:-…}": expected the name of an environment variable'],
    ['${}', 'cannot expand "${}": expected the name of an environment variable'],
    ['${file:/no/such}', 'cannot read file "/no/such": ENOENT: no such file or directory, open \'/no/such\''],
    ['${file:/}', 'cannot read file "/": EISDIR: illegal operation on a directory, read'],
  ] as const) {
    test(`${text} is a problem with its place`, () => {
      assert.deepEqual(expand(text).problems, [`f.yaml:7: key: ${problem}`]);
    });
  }

  test('to a name that every object has is not set', () => {
    assert.deepEqual(expand('${toString}').value, { key: null });
    assert.equal(expand('${__proto__}').warnings.length, 1);
  });

  test('of a file to itself is a problem', () => {
    const path = join(folder, 'itself.yaml');
    writeFileSync(path, `a: \${file:${path}}\nb: \${file:${path}}\n`);
    const { problems } = expand(`\${file:${path}}`);
    assert.deepEqual(problems, ['the configuration has more than 1000 references: does a file name itself?']);
  });
});

test('expansion of any text never throws, and leaves text without references alone', () => {
  const pieces = fc.constantFrom('$', '$$', '${', '}', '{', 'env:', 'HOST', 'NONE', ':-', 'yaml:', 'x', '[', '\n');
  const texts = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(pieces).map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const { value } = expand(text);
      if (!text.includes('$')) assert.deepEqual(value, { key: text });
    }),
  );
});

test('a text that nests very deep is expanded', () => {
  assert.deepEqual(expand('${'.repeat(50_000)).value, { key: '${'.repeat(50_000) });
  assert.equal(expand(`${'${NONE:-'.repeat(900)}x${'}'.repeat(900)}`).value['key'], 'x');
});

test('escaping makes any text stand for itself', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const { value, problems } = expand(text.replaceAll('$', '$$$$'));
      assert.deepEqual({ value, problems }, { value: { key: text }, problems: [] });
    }),
  );
});

test('the places of what is told are those of the file', () => {
  const tree = parseTree('a:\n  b: 1\n  c: ${NONE}\n', 'x.yaml', []);
  assert.match(expandTree(tree, {}, []).warnings[0]!, /^x\.yaml:3: a::c: /);
});
