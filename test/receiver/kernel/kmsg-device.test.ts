import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { KmsgDevice } from '../../../receiver/kernel/kmsg-device.ts';
import type { LogStart } from '../../../receiver/kernel/log-tap.ts';

/** What a read gives: a record, or the code of an error. */
type Answer = { record: string } | { code: string };

const fail = (code: string): Answer => ({ code });
const record = (sequence: number, text = `line ${sequence}`, fields = '6'): Answer => ({
  record: `${fields},${sequence},${sequence * 1000},-;${text}\n`,
});

/** A device that answers so, and then has nothing more; told is what it tells of all that. */
function readAll(answers: Answer[], start: Partial<LogStart> = {}, onMessage = () => {}) {
  const told: string[] = [];
  let turns = 0;
  const queue = [...answers];
  const device = KmsgDevice.open('/dev/null', { startUs: 0, bootId: 'this', ...start }, (_fd, buffer) => {
    const answer = queue.shift() ?? fail('EAGAIN');
    if ('record' in answer) return buffer.write(answer.record, 'latin1');
    throw Object.assign(new Error(answer.code), { code: answer.code });
  });
  try {
    const sink = {
      message: ({ text }: { text: string }, old: boolean) => {
        onMessage();
        told.push(old ? `(${text})` : text);
      },
      gap: ({ reason, lostRecords }: { reason: string; lostRecords?: number }, old: boolean) =>
        void told.push(`${old ? 'old ' : ''}${reason} ${lostRecords}`),
      malformed: (what: string) => void told.push(what),
    };
    while (device.read(sink)) turns++;
    return { told, turns, lastSequence: device.lastSequence };
  } finally {
    device.close();
  }
}

suite('/dev/kmsg', () => {
  test('gives what the kernel wrote, and passes over what processes wrote', () => {
    const answers = [record(1), record(2, 'forged', '12'), record(3, 'a \\x22name\\x22')];
    const { told, lastSequence } = readAll(answers);
    assert.deepEqual({ told, lastSequence }, { told: ['line 1', 'a "name"'], lastSequence: 3 });
  });

  test('counts the records that were overwritten before they were read', () => {
    const answers = [record(1), fail('EPIPE'), record(42), record(43)];
    assert.deepEqual(readAll(answers).told, ['line 1', 'overrun 40', 'line 42', 'line 43']);
  });

  test('sees a gap in the numbers without an error, of records of processes too', () => {
    const answers = [record(1, 'forged', '12'), record(5, 'forged', '12'), record(6)];
    assert.deepEqual(readAll(answers).told, ['lost 3', 'line 6']);
  });

  test('goes on after a record that does not fit, and after a signal', () => {
    const answers = [record(1), fail('EINVAL'), fail('EINTR'), record(3)];
    assert.deepEqual(readAll(answers).told, ['line 1', 'kernel log record longer than the buffer', 'lost 1', 'line 3']);
  });

  test('passes over what is no record', () => {
    const answers = [{ record: 'nonsense\n' }, { record: '6,99999999999999999,1,-;x\n' }, { record: '6,7' }, record(8)];
    const malformed = 'kernel log record that cannot be read';
    assert.deepEqual(readAll(answers).told, [malformed, malformed, malformed, 'line 8']);
  });

  test('gives others their turn in a long log', () => {
    const { told, turns } = readAll(Array.from({ length: 1_200 }, (_, index) => record(index)));
    // After 500 records, or a few milliseconds.
    assert.ok(turns >= 2, `${turns} turns`);
    assert.equal(told.length, 1_200);
  });

  test('reads a hundred records at each turn, though the time of a turn passes without', () => {
    const busy = (): void => {
      for (const untilMs = performance.now() + 6; performance.now() < untilMs;);
    };
    const { told, turns } = readAll(
      Array.from({ length: 110 }, (_, index) => record(index)),
      {},
      busy,
    );
    assert.deepEqual([told.length, turns], [110, 1]);
  });

  test('says what cannot be read', () => {
    assert.throws(() => readAll([fail('EIO')]), /^Error: cannot read "\/dev\/null"$/);
    assert.throws(() => KmsgDevice.open('/nowhere/kmsg', { startUs: 0 }), /^Error: cannot open "\/nowhere\/kmsg"$/);
  });

  test('calls old what was logged before the start', () => {
    const answers = [record(1), record(2), record(3)];
    assert.deepEqual(readAll(answers, { startUs: 2_500 }).told, ['(line 1)', '(line 2)', 'line 3']);
  });

  test('goes on after the last record that was told, and sees what was lost since', () => {
    const start = { startUs: 1e9, resumeAfter: { bootId: 'this', sequence: 2 } };
    assert.deepEqual(readAll([record(1), record(2), record(3)], start).told, ['(line 1)', '(line 2)', 'line 3']);
    assert.deepEqual(readAll([record(7)], start).told, ['lost 4', 'line 7']);
  });

  test('tells all of a boot that nobody has seen', () => {
    const start = { startUs: 1e9, resumeAfter: { bootId: 'another', sequence: 2 } };
    assert.deepEqual(readAll([record(0), record(1)], start).told, ['line 0', 'line 1']);
    assert.deepEqual(readAll([record(5)], start).told, ['lost 5', 'line 5']);
  });
});
