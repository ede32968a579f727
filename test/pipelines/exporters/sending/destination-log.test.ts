import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DestinationLog } from '../../../../pipelines/exporters/sending/destination-log.ts';
import { makeSettings, type LoggedLine } from '../../../helpers/component-settings.ts';

interface Setup {
  log: DestinationLog;
  lines: LoggedLine[];
  passSeconds: (seconds: number) => void;
}

function setUp(): Setup {
  let nowMs = 1_000_000;
  const { logger, lines } = makeSettings();
  const log = new DestinationLog(logger, 'logs', 'collector:4317', () => nowMs);
  return { log, lines, passSeconds: (seconds) => void (nowMs += seconds * 1000) };
}

const messages = (lines: readonly LoggedLine[]) => lines.map(({ message }) => message);

test('many failed attempts are one line, and so is the recovery', () => {
  const { log, lines, passSeconds } = setUp();
  log.sent();
  for (let i = 0; i < 100; i++) {
    log.failed(new Error('refused', { cause: new Error('by the firewall') }));
    passSeconds(10);
  }
  log.dropped(7, 'retries_exhausted', '', new Error('refused'));
  log.sent();
  log.sent();
  assert.deepEqual(messages(lines), ['cannot send, will try again', 'dropped data', 'sending again']);
  assert.equal(lines[0]?.fields['error'], 'refused: by the firewall');
  assert.deepEqual(lines[2]?.fields, {
    signal: 'logs',
    destination: 'collector:4317',
    failed_for_s: 1000,
    failed_attempts: 100,
    dropped_items: 7,
  });
});

test('a destination that fails now and then is told once', () => {
  const { log, lines, passSeconds } = setUp();
  for (let i = 0; i < 50; i++) {
    log.failed(new Error('reset'));
    log.sent();
    passSeconds(1);
  }
  assert.deepEqual(messages(lines), ['cannot send, will try again', 'sending again']);
});

test('a destination that fails again for long is told again', () => {
  const { log, lines, passSeconds } = setUp();
  log.failed(new Error('reset'));
  log.sent();
  passSeconds(30);
  log.failed(new Error('away'));
  passSeconds(61);
  log.failed(new Error('away'));
  log.sent();
  assert.equal(lines.length, 4);
  assert.equal(lines[3]?.fields['failed_for_s'], 61);
});

test('each kind of drop is a line of its own', () => {
  const { log, lines } = setUp();
  for (let i = 0; i < 10; i++) {
    log.dropped(1, 'permanent_error', 'HTTP 400', new Error(`HTTP 400: record ${i}`));
    log.dropped(1, 'permanent_error', 'HTTP 401', new Error('HTTP 401'));
    log.dropped(1, 'partial_success', '', 'too old');
  }
  assert.deepEqual(
    lines.map(({ level, fields }) => [level, fields['reason'], fields['error']]),
    [
      ['error', 'permanent_error', 'HTTP 400: record 0'],
      ['error', 'permanent_error', 'HTTP 401'],
      ['error', 'partial_success', 'too old'],
    ],
  );
});

test('drops that come back after a while are told with all that was not told before', () => {
  const { log, lines, passSeconds } = setUp();
  for (let i = 0; i < 10; i++) log.dropped(2, 'queue_full', 'queue', new Error('full'));
  passSeconds(301);
  log.dropped(2, 'queue_full', 'queue', new Error('full'));
  assert.deepEqual(
    lines.map(({ fields }) => fields['items']),
    [2, 20],
  );
});

test('kinds of drops without end do not fill memory or log', () => {
  const { log, lines } = setUp();
  for (let i = 0; i < 1000; i++) log.dropped(1, 'permanent_error', `HTTP ${i}`, new Error('no'));
  assert.equal(lines.length, 33);
});

test('a warning of the destination is told once', () => {
  const { log, lines } = setUp();
  log.warned('deprecated');
  log.warned('deprecated');
  assert.deepEqual(messages(lines), ['the destination warns']);
});
