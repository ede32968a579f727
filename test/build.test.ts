import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import packageJson from '../package.json' with { type: 'json' };
import { requires } from './helpers/requires.ts';

test('the bundle comes with the licences of the packages that are in it', requires('bundle'), async () => {
  const text = await readFile(join(import.meta.dirname, '../dist/main.mjs.LEGAL.txt'), 'utf8');
  // Of the others types alone are used, or something is replaced by it.
  for (const name of [
    '@bufbuild/protobuf',
    '@grpc/grpc-js',
    '@opentelemetry/core',
    'dockerode',
    'undici',
    'zod',
  ] as const)
    assert.ok(text.includes(`\n${name} ${packageJson.dependencies[name]}\n`), name);
  assert.match(text, /\nMIT License\n[^]*\nPermission is hereby granted/);
  assert.match(text, /Apache License\n +Version 2\.0/);
  assert.ok(!text.includes('\nprettier '), 'what is not in it');
});
