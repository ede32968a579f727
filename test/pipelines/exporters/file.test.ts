import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { constants } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { file } from '../../../pipelines/exporters/file.ts';
import { makeSettings } from '../../helpers/component-settings.ts';
import { decodeRequest } from '../../helpers/otlp-decoding.ts';
import { makeLog, makeMetrics } from '../../helpers/telemetry.ts';
import { problemsOf, startExporter, type Started } from './exporters.ts';

interface Setup extends Started {
  folder: string;
  path: string;
}

async function setUp(context: TestContext, section: Record<string, unknown> = {}): Promise<Setup> {
  const folder = await mkdtemp(join(tmpdir(), 'exit137-file-'));
  context.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'otlp.jsonl');
  const started = await startExporter(context, file, { path, flush_interval: '1h', ...section });
  return { folder, path, ...started };
}

const soon = () => AbortSignal.timeout(10_000);

/** The lines of a file, each one parsed; throws where one is not whole. */
async function readLines(path: string): Promise<Record<string, unknown[]>[]> {
  const text = await readFile(path, 'utf8');
  assert.ok(text === '' || text.endsWith('\n'));
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown[]>);
}

const SENT_LOGS = 'otelcol_exporter_sent_log_records{exporter=file}';
const failedLogs = (reason: string) => `otelcol_exporter_send_failed_log_records{exporter=file,reason=${reason}}`;

test('each batch is one line of OTLP JSON', async (context) => {
  const { exporter, settings, path } = await setUp(context);
  await exporter.consumeMetrics(makeMetrics(2, 3));
  await exporter.consumeLogs([makeLog({ body: 'two\nlines' })]);
  await exporter.shutdown(soon());
  const lines = await readLines(path);
  assert.deepEqual(
    lines.map((line) => Object.keys(line)),
    [['resourceMetrics'], ['resourceLogs']],
  );
  const [metrics, logs] = lines.map((line) => Buffer.from(JSON.stringify(line)));
  assert.equal(decodeRequest('metrics', 'json', metrics!).metrics.length, 2);
  assert.equal(decodeRequest('logs', 'json', logs!).logs[0]?.body, 'two\nlines');
  const series = await settings.series();
  assert.equal(series['otelcol_exporter_sent_metric_points{exporter=file}'], 6);
  assert.equal(series[SENT_LOGS], 1);
});

test('lines are written within the flush interval', async (context) => {
  const { exporter, path } = await setUp(context, { flush_interval: '5ms' });
  await exporter.consumeLogs([makeLog()]);
  while ((await readLines(path)).length === 0) await new Promise(setImmediate);
});

test('no line is longer than the Collector reads', async (context) => {
  const { exporter, path } = await setUp(context);
  await exporter.consumeMetrics(makeMetrics(300, 35));
  await exporter.shutdown(soon());
  const lines = (await readFile(path, 'utf8')).split('\n');
  assert.ok(lines.length > 2);
  for (const line of lines) assert.ok(Buffer.byteLength(line) < 1024 * 1024);
});

test('a file that is there is emptied at start, unless append is set', async (context) => {
  for (const append of [false, true]) {
    const { path, exporter } = await setUp(context);
    await exporter.consumeLogs([makeLog()]);
    await exporter.shutdown(soon());
    const again = await startExporter(context, file, { path, append });
    await again.exporter.consumeLogs([makeLog()]);
    await again.exporter.shutdown(soon());
    assert.equal((await readLines(path)).length, append ? 2 : 1);
  }
});

test('a full file is put aside under a dated name, and the oldest ones are removed', async (context) => {
  const { exporter, settings, folder } = await setUp(context, {
    rotation: { max_megabytes: 0.001, max_backups: 2 },
    flush_interval: 0,
  });
  await writeFile(join(folder, 'otlp-2020-01-01T00-00-00.000.jsonl'), '');
  await writeFile(join(folder, 'otlp-not-a-date.jsonl'), 'not ours');
  for (let i = 0; i < 8; i++) {
    await exporter.consumeLogs([makeLog({ attributes: { i } })]);
    while ((await settings.series())[SENT_LOGS] !== i + 1) await new Promise(setImmediate);
  }
  await exporter.shutdown(soon());
  const names = (await readdir(folder)).toSorted();
  const backups = names.filter((name) => /^otlp-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}\.jsonl$/.test(name));
  assert.equal(backups.length, 2);
  assert.ok(!backups.includes('otlp-2020-01-01T00-00-00.000.jsonl'));
  assert.ok(names.includes('otlp-not-a-date.jsonl'));
  for (const name of [...backups, 'otlp.jsonl']) assert.ok((await readLines(join(folder, name))).length > 0);
});

test('files put aside too long ago are removed', async (context) => {
  const rotation = { max_megabytes: 0.0001, max_days: 1 };
  const { exporter, folder } = await setUp(context, { rotation });
  const old = 'otlp-2020-01-01T00-00-00.000.jsonl';
  await writeFile(join(folder, old), '');
  await exporter.consumeLogs([makeLog()]);
  await exporter.shutdown(soon());
  const again = await startExporter(context, file, { path: join(folder, 'otlp.jsonl'), rotation });
  await again.exporter.consumeLogs([makeLog()]);
  await again.exporter.shutdown(soon());
  const names = await readdir(folder);
  assert.ok(!names.includes(old));
  assert.equal(names.length, 2);
});

test('a file that was taken away is made anew', async (context) => {
  const { exporter, path, folder } = await setUp(context, { flush_interval: '1ms' });
  await exporter.consumeLogs([makeLog()]);
  while ((await readLines(path)).length === 0) await new Promise(setImmediate);
  await rename(path, join(folder, 'taken'));
  await exporter.consumeLogs([makeLog(), makeLog()]);
  await exporter.shutdown(soon());
  assert.equal((await readLines(path)).length, 1);
  assert.equal((await readLines(join(folder, 'taken'))).length, 1);
});

test('where nothing can be written data is dropped, counted and told once; then it goes on', async (context) => {
  const { exporter, settings, path, folder } = await setUp(context, { flush_interval: '1ms' });
  await rm(folder, { recursive: true });
  for (let i = 1; i <= 3; i++) {
    await exporter.consumeLogs([makeLog()]);
    while ((await settings.series())[failedLogs('write_failed')] !== i) await new Promise(setImmediate);
  }
  await mkdir(folder);
  await exporter.consumeLogs([makeLog()]);
  await exporter.shutdown(soon());
  assert.equal((await readLines(path)).length, 1);
  assert.equal((await settings.series())[SENT_LOGS], 1);
  assert.deepEqual(
    settings.lines.map(({ message, fields }) => [message, fields['dropped_items']]),
    [
      ['cannot write: data is dropped', undefined],
      ['writing again', 3],
    ],
  );
  assert.match(String(settings.lines[0]?.fields['error']), /^cannot open ".*": ENOENT/);
});

test('a full disk drops and counts', async (context) => {
  const { exporter, settings } = await startExporter(context, file, { path: '/dev/full', append: true });
  await exporter.consumeLogs([makeLog()]);
  await exporter.shutdown(soon());
  assert.equal((await settings.series())[failedLogs('write_failed')], 1);
  assert.match(String(settings.lines[0]?.fields['error']), /^cannot write to "\/dev\/full": ENOSPC/);
});

test('a folder that is not there fails the start', async (context) => {
  await assert.rejects(startExporter(context, file, { path: '/no/such/folder/otlp.jsonl' }), {
    message: 'cannot open "/no/such/folder/otlp.jsonl"',
  });
});

test('shutdown past its deadline drops what is not written, and counts it', async (context) => {
  const { exporter, settings } = await setUp(context);
  await exporter.consumeLogs([makeLog()]);
  await exporter.shutdown(AbortSignal.abort());
  const counted = async () => {
    const series = await settings.series();
    return (series[failedLogs('shutdown')] ?? 0) + (series[SENT_LOGS] ?? 0);
  };
  assert.equal(await counted(), 1);
  await assert.rejects(exporter.consumeLogs([makeLog()]), { message: 'cannot write: the exporter is shutting down' });
});

test('what a disk does not take by the deadline of the shutdown is counted once, and told in one line', async (context) => {
  const folder = await mkdtemp(join(tmpdir(), 'exit137-file-'));
  const path = join(folder, 'pipe');
  execFileSync('mkfifo', [path]);
  // A pipe that nobody reads takes 64 KiB.
  const reader = await open(path, constants.O_RDWR | constants.O_NONBLOCK);
  context.after(async () => {
    await reader.close();
    await rm(folder, { recursive: true });
  });
  const { exporter, settings } = await startExporter(context, file, { path, append: true, flush_interval: '1ms' });
  await exporter.consumeLogs([makeLog({ body: 'x'.repeat(300_000) })]);
  const read = async () => (await reader.read(Buffer.alloc(65_536)).catch(() => ({ bytesRead: 0 }))).bytesRead;
  let bytes = 0;
  while (bytes === 0) bytes = await read();
  await exporter.consumeLogs([makeLog(), makeLog()]);
  await exporter.consumeMetrics(makeMetrics(2, 3));
  await exporter.shutdown(AbortSignal.timeout(50));
  const series = await settings.series();
  assert.equal(series[failedLogs('shutdown')], 3);
  assert.equal(series['otelcol_exporter_send_failed_metric_points{exporter=file,reason=shutdown}'], 6);
  const fields = { log_records: 3, metric_points: 6, error: 'the deadline of the shutdown has passed' };
  assert.deepEqual(settings.lines, [{ level: 'error', message: 'dropped data at shutdown', fields }]);
  while (bytes < 300_000) bytes += await read();
  await exporter.shutdown(soon());
  assert.equal((await settings.series())[SENT_LOGS], undefined);
});

test('shutdown before start writes and leaves nothing', async () => {
  const exporter = file.create(file.configSchema.parse({ path: '/no/such/folder/otlp.jsonl' }), makeSettings());
  await exporter.shutdown(soon());
  await exporter.shutdown(soon());
});

test('a wrong section is told key by key', () => {
  const problems = problemsOf(file, { format: 'proto', rotation: { max_megabytes: 0, age: 1 } });
  assert.deepEqual(
    problems.map((problem) => problem.split(':')[0]),
    ['path', 'format', 'rotation.max_megabytes', 'rotation'],
  );
  assert.equal(problems[0], 'path: a path is required');
});
