import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import type { KernelMessage } from '../../../receiver/kernel/kmsg-record.ts';
import { LogLineReader } from '../../../receiver/kernel/log-line.ts';
import { known } from './reading.ts';

const nowMs = new Date(2026, 10, 20).getTime();
const text = 'hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0';

function read(...lines: string[]): (KernelMessage | undefined)[] {
  const reader = new LogLineReader(() => nowMs);
  return lines.map((line) => known(reader.read(line)) as KernelMessage | undefined);
}

const monotonicUs = 3_091_534;
const local = (...parts: [number, number, number, number, number, number]): number => new Date(...parts).getTime();

describe('LogLineReader', () => {
  const forms: [name: string, prefix: string, position: Omit<KernelMessage, 'text'>][] = [
    ['/dev/kmsg', '4,462,3091534,-;', { sequence: 462, monotonicUs, facility: 0 }],
    ['dmesg', '[    3.091534] ', { monotonicUs }],
    ['dmesg with the caller', '[    3.091534][  T134] ', { monotonicUs }],
    ['dmesg of util-linux 2.40 with the caller', '[    3.091534] [    C1] ', { monotonicUs }],
    ["dmesg of Android, of MediaTek's kernels", '<4>[    3.091534] (1)[134:hog]', { monotonicUs, facility: 0 }],
    ["dmesg of Android, of Huawei's kernels", '<4>[3.091534s][pid:134,cpu1,hog]', { monotonicUs, facility: 0 }],
    ['journalctl -o short-monotonic --no-hostname', '[    3.091534] kernel: ', { monotonicUs }],
    ['docker compose logs', 'dmesg-1  | [    3.091534] ', { monotonicUs }],
    ['dmesg --show-delta', '[    3.091534 <    0.000012>] ', { monotonicUs }],
    ['dmesg --raw', '<4>[    3.091534] ', { monotonicUs, facility: 0 }],
    ['dmesg --raw of a process', '<12>[    3.091534] ', { monotonicUs, facility: 1 }],
    ['dmesg --decode', 'kern  :warn  : [    3.091534] ', { monotonicUs, facility: 0 }],
    ['dmesg --decode of a process', 'user  :warn  : [    3.091534] ', { monotonicUs, facility: 1 }],
    ['dmesg --ctime', '[Wed Nov 12 20:13:52 2025] ', { wallTimeMs: local(2025, 10, 12, 20, 13, 52) }],
    ['dmesg --ctime, early in a month', '[Sat Nov  1 20:13:52 2025] ', { wallTimeMs: local(2025, 10, 1, 20, 13, 52) }],
    ['dmesg --reltime', '[  +0.000123] ', {}],
    [
      'dmesg --time-format=iso',
      '2025-11-12T20:13:52,091534+01:00 ',
      { wallTimeMs: Date.UTC(2025, 10, 12, 19, 13, 52, 91) },
    ],
    [
      'dmesg --decode --time-format=iso',
      'kern  :warn  : 2025-11-12T20:13:52,091534+01:00 ',
      { wallTimeMs: Date.UTC(2025, 10, 12, 19, 13, 52, 91), facility: 0 },
    ],
    [
      'a file of the kubelet',
      '2025-11-12T20:13:52.091534123Z stdout F [    3.091534] ',
      { monotonicUs, wallTimeMs: Date.UTC(2025, 10, 12, 20, 13, 52, 91) },
    ],
    ['journalctl', 'Nov 12 20:13:52 node-7 kernel: ', { wallTimeMs: local(2026, 10, 12, 20, 13, 52) }],
    ['journalctl --no-hostname', 'Nov 12 20:13:52 kernel: ', { wallTimeMs: local(2026, 10, 12, 20, 13, 52) }],
    ['journalctl of last year', 'Dec 24 20:13:52 node-7 kernel: ', { wallTimeMs: local(2025, 11, 24, 20, 13, 52) }],
    ['journalctl in French', 'nov. 12 20:13:52 node-7 kernel: ', {}],
    ['journalctl in German', 'Mär 12 20:13:52 node-7 kernel: ', {}],
    ['journalctl in Russian', 'ноя 12 20:13:52.250000 node-7 kernel: ', {}],
    ['journalctl in Chinese', '11月 12 20:13:52 node-7 kernel: ', {}],
    [
      'journalctl -o short-precise',
      'Nov 12 20:13:52.250000 node-7 kernel: ',
      { wallTimeMs: local(2026, 10, 12, 20, 13, 52) + 250 },
    ],
    [
      'journalctl -o short-iso',
      '2025-11-12T20:13:52+0100 node-7 kernel: ',
      { wallTimeMs: Date.UTC(2025, 10, 12, 19, 13, 52) },
    ],
    [
      'journalctl -o short-full',
      'Wed 2025-11-12 20:13:52 UTC node-7 kernel: ',
      { wallTimeMs: Date.UTC(2025, 10, 12, 20, 13, 52) },
    ],
    ['journalctl -o short-unix', '1762974832.250000 node-7 kernel: ', { wallTimeMs: 1_762_974_832_250 }],
    ['journalctl -o short-monotonic', '[    3.091534] node-7 kernel: ', { monotonicUs }],
    [
      'syslog',
      'Nov  2 20:13:52 node-7 kernel: [    3.091534] ',
      { monotonicUs, wallTimeMs: local(2026, 10, 2, 20, 13, 52) },
    ],
    [
      'rsyslog of Debian 12',
      '2025-11-12T20:13:52.091534+01:00 node-7 kernel: [    3.091534] ',
      { monotonicUs, wallTimeMs: Date.UTC(2025, 10, 12, 19, 13, 52, 91) },
    ],
    [
      'RFC 3164',
      '<4>Nov  2 20:13:52 node-7 kernel: [    3.091534] ',
      { monotonicUs, wallTimeMs: local(2026, 10, 2, 20, 13, 52), facility: 0 },
    ],
    [
      'RFC 5424',
      '<4>1 2025-11-12T20:13:52.091534+01:00 node-7 kernel - - - [    3.091534] ',
      { monotonicUs, wallTimeMs: Date.UTC(2025, 10, 12, 19, 13, 52, 91), facility: 0 },
    ],
    [
      "busybox' syslogd",
      'Nov 12 20:13:52 node-7 kern.warn kernel: [    3.091534] ',
      { monotonicUs, wallTimeMs: local(2026, 10, 12, 20, 13, 52) },
    ],
    [
      "OpenWrt's logread",
      'Wed Nov 12 20:13:52 2025 kern.warn kernel: [    3.091534] ',
      { monotonicUs, wallTimeMs: local(2025, 10, 12, 20, 13, 52) },
    ],
    [
      'talosctl dmesg',
      '10.5.0.2: kern: warning: [2025-11-12T20:13:52.091534321Z]: ',
      { wallTimeMs: Date.UTC(2025, 10, 12, 20, 13, 52, 91), facility: 0 },
    ],
    [
      'talosctl dmesg of a process',
      'node-7: user: warning: [2025-11-12T20:13:52.091534321Z]: ',
      { wallTimeMs: Date.UTC(2025, 10, 12, 20, 13, 52, 91), facility: 1 },
    ],
    [
      'kubectl logs --timestamps of a pod that follows dmesg',
      '2025-11-12T20:13:52.091534321Z [    3.091534] ',
      { monotonicUs, wallTimeMs: Date.UTC(2025, 10, 12, 20, 13, 52, 91) },
    ],
    ['dmesg --ctime in French', '[mer. 12 nov. 20:13:52 2025] ', {}],
    ['dmesg --ctime in Chinese', '[三 11月 12 20:13:52 2025] ', {}],
    ['dmesg --ctime in German', '[Mi Nov 12 20:13:52 2025] ', { wallTimeMs: local(2025, 10, 12, 20, 13, 52) }],
    [
      'dmesg --ctime --show-delta',
      '[Wed Nov 12 20:13:52 2025 <    0.000012>] ',
      { wallTimeMs: local(2025, 10, 12, 20, 13, 52) },
    ],
    ['the first line of journalctl -o short-delta', '[    3.091534                ] node-7 kernel: ', { monotonicUs }],
    [
      'journalctl -o short-full with a zone that has no name',
      'Wed 2025-11-12 20:13:52 +0330 node-7 kernel: ',
      { wallTimeMs: Date.UTC(2025, 10, 12, 16, 43, 52) },
    ],
    [
      'journalctl -o short-full with a zone of whole hours',
      'Wed 2025-11-12 20:13:52 -03 node-7 kernel: ',
      { wallTimeMs: Date.UTC(2025, 10, 12, 23, 13, 52) },
    ],
    ['what a search left of a syslog file', 'node-7 kernel: [    3.091534] ', { monotonicUs }],
    ['the name alone', 'kernel: ', {}],
    ['an indented log', '    [    3.091534] ', { monotonicUs }],
    ['a quoted log', '> > [    3.091534] ', { monotonicUs }],
    ['dmesg after months', '[12345678.000001] ', { monotonicUs: 12_345_678_000_001 }],
    ['dmesg --reltime, the first line of a minute', '[Nov12 20:13] ', {}],
    ['dmesg --reltime, early in a month', '[Nov 2 20:13] ', {}],
    ['dmesg --reltime after a pause', '[ +12.000123] ', {}],
    [
      "OpenWrt's logread early in a month",
      'Sun Nov  2 20:13:52 2025 kern.warn kernel: ',
      { wallTimeMs: local(2025, 10, 2, 20, 13, 52) },
    ],
    [
      'talosctl dmesg of one node',
      'kern:  notice: [2025-11-12T20:13:52Z]: ',
      { wallTimeMs: Date.UTC(2025, 10, 12, 20, 13, 52), facility: 0 },
    ],
    [
      'journalctl -o short-full of here',
      'Wed 2025-11-12 20:13:52.250000 CET node-7 kernel: ',
      { wallTimeMs: local(2025, 10, 12, 20, 13, 52) + 250 },
    ],
    ['a date without a zone', '2025-11-12 20:13:52 node-7 kernel: ', { wallTimeMs: local(2025, 10, 12, 20, 13, 52) }],
    ['a month that is none', 'Xyz 12 20:13:52 node-7 kernel: ', {}],
    ['a day that is none', '[Wed Xyz 12 20:13:52 2025] ', {}],
    ['bare text', '', {}],
  ];
  for (const [name, prefix, position] of forms) {
    it(`reads ${name}`, () => assert.deepEqual(read(`${prefix}${text}`), [{ ...position, text }]));
  }

  it('knows all months, and takes a date of up to a day ahead for this year', () => {
    const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
    for (const [month, name] of months.entries()) {
      const wallTimeMs = local(month === 11 ? 2025 : 2026, month, 9, 1, 2, 3);
      assert.deepEqual(read(`${name}  9 01:02:03 node-7 kernel: ${text}`), [{ wallTimeMs, text }]);
    }
    assert.equal(read(`Nov 20 23:00:00 kernel: ${text}`)[0]!.wallTimeMs, local(2026, 10, 20, 23, 0, 0));
    assert.equal(read(`Nov 21 01:00:00 kernel: ${text}`)[0]!.wallTimeMs, local(2025, 10, 21, 1, 0, 0));
  });

  it('takes no prefix but at the beginning of a line', () => {
    const prefixes = ['<4>', 'kern  :warn  : ', 'kern: warning: [2025-11-12T20:13:52Z]: ', 'Nov 12 20:13:52 kernel: '];
    for (const prefix of prefixes) assert.deepEqual(read(`- ${prefix}x`), [{ text: `- ${prefix}x` }]);
    assert.deepEqual(read('- kernel: x'), [{ text: 'x' }]);
    assert.deepEqual(read('a - kernel: x'), [{ text: 'a - kernel: x' }]);
  });

  it('keeps no blanks at the end of a line, and after a prefix those of its own at the beginning', () => {
    assert.deepEqual(read('[    3.091534]  [<ffff>] ? x \r'), [{ monotonicUs, text: ' [<ffff>] ? x' }]);
    assert.deepEqual(read('[    3.091534]x'), [{ monotonicUs, text: 'x' }]);
    assert.deepEqual(read('>   hog \r'), [{ text: 'hog' }]);
    assert.deepEqual(read('4,462,3091534,-;hog\r'), [{ sequence: 462, monotonicUs, facility: 0, text: 'hog' }]);
  });

  it('takes all lines to be indented as the first one that has a prefix', () => {
    assert.deepEqual(read('# a log', '    [    3.091534] a', '    [    3.091534] b', '  c', '    d'), [
      { text: '# a log' },
      { monotonicUs, text: 'a' },
      { monotonicUs, text: 'b' },
      { text: 'c', joint: '\n' },
      { text: 'd', joint: '\n' },
    ]);
    assert.deepEqual(read('[    3.091534] a', '    [    3.091534] b').at(-1), {
      text: '[    3.091534] b',
      joint: '\n',
    });
  });

  it('takes a paste after an empty line or a fence to be indented in its own way', () => {
    const a = { monotonicUs, text: 'a' };
    const lines = ['[    3.091534] a', '', '    [    3.091534] a', '```', '[    3.091534] a', '> ', '> - x', '>  b'];
    assert.deepEqual(read(...lines), [a, undefined, a, undefined, a, undefined, { text: '- x' }, { text: 'b' }]);
    // What journalctl writes of an empty line in a message, and what anyone put into the line after it.
    for (const blank of ['              ', '              ```']) {
      const forged = read('Nov 12 20:13:52 node-7 app[12]: x', blank, '              Nov 12 20:13:52 kernel: a').at(-1);
      assert.equal(forged?.joint, '\n');
    }
  });

  it('takes nothing that somebody wrote after an empty line of a message for the kernel', () => {
    const indent = ' '.repeat('Nov 12 20:13:52 app: '.length);
    const killed = 'Killed process 1 (x) total-vm:1kB';
    for (const mark of ['', '> ', '> > ', '| ']) {
      const blanks = [`${mark}${indent}`, `${mark}${indent}\`\`\``];
      for (const blank of blanks) {
        const forged = read(
          `${mark}Nov 12 20:13:52 app: x`,
          blank,
          `${mark}${indent}Nov 12 20:13:52 kernel: ${killed}`,
        );
        assert.equal(forged.at(-1)?.joint, '\n', blank);
      }
      // Blanks at the ends of lines do not survive every editor.
      for (const begin of ['', 'kernel: ', 'Nov 12 20:13:52 kernel: ']) {
        const [, , forged] = read(`${mark}Nov 12 20:13:52 app: x`, mark.trimEnd(), `${mark}${indent}${begin}${killed}`);
        assert.doesNotMatch(forged?.text ?? '', /^(?:kernel: )?Killed/, `${mark}|${begin}`);
      }
    }
  });

  it('reads the lines of files among which somebody searched', () => {
    const a = { wallTimeMs: local(2026, 10, 12, 20, 13, 52), text: 'a' };
    const line = 'Nov 12 20:13:52 node-7 kernel: a';
    const leads = [
      '/var/log/kern.log:',
      '/var/log/kern.log-',
      '/var/log/messages-20251109:',
      'kern.log:12:',
      'kern.log-13-',
      '12:',
    ];
    assert.deepEqual(
      read(...leads.map((lead) => lead + line)),
      leads.map(() => a),
    );
    assert.deepEqual(read(`    kern.log.1:${line}`), [a]);
    assert.deepEqual(read('kern.log:[    3.091534] a'), [{ monotonicUs, text: 'a' }]);
    assert.deepEqual(read('kern.log:2025-11-12T20:13:52Z node-7 kernel: a')[0]?.text, 'a');
  });

  it('reads a log in colour', () => {
    const a = { monotonicUs, text: 'hog invoked' };
    assert.deepEqual(read('\u001B[32m[    3.091534] \u001B[0m\u001B[33mhog\u001B[0m invoked'), [a]);
    assert.deepEqual(read('[    3.091534] hog \u001B[01;31m\u001B[Kinvoked\u001B[m\u001B[K'), [a]);
  });

  it('reads the first line after a crash', () => {
    assert.deepEqual(read(`${'\0'.repeat(100_000)}[    3.091534] a`), [{ monotonicUs, text: 'a' }]);
  });

  it('reads the lines of JSON that journalctl and Docker write', () => {
    const fields = { __REALTIME_TIMESTAMP: '1762974832000000', MESSAGE: 'a' };
    const wallTimeMs = 1_762_974_832_000;
    const lines = [
      { ...fields, _TRANSPORT: 'kernel' },
      { ...fields, _TRANSPORT: 'stdout' },
      { log: '[    3.091534] a\n', stream: 'stdout', time: '2025-11-12T19:13:52.000000000Z' },
      { other: 'a' },
    ].map((line) => JSON.stringify(line));
    const ofDocker = { wallTimeMs, monotonicUs, text: 'a' };
    assert.deepEqual(read(...lines), [{ wallTimeMs, text: 'a' }, undefined, ofDocker, { text: lines[3], joint: '\n' }]);
  });

  it('leaves out what other programs wrote to a journal or syslog file', () => {
    const lines = [
      'Nov 12 20:13:52 node-7 app[12]: Killed process 1 (x) total-vm:1kB, anon-rss:1kB, file-rss:0kB',
      'déc. 12 20:13:52 node-7 app[12]: Killed process 1 (x) total-vm:1kB, anon-rss:1kB, file-rss:0kB',
      'Nov 12 20:13:52 node-7 app: kernel: Killed process 1 (x) total-vm:1kB, anon-rss:1kB, file-rss:0kB',
      '2025-11-12T20:13:52+0100 node-7 app[12]: Killed process 1 (x) total-vm:1kB',
      '1762974832.250000 node-7 app[12]: Killed process 1 (x) total-vm:1kB',
      '<12>Nov 12 20:13:52 node-7 app[12]: Killed process 1 (x) total-vm:1kB',
      '<12>1 2025-11-12T20:13:52Z node-7 app 12 - - Killed process 1 (x) total-vm:1kB',
      'Nov 12 20:13:52 node-7 user.warn kernel: Killed process 1 (x) total-vm:1kB',
      '2025-11-12T20:13:52.091534321Z Killed process 1 (x) total-vm:1kB',
    ];
    for (const [index, told] of read(...lines).entries()) assert.equal(told, undefined, lines[index]);
  });

  it('leaves out empty lines and the keys of a record', () => {
    assert.deepEqual(read('6,1,2,-;usb', ' SUBSYSTEM=usb', '', '   '), [
      { sequence: 1, monotonicUs: 2, facility: 0, text: 'usb' },
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('tells that a line without prefix goes on with the one before that has one', () => {
    assert.deepEqual(read('[    1.000000] Killed process 137 (nl', '               name) total-vm:1kB').at(-1), {
      text: 'name) total-vm:1kB',
      joint: '\n',
    });
    assert.deepEqual(read('a', 'b').at(-1), { text: 'b' });
    for (const begin of ['```', '> ', '>```', '', '{"']) {
      const [, rest] = read('[    1.000000] Killed process 137 (nl', `${begin}c) total-vm:1kB`);
      assert.deepEqual(rest, { text: `${begin}c) total-vm:1kB`, joint: '\n' });
    }
    const forged = '  kernel: Killed process 1 (x) total-vm:1kB';
    assert.equal(read('[    1.000000] Killed process 137 (nl', forged).at(-1)!.joint, '\n');
  });

  it('keeps a row of the task table, whose bracket is no time', () => {
    const row = '[    134]     0   134     5373     5122    77824        0             0 hog';
    assert.deepEqual(read(row), [{ text: row }]);
    assert.deepEqual(read(`[    3.091534] ${row}`), [{ monotonicUs, text: row }]);
  });

  it('never throws and bounds the text', () => {
    const prefix = fc.constantFrom(...forms.map(([, start]) => start));
    fc.assert(
      fc.property(fc.array(fc.tuple(prefix, fc.string())), (lines) => void read(...lines.map((line) => line.join('')))),
    );
    assert.ok(read('a'.repeat(100_000))[0]!.text.length <= 32_768);
    for (const MESSAGE of ['a'.repeat(100_000), Array.from({ length: 100_000 }, () => 97)]) {
      const line = JSON.stringify({ __REALTIME_TIMESTAMP: '1', _TRANSPORT: 'kernel', MESSAGE });
      assert.equal(read(line)[0]!.text.length, 32_768);
    }
  });
});
