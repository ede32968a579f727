import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readProcessStart } from '../../../receiver/kernel/process-start.ts';

test('readProcessStart tells when this process was made', () => {
  const ranForMs = process.uptime() * 1000;
  const nowMs = Date.now();
  const startedAtMs = readProcessStart('/', process.pid, nowMs);
  assert.ok(startedAtMs !== undefined && startedAtMs <= nowMs - ranForMs + 50, `${startedAtMs}`);
  assert.ok(startedAtMs > nowMs - ranForMs - 5_000);
});

test('readProcessStart knows nothing of a process that is not there, nor where /proc is none', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'exit137-proc-'));
  t.after(() => rm(root, { recursive: true }));
  assert.equal(readProcessStart('/', 2 ** 30, 0), undefined);
  assert.equal(readProcessStart(root, 1, 0), undefined);
  await mkdir(join(root, 'proc/7'), { recursive: true });
  await writeFile(join(root, 'proc/uptime'), '100.00 1.00\n');
  await writeFile(join(root, 'proc/7/stat'), '7 (x');
  assert.equal(readProcessStart(root, 7, 0), undefined);
});

test('readProcessStart is misled by no name', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'exit137-proc-'));
  t.after(() => rm(root, { recursive: true }));
  await mkdir(join(root, 'proc/7'), { recursive: true });
  await writeFile(join(root, 'proc/uptime'), '100.00 1.00\n');
  const name = '(a) S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1';
  await writeFile(join(root, 'proc/7/stat'), `7 (${name}) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9000 1 1\n`);
  assert.equal(readProcessStart(root, 7, 1_000_000), 990_000);
});
