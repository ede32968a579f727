import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { debug, DebugExporter } from '../../../pipelines/exporters/debug.ts';
import { makeSettings, type TestSettings } from '../../helpers/component-settings.ts';
import { makeGauge, makeLog, makeMetrics } from '../../helpers/telemetry.ts';
import { problemsOf } from './exporters.ts';

interface Setup {
  exporter: DebugExporter;
  settings: TestSettings;
  output: PassThrough;
  written: () => string;
}

function setUp(section: Record<string, unknown> = {}, terminal: object = {}): Setup {
  const output = Object.assign(new PassThrough(), terminal);
  const settings = makeSettings('debug');
  const exporter = new DebugExporter(debug.configSchema.parse(section), settings, output);
  return { exporter, settings, output, written: () => String(output.read() ?? '') };
}

const SENT_LOGS = 'otelcol_exporter_sent_log_records{exporter=debug}';
const failedLogs = (reason: string) => `otelcol_exporter_send_failed_log_records{exporter=debug,reason=${reason}}`;

test('basic writes a line for each event and nothing for metrics', async () => {
  const { exporter, written, settings } = setUp();
  await exporter.consumeLogs([makeLog(), makeLog()]);
  await exporter.consumeMetrics(makeMetrics(2, 2));
  const lines = written().split('\n');
  assert.equal(lines.length, 3);
  assert.match(lines[0]!, /container\.oom_kill {2}web-1 \(0{12}\) {2}The kernel's OOM killer/);
  assert.deepEqual(await settings.series(), {
    [SENT_LOGS]: 2,
    'otelcol_exporter_sent_metric_points{exporter=debug}': 4,
  });
});

test('normal adds the attributes of the event', async () => {
  const { exporter, written } = setUp({ verbosity: 'normal' });
  await exporter.consumeLogs([makeLog()]);
  await exporter.consumeMetrics(makeMetrics(1, 1));
  const text = written();
  assert.match(text, /\n {14}process\.pid {2}4711\n$/);
  assert.doesNotMatch(text, /container\.runtime/);
});

test('detailed adds the attributes of the resource, and a table for each batch of metrics', async () => {
  const { exporter, written } = setUp({ verbosity: 'detailed' });
  const metrics = makeMetrics(2, 0);
  metrics[0]!.scopeMetrics[0]!.metrics.push(makeGauge('container.memory.usage', 1024));
  await exporter.consumeLogs([makeLog()]);
  await exporter.consumeMetrics(metrics);
  const text = written();
  assert.match(text, /container\.runtime {2}docker\n/);
  assert.match(text, / {2}2 containers\n {2}CONTAINER +USAGE\n {2}web-0 \(0{12}\) +1 KiB\n/);
});

test('colours are for terminals that show them', async () => {
  const onTerminal = setUp({}, { isTTY: true, columns: 200, hasColors: () => true });
  await onTerminal.exporter.consumeLogs([makeLog()]);
  assert.ok(onTerminal.written().includes('\u001b[31mERROR'));
  const withoutColours = setUp({}, { isTTY: true, columns: 200, hasColors: () => false });
  await withoutColours.exporter.consumeLogs([makeLog()]);
  assert.ok(!withoutColours.written().includes('\u001b'));
});

test('lines are as long as they are, but on a terminal', async () => {
  const piped = setUp({}, { columns: 80 });
  await piped.exporter.consumeLogs([makeLog()]);
  assert.equal(piped.written().split('\n').length, 2);
  const onTerminal = setUp({}, { isTTY: true, columns: 80 });
  await onTerminal.exporter.consumeLogs([makeLog()]);
  assert.ok(onTerminal.written().split('\n').length > 2);
  const withoutSize = setUp({}, { isTTY: true, columns: 0 });
  await withoutSize.exporter.consumeLogs([makeLog()]);
  assert.equal(withoutSize.written().split('\n').length, 2);
});

test('a reader that does not read costs lines, which are counted, and not memory', async () => {
  const { exporter, settings, output } = setUp();
  const log = makeLog({ body: 'x'.repeat(1000) });
  for (let i = 0; i < 3000; i++) await exporter.consumeLogs([log]);
  assert.ok(output.writableLength < 2 * 1024 * 1024);
  const series = await settings.series();
  const dropped = series[failedLogs('buffer_full')]!;
  assert.ok(dropped > 0);
  assert.equal(series[SENT_LOGS]! + dropped, 3000);
  assert.equal(settings.lines.length, 1);
  output.resume();
  await once(output, 'drain');
  await exporter.consumeLogs([log]);
  assert.equal(settings.lines.length, 2);
});

test('an output that is gone is told once; events are counted as dropped', async () => {
  const { exporter, settings, output } = setUp();
  output.destroy(new Error('write EPIPE'));
  await new Promise((resolve) => output.once('close', resolve));
  await exporter.consumeLogs([makeLog()]);
  await exporter.consumeLogs([makeLog()]);
  await exporter.shutdown();
  assert.equal((await settings.series())[failedLogs('write_failed')], 2);
  assert.deepEqual(
    settings.lines.map(({ fields }) => fields['error']),
    ['write EPIPE'],
  );
});

test('a process whose standard output is closed under it lives on', async () => {
  const program = `
    import { debug } from './pipelines/exporters/debug.ts';
    import { makeSettings } from './test/helpers/component-settings.ts';
    import { makeLog } from './test/helpers/telemetry.ts';
    const settings = makeSettings('debug');
    const exporter = debug.create(debug.configSchema.parse({}), settings);
    await exporter.consumeLogs([makeLog()]);
    await new Promise((resolve) => process.stdin.once('end', resolve).resume());
    while (settings.lines.length === 0) {
      await exporter.consumeLogs([makeLog()]);
      await new Promise(setImmediate);
    }
    process.exitCode = 42;
  `;
  const cwd = join(import.meta.dirname, '../../..');
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', program], {
    cwd,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  child.stdout.destroy();
  child.stdin.end();
  assert.deepEqual(await once(child, 'exit'), [42, null]);
});

test('a wrong section is told key by key', () => {
  assert.deepEqual(
    problemsOf(debug, { verbosity: 'loud', output: '/tmp/x', sampling: 1 }).map((problem) => problem.split(':')[0]),
    ['verbosity', 'output', ''],
  );
});
