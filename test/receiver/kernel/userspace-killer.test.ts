import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { LogLineReader } from '../../../receiver/kernel/log-line.ts';
import { mayTellUserspaceKill, parseUserspaceKill } from '../../../receiver/kernel/userspace-killer.ts';

const id = '7c1f9d0e2b3a'.padEnd(64, '0');
const scope = `docker-${id}.scope`;
const talos =
  '[talos] Sending SIGKILL to cgroup {"component": "controller-runtime", "controller": "runtime.OOMController"';
const pod = '/kubepods/burstable/podc11937f9-989d-48ba-8453-06d2baa9392b';
const pressure = 'for /system.slice being 62.11% > 60.00% for > 20s with reclaim activity';

describe('the log of a userspace OOM killer', () => {
  const lines: [string, ReturnType<typeof parseUserspaceKill>][] = [
    [
      `systemd-oomd[604]: Killed /system.slice/${scope} due to memory pressure ${pressure}`,
      { killer: 'systemd-oomd', memcg: `/system.slice/${scope}` },
    ],
    [
      `systemd-oomd[1332]: Marked /system.slice/${scope} for killing due to memory used (60776927232) / total (66940563456) and swap used (61069553664) / total (67830013952) being more than 90.00%`,
      { killer: 'systemd-oomd', memcg: `/system.slice/${scope}` },
    ],
    [
      `systemd[1]: ${scope}: systemd-oomd killed 3 process(es) in this unit.`,
      { killer: 'systemd-oomd', memcg: `/${scope}` },
    ],
    [
      'earlyoom[1593]: sending SIGTERM to process 2806237 uid 1000 "VLLM::EngineCor": badness 994, VmRSS 4229 MiB',
      { killer: 'earlyoom', pid: 2_806_237 },
    ],
    [
      'earlyoom[5]: sending SIGKILL to process 71 uid 991 "rustc": oom_score 1331, oom_score_adj 500, VmRSS 3287 MiB, cmdline "rustc"',
      { killer: 'earlyoom', pid: 71 },
    ],
    [`${talos}, "cgroup": "/sys/fs/cgroup${pod}"}`, { killer: 'talos', memcg: pod }],
    ['systemd-oomd[604]: Considered 43 cgroups for killing, top candidates were:', undefined],
    ['systemd[1]: Started web.service.', undefined],
    ['earlyoom[1593]: mem avail: 11988 of 128683 MiB ( 9.32%), swap free: 0 of 0 MiB ( 0.00%)', undefined],
    ['[talos] OOM controller triggered {"component": "controller-runtime"}', undefined],
    [`web[7]: systemd-oomd[604]: Killed /system.slice/${scope} due to memory pressure ${pressure}`, undefined],
  ];
  for (const [line, expected] of lines) {
    it(`${expected === undefined ? 'passes over' : 'reads'} "${line.slice(0, 70)}"`, () =>
      assert.deepEqual(parseUserspaceKill(line), expected));
  }

  it('is read in a journal or syslog file, with its date', () => {
    const reader = new LogLineReader(() => Date.UTC(2026, 10, 20));
    const [line] = lines[0]!;
    for (const host of ['node-7 ', '']) {
      const message = reader.read(`2025-11-12T20:13:52+01:00 ${host}${line}`);
      assert.deepEqual(message, {
        wallTimeMs: Date.UTC(2025, 10, 12, 19, 13, 52),
        facility: 3,
        monotonicUs: undefined,
        text: line,
      });
    }
    assert.equal(reader.read('2025-11-12T20:13:52+01:00 node-7 web[5]: earlyoom[5]: sending'), undefined);
  });

  it('is read without a throw and in linear time, whatever it holds', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        ...lines.map(([line]) => line),
        ' due to ',
        'for killing ',
        '"cgroup": "/sys/fs/cgroup',
        '/a',
        '{',
        '"',
      ),
      fc.string({ unit: 'binary', maxLength: 20 }),
    );
    fc.assert(
      fc.property(fc.constantFrom('systemd-oomd: Killed /', 'earlyoom', talos), fc.array(piece), (begin, pieces) => {
        const text = begin + pieces.join('');
        const kill = parseUserspaceKill(text);
        assert.ok(kill === undefined || mayTellUserspaceKill(text));
      }),
    );
    const timeOf = (length: number): number => {
      const texts = [
        `systemd-oomd: Killed /${'a'.repeat(length)}`,
        `${talos}${', "cgroup": "/sys/fs/cgroup'.repeat(length / 20)}`,
      ];
      const beganMs = performance.now();
      for (let round = 0; round < 20; round++) for (const text of texts) parseUserspaceKill(text);
      return performance.now() - beganMs;
    };
    timeOf(32_000);
    const least = (length: number): number => Math.min(timeOf(length), timeOf(length), timeOf(length));
    assert.ok(least(32_000) < 50 * Math.max(least(2_000), 0.2));
  });
});
