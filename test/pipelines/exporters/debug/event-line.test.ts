import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { eventLine } from '../../../../pipelines/exporters/debug/event-line.ts';
import { colourful, plain } from '../../../../pipelines/exporters/debug/style.ts';
import { makeLog } from '../../../helpers/telemetry.ts';

process.env['TZ'] = 'UTC';

const ID = '7c1f9d0e2b3a'.padEnd(64, '0');
const onDocker = resourceFromAttributes({ 'container.id': ID, 'container.name': 'web-1', 'host.name': 'node-1' });
const oomKill = makeLog({ resource: onDocker });

test('an event is one line: time, severity, name, container, sentence, key facts', () => {
  assert.equal(
    eventLine(oomKill, { attributes: 'none', style: plain }),
    "10:42:07.123  ERROR  container.oom_kill  web-1 (7c1f9d0e2b3a)  The kernel's OOM killer killed a child process of " +
      'web-1; its main process lives on.  oom.scope=container oom.victim=child process.pid=4711\n',
  );
});

test('lines of several events stand in columns', () => {
  const options = { attributes: 'none', style: plain, whoWidth: 30 } as const;
  const exit = makeLog({
    resource: onDocker,
    severityText: 'INFO',
    eventName: 'container.exit',
    body: 'web-1 exited.',
  });
  assert.equal(eventLine(oomKill, options).indexOf('The kernel'), eventLine(exit, options).indexOf('web-1 exited'));
});

test('a container of a pod is told by namespace, pod and container', () => {
  const resource = resourceFromAttributes({
    'k8s.namespace.name': 'shop',
    'k8s.pod.name': 'cart-0',
    'k8s.container.name': 'app',
    'container.id': ID,
    'container.name': 'k8s_app_cart-0_shop',
  });
  assert.match(
    eventLine(makeLog({ resource }), { attributes: 'none', style: plain }),
    / {2}shop\/cart-0\/app \(7c1f9d0e2b3a\) {2}/,
  );
});

test('a container whose name in its pod nobody tells is told by its pod', () => {
  const lineOf = (attributes: Record<string, string>) =>
    eventLine(makeLog({ resource: resourceFromAttributes({ ...attributes, 'container.id': ID }) }), {
      attributes: 'none',
      style: plain,
    });
  const sandbox = { 'k8s.namespace.name': 'shop', 'k8s.pod.name': 'cart-0', 'k8s.pod.uid': 'u1' };
  assert.match(lineOf(sandbox), / {2}shop\/cart-0 \(7c1f9d0e2b3a\) {2}/);
  assert.match(lineOf({ 'k8s.pod.uid': 'u1' }), / {2}pod u1 \(7c1f9d0e2b3a\) {2}/);
});

test('an event of no container is told by its host', () => {
  const resource = resourceFromAttributes({ 'host.name': 'node-1' });
  const line = eventLine(makeLog({ resource, eventName: 'system.oom_kill' }), { attributes: 'none', style: plain });
  assert.match(line, /^10:42:07\.123 {2}ERROR {2}system\.oom_kill {5}node-1 {2}The kernel/);
});

test('a terminal gets no line longer than it is, and the sentence stands under the severity', () => {
  const text = eventLine(oomKill, { attributes: 'none', style: plain, columns: 120 });
  assert.equal(
    text,
    '10:42:07.123  ERROR  container.oom_kill  web-1 (7c1f9d0e2b3a)\n' +
      "              The kernel's OOM killer killed a child process of web-1; its main process lives on.\n",
  );
  for (let columns = 60; columns < 200; columns++) {
    for (const line of eventLine(oomKill, { attributes: 'none', style: plain, columns }).split('\n')) {
      assert.ok(line.length <= columns, line);
    }
  }
});

test('a wide terminal gets the facts as well', () => {
  const text = eventLine(oomKill, { attributes: 'none', style: plain, columns: 220 });
  assert.match(text, /^[^\n]*oom\.scope=container[^\n]*\n$/);
});

test('all attributes stand below, one a line, in a column', () => {
  const text = eventLine(oomKill, { attributes: 'record', style: plain });
  assert.deepEqual(text.split('\n').slice(1), [
    '              oom.scope    container',
    '              oom.victim   child',
    '              oom.group    false',
    '              process.pid  4711',
    '',
  ]);
  assert.match(
    eventLine(oomKill, { attributes: 'record_and_resource', style: plain }),
    /\n {14}oom\.scope {7}container\n(?:.*\n)* {14}container\.name {2}web-1\n/,
  );
});

test('sizes of memory are told in units', () => {
  const attributes = { 'container.memory.usage': 66_584_576, 'container.memory.usage.limit': 67_108_864 };
  assert.match(
    eventLine(makeLog({ attributes }), { attributes: 'none', style: plain }),
    /container\.memory\.usage="63\.5 MiB" container\.memory\.usage\.limit="64 MiB"\n$/,
  );
});

test('severity has a colour, and nothing else is coloured', () => {
  const COLOURS: [severityNumber: number, severityText: string, code: number][] = [
    [5, 'DEBUG', 2],
    [9, 'INFO', 32],
    [13, 'WARN', 33],
    [17, 'ERROR', 31],
    [21, 'FATAL', 31],
  ];
  for (const [severityNumber, severityText, code] of COLOURS) {
    const record = makeLog({ severityNumber, severityText });
    const text = eventLine(record, { attributes: 'none', style: colourful });
    assert.ok(text.includes(`\u001b[${code}m${severityText.padEnd(5)}\u001b[`));
    assert.equal(stripStyle(text), eventLine(record, { attributes: 'none', style: plain }));
  }
});

test('a record without text for its severity is told by its number', () => {
  const line = eventLine(makeLog({ severityText: undefined, severityNumber: 14 }), {
    attributes: 'none',
    style: plain,
  });
  assert.match(line, /^\S+ {2}WARN {3}container/);
});

test('a bare record is a line, too', () => {
  const bare = makeLog({
    severityText: undefined,
    severityNumber: undefined,
    eventName: undefined,
    body: undefined,
    attributes: {},
    resource: resourceFromAttributes({}),
  });
  assert.match(eventLine(bare, { attributes: 'none', style: plain }), /^10:42:07\.123 {9}log {15} {2}this node\n$/);
});

test('hostile text in every field cannot leave its line or touch the terminal', () => {
  const hostile = 'x\n10:42:07.123  ERROR  forged\u001b[2J\u009b31m\u202e\u2028';
  const record = makeLog({
    severityText: hostile,
    eventName: hostile,
    body: hostile,
    attributes: { [hostile]: hostile, 'oom.scope': hostile },
    resource: resourceFromAttributes({ 'container.id': hostile, 'container.name': hostile, [hostile]: [hostile] }),
  });
  for (const attributes of ['none', 'record', 'record_and_resource'] as const) {
    const lines = eventLine(record, { attributes, style: plain }).split('\n');
    assert.equal(lines.length, { none: 2, record: 4, record_and_resource: 7 }[attributes]);
    for (const line of lines) assert.doesNotMatch(line, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  }
});

test('no field can make a line endless', () => {
  const long = 'x'.repeat(1_000_000);
  const record = makeLog({ body: long, eventName: long, attributes: { 'oom.scope': long } });
  assert.ok(eventLine(record, { attributes: 'none', style: plain }).length < 2_000);
  assert.ok(eventLine(record, { attributes: 'record', style: plain }).length < 4_000);
});

function stripStyle(text: string): string {
  // oxlint-disable-next-line no-control-regex -- the codes are what is looked for
  return text.replaceAll(/\u001b\[\d+m/g, '');
}
