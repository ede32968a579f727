import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { KernelMessage } from '../../../receiver/kernel/kmsg-record.ts';
import { SplitMessageJoiner } from '../../../receiver/kernel/split-message.ts';

const record = (text: string): KernelMessage => ({ text, sequence: 1, monotonicUs: 1 });
const rest = (text: string): KernelMessage => ({ ...record(text), joint: '' });
const bare = (text: string): KernelMessage => ({ text, joint: '\n' });

/** All that comes out. */
function join(...messages: KernelMessage[]): string[] {
  const joiner = new SplitMessageJoiner();
  return [...messages.flatMap((message) => joiner.feed(message)), ...joiner.flush()].map(({ text }) => text);
}

const whole = [
  'oom-kill:constraint=CONSTRAINT_MEMCG,task=hog,pid=134,uid=-2',
  'Task in /a killed as a result of limit of /a',
  'Tasks in /a are going to be killed due to memory.oom.group set',
  'Memory cgroup stats for /a:',
  'Killed process 134 (hog)',
  'Kill process 134 (hog)',
  'Memory cgroup out of memory: Killed process 134 (hog)',
  'Out of memory: Killed process 134 (hog)',
];

suite('messages that the kernel split', () => {
  test('are joined wherever they were cut, across those of others', () => {
    for (const text of whole) {
      const known =
        /^(?:oom-kill:|Tasks? in |Memory cgroup (?:stats for |out of memory)|Kill(?:ed)? process |Out of memory)/;
      for (let at = known.exec(text)![0].length; at < text.length - 1; at++) {
        const [begin, end] = [record(text.slice(0, at)), rest(text.slice(at))];
        assert.deepEqual(join(begin, end, record('other')), [text, 'other'], `${at} of ${text}`);
        assert.deepEqual(join(begin, record('other'), end), ['other', text], `${at} of ${text}`);
      }
    }
  });

  test('are held back until the next one shows that they are whole', () => {
    const joiner = new SplitMessageJoiner();
    assert.deepEqual(joiner.feed(record(whole[0]!)), []);
    assert.deepEqual(
      joiner.feed(record('other')).map(({ text }) => text),
      [whole[0], 'other'],
    );
    assert.deepEqual(joiner.flush(), []);
  });

  test('are given as they are where another one begins', () => {
    assert.deepEqual(join(record('Killed process 134 (ho'), record(whole[4]!)), ['Killed process 134 (ho', whole[4]]);
    // A fragment that begins like one of its own is one where the other was whole.
    assert.deepEqual(join(record(whole[4]!), rest(whole[0]!)), [whole[4], whole[0]]);
  });

  test('wait for 64 others, and no longer', () => {
    const others = (count: number): KernelMessage[] => Array.from({ length: count }, () => record('other'));
    assert.equal(join(record('Killed process 134 (ho'), ...others(64), rest('g)')).at(-1), 'Killed process 134 (hog)');
    assert.equal(join(record('Killed process 134 (ho'), ...others(65), rest('g)')).at(-1), 'g)');
  });

  test('have at most 64 pieces, and 32 KiB', () => {
    const pieces = (count: number): string[] =>
      join(record('Killed process 134 ('), ...Array.from({ length: count }, () => rest('x')));
    assert.deepEqual(pieces(63), [`Killed process 134 (${'x'.repeat(63)}`]);
    assert.deepEqual(pieces(64), ['x', `Killed process 134 (${'x'.repeat(63)}`]);
    const [long] = join(record('Killed process 134 ('), rest('x'.repeat(30_000)), rest('x'.repeat(30_000)));
    assert.equal(long!.length, 32_768);
  });

  test('go on in a line without prefix only right after an unfinished one', () => {
    assert.deepEqual(join(record('Killed process 134 (nl'), bare('name)')), ['Killed process 134 (nl\nname)']);
    assert.deepEqual(join(record('Killed process 134 (nl'), record('other'), { text: 'name)' }), [
      'other',
      'name)',
      'Killed process 134 (nl',
    ]);
    for (const place of [{ sequence: 1 }, { monotonicUs: 1 }, { wallTimeMs: 1 }]) {
      const next = { text: 'name)', ...place };
      assert.deepEqual(join({ text: 'Killed process 134 (nl', ...place }, next), ['name)', 'Killed process 134 (nl']);
    }
    assert.deepEqual(join({ text: 'Killed process 134 (nl' }, { text: 'name)' }), ['Killed process 134 (nl\nname)']);
    assert.deepEqual(join({ text: whole[4]! }, { text: 'other' }), [whole[4], 'other']);
  });

  test('have no newline in the name of a group', () => {
    for (const text of whole.slice(1, 4)) assert.deepEqual(join(record(text), bare('--')), [text, '--']);
    assert.deepEqual(
      join(record('Tasks in /docker/7c'), bare('1f are going to be killed due to memory.oom.group set')),
      ['Tasks in /docker/7c1f are going to be killed due to memory.oom.group set'],
    );
  });

  test('end where they were whole, if what followed is no part of them', () => {
    assert.deepEqual(join(record(whole[0]!), rest(' and so on')), [whole[0]]);
  });
});
