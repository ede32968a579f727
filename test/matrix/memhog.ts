import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cachePath } from '../helpers/cache.ts';

const source = join(import.meta.dirname, '../runtimes/memhog.c');

/** The program that takes memory; made where it is missing or old. */
export function memhog(): string {
  const program = cachePath('memhog');
  if (modifiedMs(program) > modifiedMs(source)) return program;
  mkdirSync(dirname(program), { recursive: true });
  const made = `${program}.${process.pid}`;
  execFileSync('gcc', ['-O2', '-static', '-s', '-o', made, source]);
  renameSync(made, program);
  return program;
}

function modifiedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
