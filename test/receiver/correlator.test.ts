import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ContainerTable } from '../../receiver/container-table.ts';
import { Correlator } from '../../receiver/correlator.ts';
import type { Incident } from '../../receiver/incident.ts';
import type { Observation } from '../../receiver/observation.ts';
import { idOf, observationsOf, strayOf, victimOf } from './observations.ts';

const settleMs = 600;
const id = idOf(1);
const {
  appeared,
  counted,
  exited,
  gone,
  hinted,
  mainProcess,
  processes,
  removed,
  stuck,
  seen,
  signalled,
  started,
  stopped,
} = observationsOf(id);
const kernelTotal = (atMs: number, total: number): Observation => ({ kind: 'node_oom_kills_counted', atMs, total });

/** A correlator of its own, and a clock by hand. */
function makeReceiver({ isRuntimeUp = true, isKernelLogUp = false, isBeginning = (): boolean => false } = {}) {
  const correlator = new Correlator(new ContainerTable(100), settleMs, {
    isRuntimeUp: () => isRuntimeUp,
    isKernelLogUp: () => isKernelLogUp,
    isBeginning: () => isBeginning(),
  });
  const at = (monotonicMs: number, wallMs = monotonicMs) => ({ wallMs, monotonicMs });
  let latestMs = -Infinity;
  return {
    correlator,
    ledger: correlator.ledger,
    /** Where nothing else is said it comes when it was seen, or after the one before. */
    take: (observation: Observation, nowMs = Math.max(latestMs, observation.atMs), wallMs?: number) => {
      latestMs = nowMs;
      return correlator.take(observation, at(nowMs, wallMs));
    },
    begin: (nowMs: number): Incident[] => correlator.begin(at(nowMs)),
    settle: (nowMs = Infinity): Incident[] => correlator.cases.settle(at(nowMs)),
    get dueAtMs() {
      return correlator.cases.dueAtMs;
    },
  };
}

/** `oom_kill child`, `exit oom_killed oom_container`, `restart`. */
function summarize(incident: Incident): string {
  switch (incident.kind) {
    case 'oom_kill':
      return `oom_kill ${incident.victim}`;
    case 'exit':
      return `exit ${incident.reason} ${incident.cause}`;
    case 'restart':
      return 'restart';
    case 'pod_oom_kill':
      return `pod_oom_kill ${incident.pod?.uid ?? 'unknown'} ${incident.scope}`;
    case 'crash_loop':
      return `crash_loop ${incident.state}`;
    case 'node_oom_kill':
      return `node_oom_kill ${incident.scope}`;
    case 'memory_stuck':
      return `memory_stuck ${incident.reason}`;
  }
}

/** What is told by the end of these observations, the last wait included. */
function tell(...observations: Observation[]): string[] {
  const receiver = makeReceiver();
  return [...observations.flatMap((observation) => receiver.take(observation)), ...receiver.settle()].map(summarize);
}

const running = [appeared(900), started(1000), kernelTotal(1000, 40)];

describe('Correlator', () => {
  const cases: [string, Observation[], string[]][] = [
    [
      'the main process is OOM killed, the hint first',
      [hinted(5000), counted(5001), exited(5030, 137)],
      ['oom_kill init', 'exit oom_killed oom_container'],
    ],
    [
      'the main process is OOM killed, its exit first',
      [exited(5000, 137), counted(5020)],
      ['oom_kill init', 'exit oom_killed oom_container'],
    ],
    [
      'the main process shows a pending SIGKILL before its exit is told',
      [counted(5000), mainProcess(5002, false), exited(5030, 137)],
      ['oom_kill init', 'exit oom_killed oom_container'],
    ],
    [
      'a child is OOM killed and the main process lives on',
      [hinted(5000), counted(5001), mainProcess(5010, true)],
      ['oom_kill child'],
    ],
    [
      'the main process is OOM killed, its group goes unread, and it is started again within the settle time',
      [kernelTotal(5001, 41), gone(5002), exited(5030, 137), appeared(5200), started(5300)],
      ['restart', 'oom_kill init', 'exit oom_killed oom_container'],
    ],
    [
      'nobody could look at the main process, and it did not exit',
      [seen(1001, { startedAtMs: 1000, pid: 70 }), counted(5000)],
      ['oom_kill child'],
    ],
    ['nobody knows which process is the main one', [counted(5000)], ['oom_kill unknown']],
    [
      'nobody knows the main process, and its end is told when the kill is',
      [counted(5000), processes(5100), exited(5300, 137)],
      ['oom_kill init', 'exit oom_killed oom_container'],
    ],
    [
      'three children at once',
      [counted(5000, 3), mainProcess(5010, true)],
      ['oom_kill child', 'oom_kill child', 'oom_kill child'],
    ],
    [
      'the main process and two others',
      [counted(5000, 3), exited(5030, 137)],
      ['oom_kill init', 'oom_kill child', 'oom_kill child', 'exit oom_killed oom_container'],
    ],
    [
      'memory.oom.group with four processes counts five',
      [counted(5000, 5, { oomGroupKills: 1 }), exited(5030, 137)],
      ['oom_kill init', 'oom_kill child', 'oom_kill child', 'oom_kill child', 'exit oom_killed oom_container'],
    ],
    [
      'a child is OOM killed and the main process then exits with an error of its own',
      [counted(5000), exited(5030, 1)],
      ['oom_kill child', 'exit error app_error'],
    ],
    [
      'a child is OOM killed and an hour later the container is stopped',
      [counted(5000), mainProcess(5010, true), signalled(3_600_000, 15), exited(3_600_100, 0), stopped(3_600_110)],
      ['oom_kill child', 'exit completed stopped'],
    ],
    [
      'a child is OOM killed and an hour later a stop times out',
      [
        counted(5000),
        mainProcess(5010, true),
        signalled(3_600_000, 15),
        signalled(3_610_000, 9),
        exited(3_610_020, 137),
        stopped(3_610_030),
      ],
      ['oom_kill child', 'exit killed stopped'],
    ],
    [
      'a child is OOM killed and half a second later somebody kills the main process',
      [seen(1001, { startedAtMs: 1000, pid: 70 }), counted(5000), mainProcess(5010, true), exited(5500, 137)],
      ['oom_kill child', 'exit killed killed_externally'],
    ],
    [
      'a kill, and an end of which nobody tells the exit code',
      [counted(5000), exited(5030)],
      ['oom_kill init', 'exit oom_killed oom_container'],
    ],
    [
      'a kill whose victim nobody knows, and docker kill of the main process before that can be looked at',
      [seen(1001, { startedAtMs: 1000, pid: 70 }), counted(5000), signalled(5005, 9), exited(5010, 137)],
      ['oom_kill unknown', 'exit killed killed_externally'],
    ],
    [
      'the same, seen to die of the one or the other',
      [counted(5000), signalled(5005, 9), mainProcess(5006, false), exited(5010, 137)],
      ['oom_kill unknown', 'exit killed killed_externally'],
    ],
    [
      'the same, seen to die before it was asked for',
      [counted(5000), mainProcess(5004, false), signalled(5005, 9), exited(5010, 137)],
      ['oom_kill init', 'exit oom_killed oom_container'],
    ],
    [
      'a kill whose victim nobody knows while a stop times out',
      [signalled(5000, 15), counted(14_990), signalled(15_000, 9), exited(15_020, 137), stopped(15_030)],
      ['oom_kill unknown', 'exit killed stopped'],
    ],
    [
      'the main process is OOM killed while it is asked to stop',
      [signalled(5000, 15), counted(5100), exited(5110, 137), stopped(5120)],
      ['oom_kill init', 'exit oom_killed oom_container'],
    ],
    [
      'the main process is OOM killed long after a SIGKILL was asked for that did not end it',
      [signalled(5000, 9), counted(16_000), exited(16_010, 137)],
      ['oom_kill init', 'exit oom_killed oom_container'],
    ],
    ['hints without a kill', [hinted(5000), hinted(5001), hinted(5002)], []],
    ['kill -9 while the counter stays readable', [exited(5000, 137)], ['exit killed killed_externally']],
    [
      'kill -9 and the group is gone, and the kernel counted none',
      [gone(4990), exited(5000, 137)],
      ['exit killed killed_externally'],
    ],
    [
      'the group went with its counter, and the kernel counted one more than was found',
      [kernelTotal(4990, 41), gone(4995), exited(5000, 137)],
      ['oom_kill init', 'exit oom_killed oom_container'],
    ],
    [
      'a process outside of containers is OOM killed, and 3 s later somebody kills a container whose group goes',
      [kernelTotal(2000, 41), gone(4990), exited(5000, 137)],
      ['exit killed killed_externally'],
    ],
    [
      'the same, but the runtime called it out of memory',
      [kernelTotal(2000, 41), hinted(4980), gone(4990), exited(5000, 137)],
      ['oom_kill init', 'exit oom_killed oom_container'],
    ],
    ['docker kill', [signalled(5000, 9), exited(5010, 137)], ['exit killed killed_externally']],
    [
      'docker stop of a process that heeds it',
      [signalled(5000, 15), exited(5010, 143), stopped(5020)],
      ['exit killed stopped'],
    ],
    [
      'docker stop with a stop signal of its own',
      [signalled(5000, 10), exited(5010, 7), stopped(5020)],
      ['exit error stopped'],
    ],
    ['a stop told before the exit, as Podman does', [stopped(5000), exited(5010, 137)], ['exit killed stopped']],
    ['a HUP to reload, and a crash a second later', [signalled(5000, 1), exited(6000, 2)], ['exit error app_error']],
    ['a SIGTERM asked for long before a crash', [signalled(5000, 15), exited(95_000, 2)], ['exit error app_error']],
    ['exit 0', [exited(5000, 0)], ['exit completed completed']],
    ['exit 3', [exited(5000, 3)], ['exit error app_error']],
    [
      'an exit code that an inspection tells after the event',
      [exited(5000), seen(5100, { running: false, startedAtMs: 995, finishedAtMs: 4999, exitCode: 3 })],
      ['exit error app_error'],
    ],
    ['a removal that nobody saw coming', [removed(5000)], ['exit error unknown']],
    [
      'podman kill, which does not tell its signal',
      [signalled(5000), exited(5010, 137)],
      ['exit killed killed_externally'],
    ],
    ['a SIGTERM by podman kill', [signalled(5000), exited(5010, 143)], ['exit killed stopped']],
    ['a segmentation fault', [exited(5000, 139)], ['exit error app_signal']],
    ['exit 255 is no signal', [exited(5000, 255)], ['exit error app_error']],
    ['an exit code nobody knows', [exited(5000)], ['exit error unknown']],
    [
      'a restart loop of OOM kills',
      [
        counted(5000),
        exited(5010, 137),
        gone(5020),
        appeared(5100),
        started(5110),
        counted(5200),
        exited(5210, 137),
        gone(5220),
        appeared(5400),
        started(5410),
      ],
      [
        'oom_kill init',
        'exit oom_killed oom_container',
        'restart',
        'oom_kill init',
        'exit oom_killed oom_container',
        'restart',
      ],
    ],
    [
      'a kill in the new life, counted before the start is told',
      [exited(5000, 1), gone(5001), appeared(5100), counted(5105), started(5110), exited(5120, 137)],
      ['exit error app_error', 'restart', 'oom_kill init', 'exit oom_killed oom_container'],
    ],
    [
      'a stop event after the end does not colour the next life',
      [signalled(5000, 15), exited(5010, 0), stopped(5020), started(5030), exited(9000, 1)],
      ['exit completed stopped', 'restart', 'exit error app_error'],
    ],
    [
      'a container that lives 20 ms and is removed at once',
      [counted(5000), exited(5010, 137), gone(5011), removed(5020)],
      ['oom_kill init', 'exit oom_killed oom_container'],
    ],
  ];
  for (const [title, observations, expected] of cases) {
    it(title, () => assert.deepEqual(tell(...running, ...observations), expected));
  }

  it('tells at once when the evidence is complete', () => {
    const receiver = makeReceiver();
    for (const observation of running) receiver.take(observation);
    assert.deepEqual(receiver.take(counted(5000)).map(summarize), []);
    assert.deepEqual(receiver.take(mainProcess(5010, true)).map(summarize), ['oom_kill child']);
    assert.equal(receiver.dueAtMs, undefined);
  });

  it('waits no longer than the settle time, by the monotonic clock', () => {
    const receiver = makeReceiver();
    for (const observation of running) receiver.take(observation);
    receiver.take(exited(5000, 137), 100);
    assert.equal(receiver.dueAtMs, 100 + settleMs);
    assert.deepEqual(receiver.settle(100 + settleMs - 1), []);
    assert.deepEqual(receiver.settle(100 + settleMs).map(summarize), ['exit killed killed_externally']);
    assert.equal(receiver.dueAtMs, undefined);
  });

  it('waits longer for a runtime that is too busy to tell which process is the main one, or that it ended', () => {
    const receiver = makeReceiver();
    for (const observation of running) receiver.take(observation);
    receiver.take(counted(2000));
    assert.deepEqual(receiver.settle(2000 + settleMs), []);
    assert.deepEqual(receiver.take(exited(4000, 137)).map(summarize), [
      'oom_kill init',
      'exit oom_killed oom_container',
    ]);

    const silent = makeReceiver();
    for (const observation of running) silent.take(observation);
    silent.take(counted(2000));
    assert.equal(silent.dueAtMs, 7000);
    assert.deepEqual(silent.settle(7000).map(summarize), ['oom_kill unknown']);
    // Its end can be told later still; one that somebody asked for is another matter.
    assert.deepEqual(silent.take(exited(2050, 137), 8000).map(summarize), ['exit oom_killed oom_container']);
    const asked = makeReceiver();
    for (const observation of [...running, counted(2000)]) asked.take(observation);
    asked.settle(7000);
    for (const observation of [signalled(2010, 9), exited(2050, 137)]) asked.take(observation, 8000);
    assert.deepEqual(asked.settle().map(summarize), ['exit killed killed_externally']);
    const hour = makeReceiver();
    for (const observation of [...running, counted(2000)]) hour.take(observation);
    hour.settle(7000);
    hour.take(exited(3_600_000, 137));
    assert.deepEqual(hour.settle().map(summarize), ['exit killed killed_externally']);
  });

  it('knows the main process by its group where no runtime tells it', () => {
    const receiver = makeReceiver({ isRuntimeUp: false, isKernelLogUp: true });
    const named = (pid: number) => victimOf(id, 5000, pid);
    for (const observation of [appeared(900), processes(1000, 70)]) receiver.take(observation);
    const both = [counted(5000, 2), named(71), named(70)].flatMap((observation) => receiver.take(observation));
    assert.deepEqual(both.map(summarize).toSorted(), ['oom_kill child', 'oom_kill init']);
    // The next group has a main process of its own.
    for (const observation of [gone(5001), appeared(6000), processes(6010, 80)]) receiver.take(observation);
    const next = [counted(7000), victimOf(id, 7000, 80)].flatMap((observation) => receiver.take(observation));
    assert.deepEqual(next.map(summarize), ['oom_kill init']);
  });

  it('has a stop wait for the log, which may name the main process as the victim of a kill', () => {
    const asked = [seen(1001, { startedAtMs: 1000, pid: 70 }), signalled(5000, 15), counted(5100)];
    const ends = [exited(5110, 137), stopped(5120)];
    for (const [pid, expected] of [
      [70, ['oom_kill init', 'exit oom_killed oom_container']],
      [71, ['oom_kill child', 'exit killed stopped']],
    ] as const) {
      const receiver = makeReceiver({ isKernelLogUp: true });
      const told = [...running, ...asked, ...ends].flatMap((observation) => receiver.take(observation));
      assert.deepEqual(told.map(summarize), []);
      assert.deepEqual(receiver.take(victimOf(id, 5099, pid), 5300).map(summarize), expected);
    }
    const receiver = makeReceiver({ isKernelLogUp: true });
    const told = [...running, ...asked, exited(5110, 0)].flatMap((observation) => receiver.take(observation));
    assert.deepEqual(told.map(summarize), ['exit completed stopped'], 'an end by itself waits for nothing');
  });

  it('takes the main process of the next group for that of the next life, though the end of the last is not told', () => {
    const receiver = makeReceiver({ isKernelLogUp: true });
    const next = [gone(5001), appeared(5002), processes(5003, 80)];
    const late = [victimOf(id, 4999, 70), exited(5000, 137), started(5001), victimOf(id, 5200, 80), counted(5201)];
    const told = [appeared(900), started(1000), counted(5000), ...next, ...late].flatMap((observation) =>
      receiver.take(observation),
    );
    assert.deepEqual([...told, ...receiver.settle()].map(summarize), [
      'oom_kill init',
      'exit oom_killed oom_container',
      'restart',
      'oom_kill init',
    ]);
  });

  it('ties the exit to a kill that was told before the runtime told of the life', () => {
    const receiver = makeReceiver();
    const first = [appeared(900), counted(1000), mainProcess(1002, false), gone(1010)];
    const then = [started(950), exited(1030, 137)];
    const told = [...first, ...then].flatMap((observation) => receiver.take(observation, observation.atMs + 500));
    assert.deepEqual([...told, ...receiver.settle()].map(summarize), [
      'oom_kill init',
      'exit oom_killed oom_container',
    ]);
  });

  it('lends a hint to one kill only', () => {
    const receiver = makeReceiver();
    const observations = [...running, hinted(5000), counted(5001), mainProcess(5010, true), counted(6500)];
    const kills = [...observations.flatMap((observation) => receiver.take(observation)), ...receiver.settle()];
    assert.deepEqual(
      kills.map(({ atMs }) => atMs),
      [5000, 6500],
    );
  });

  it('does not put off the first kill for those that follow', () => {
    const receiver = makeReceiver({ isRuntimeUp: false });
    receiver.take(appeared(900));
    const told: number[] = [];
    for (let nowMs = 10_000; nowMs < 15_000; nowMs += 300) {
      const incidents = [...receiver.take(counted(nowMs), nowMs), ...receiver.settle(nowMs)];
      for (const kill of incidents) told.push(nowMs - kill.atMs);
    }
    assert.ok(told.length >= 10 && Math.max(...told) <= 2 * settleMs, told.join());
  });

  it('does not wait for a runtime that has never told of the container', () => {
    const receiver = makeReceiver();
    receiver.take(appeared(900, false));
    receiver.take(counted(70_000));
    assert.equal(receiver.dueAtMs, 70_000 + settleMs);
  });

  it('waits so for a runtime that has not told of the container yet, but for none that does not work', () => {
    const receiver = makeReceiver();
    for (const observation of [appeared(900), counted(2000)]) receiver.take(observation);
    assert.deepEqual(receiver.settle(2000 + settleMs), []);
    assert.deepEqual([started(1000), exited(2030, 137)].flatMap((late) => receiver.take(late, 4000)).map(summarize), [
      'oom_kill init',
      'exit oom_killed oom_container',
    ]);

    const inspected = makeReceiver();
    const late = [seen(2400, { startedAtMs: 1000, pid: 7 }), mainProcess(2402, false), exited(2600, 137)];
    assert.deepEqual(
      [appeared(900), counted(2000), ...late].flatMap((observation) => inspected.take(observation)).map(summarize),
      ['oom_kill init', 'exit oom_killed oom_container'],
    );

    const alone = makeReceiver({ isRuntimeUp: false });
    for (const observation of [appeared(900), counted(2000)]) alone.take(observation);
    assert.deepEqual(alone.settle(2000 + settleMs).map(summarize), ['oom_kill unknown']);
  });

  it('gives kills whose counters are lost to the containers that the runtime called out of memory', () => {
    const receiver = makeReceiver();
    const other = observationsOf(idOf(2));
    for (const observation of [...running, other.started(1000)]) receiver.take(observation);
    const told = [gone(4990), kernelTotal(4990, 41), other.exited(5000, 137), hinted(5001), exited(5002, 137)]
      .flatMap((observation) => receiver.take(observation))
      .concat(receiver.settle());
    assert.deepEqual(
      told.map((incident) => [Number('container' in incident && incident.container.id), summarize(incident)].join(' ')),
      ['1 oom_kill init', '1 exit oom_killed oom_container', '2 exit killed killed_externally'],
    );
  });

  it('trusts the runtime alone only where the kernel cannot be asked', () => {
    assert.deepEqual(tell(started(1000), hinted(5000), exited(5010, 137)), [
      'oom_kill init',
      'exit oom_killed oom_container',
    ]);
    assert.deepEqual(tell(started(1000), exited(5010, 137)), ['exit killed unknown']);
  });

  it('names the witnesses of a kill', () => {
    const receiver = makeReceiver();
    const kills = [...running, hinted(5000), counted(5001), exited(5010, 137)].flatMap((observation) =>
      receiver.take(observation),
    );
    assert.deepEqual(
      kills.map((incident) => 'evidence' in incident && incident.evidence),
      [
        ['memory_events', 'runtime_event', 'exit_status'],
        ['memory_events', 'runtime_event', 'exit_status'],
      ],
    );
  });

  it('gives one incident id to the victims of a group kill and one each to others', () => {
    const receiver = makeReceiver();
    for (const observation of running) receiver.take(observation);
    const idsOf = (incidents: Incident[]) =>
      new Set(incidents.flatMap((incident) => (incident.kind === 'oom_kill' ? incident.incidentId : [])));
    receiver.take(counted(5000, 5, { oomGroupKills: 1 }));
    assert.equal(idsOf(receiver.settle()).size, 1);
    receiver.take(counted(7000, 3));
    assert.equal(idsOf(receiver.settle()).size, 3);
  });

  it('gives one incident id to the victims of a group kill that was read in two steps', () => {
    const receiver = makeReceiver();
    const read = [counted(5000, 1, { oomGroupKills: 0 }), counted(5001, 4, { oomGroupKills: 1 })];
    for (const observation of [...running, ...read]) receiver.take(observation);
    const kills = receiver.settle().filter((incident) => incident.kind === 'oom_kill');
    assert.deepEqual(
      kills.map(({ incidentId, group }) => [incidentId, group]),
      Array.from({ length: 4 }, () => [kills[0]!.incidentId, true]),
    );
  });

  it('waits for nothing more where a group kill was counted without its victims', () => {
    const receiver = makeReceiver();
    for (const observation of [...running, counted(5000, 1, { oomGroupKills: 1 })]) receiver.take(observation);
    assert.deepEqual([receiver.settle(10_000), receiver.dueAtMs], [[], undefined]);
  });

  it('gives a kill that was counted beside a group kill an id of its own', () => {
    const receiver = makeReceiver();
    const read = [
      counted(5700, 2, { oomGroupKills: 0 }),
      counted(5701, 2, { oomGroupKills: 1 }),
      counted(5703, 1, { oomGroupKills: 0 }),
    ];
    for (const observation of [...running, ...read]) receiver.take(observation);
    const kills = receiver.settle().filter((incident) => incident.kind === 'oom_kill');
    const ofGroup = kills.filter(({ group }) => group === true);
    assert.equal(kills.length, 4);
    assert.equal(ofGroup.length, 3, 'of a reading before, one at most is the first of the group');
    assert.equal(new Set(ofGroup.map(({ incidentId }) => incidentId)).size, 1);
    assert.equal(new Set(kills.map(({ incidentId }) => incidentId)).size, 2);
  });

  it('believes a hint about the time of a kill only', () => {
    for (const [hintMs, atMs] of [
      [3001, 3001],
      [2999, 5000],
    ] as const) {
      const receiver = makeReceiver();
      for (const observation of [...running, hinted(hintMs), counted(5000)]) receiver.take(observation);
      assert.deepEqual(
        receiver.settle().map((incident) => incident.atMs),
        [atMs],
      );
    }
  });

  it('keeps the latest signals of a life that is signalled without end', () => {
    const receiver = makeReceiver();
    for (const observation of running) receiver.take(observation);
    for (let n = 0; n < 1000; n++) receiver.take(signalled(4000 + n, 1));
    receiver.take(signalled(5000, 15));
    assert.deepEqual(receiver.take(exited(5010, 0)).map(summarize), ['exit completed stopped']);
  });

  it('tells what was open of a life that is not known to have ended when the next group is there', () => {
    const receiver = makeReceiver({ isRuntimeUp: false });
    for (const observation of [appeared(900), counted(70_000), gone(70_010), appeared(70_020)]) {
      receiver.take(observation);
    }
    receiver.take(counted(70_030));
    assert.deepEqual(
      receiver.settle().map((incident) => incident.atMs),
      [70_000, 70_030],
    );
  });

  it('tells the same in any order of arrival', () => {
    const scenarios: Observation[][] = [
      [kernelTotal(4999, 42), hinted(5000), counted(5001, 2), exited(5010, 137)],
      [kernelTotal(4999, 41), hinted(5000), gone(5003), exited(5010, 137)],
      [kernelTotal(4999, 41), gone(5003), exited(5010, 137)],
      [gone(5003), exited(5010, 137)],
      [counted(5001, 1, { oomGroupKills: 0 }), counted(5002, 2, { oomGroupKills: 1 }), exited(5010, 137)],
      [hinted(5000), counted(5001, 2), mainProcess(5004, false), exited(5010, 137)],
      [hinted(5000), counted(5001), exited(5010, 1)],
      [signalled(5000, 15), signalled(5005, 9), exited(5010, 137), stopped(5020)],
      [signalled(5000, 9), exited(5010, 137), hinted(5003)],
    ];
    fc.assert(
      fc.property(
        fc
          .constantFrom(...scenarios)
          .chain((scenario) =>
            fc.tuple(fc.constant(scenario), fc.shuffledSubarray(scenario, { minLength: scenario.length })),
          ),
        ([scenario, shuffled]) => {
          assert.deepEqual(tell(...running, ...shuffled).toSorted(), tell(...running, ...scenario).toSorted());
        },
      ),
    );
  });

  it('takes nothing that was seen before the clock was set back for what came after a kill', () => {
    const hourMs = 3_600_000;
    const receiver = makeReceiver();
    for (const observation of [...running, counted(hourMs), mainProcess(hourMs + 5, true)]) receiver.take(observation);
    const after = [counted(9000), exited(9010, 137)].map((observation) => [observation, 2 * hourMs] as const);
    const told = after.flatMap(([observation, nowMs]) => receiver.take(observation, nowMs, observation.atMs));
    assert.deepEqual(told.map(summarize), ['oom_kill init', 'exit oom_killed oom_container']);
  });

  it('names a kill that comes after one that was told unnamed and before which the clock was set back', () => {
    const hourMs = 3_600_000;
    const receiver = makeReceiver({ isKernelLogUp: true });
    const before = [...running, counted(hourMs), mainProcess(hourMs + 5, true)];
    for (const observation of before) receiver.take(observation);
    assert.deepEqual(receiver.settle(hourMs + 5000).map(summarize), ['oom_kill child']);
    const after = [victimOf(id, 9000, 71), counted(9001), mainProcess(9005, true)];
    const told = after.flatMap((observation) => receiver.take(observation, 2 * hourMs, observation.atMs));
    assert.deepEqual(
      told.map((incident) => incident.kind === 'oom_kill' && incident.named?.victim.pid),
      [71],
    );
  });

  it('does not take a signal from before the clock was set back for what ended a life', () => {
    assert.deepEqual(tell(...running, signalled(3_600_000, 15), exited(5000, 2)), ['exit error app_error']);
  });

  it('keeps nothing of a container that is told and removed', () => {
    const receiver = makeReceiver();
    const told = [hinted(4000), exited(5000, 0), signalled(6000, 1), removed(9000)];
    for (const observation of [...running, ...told]) receiver.take(observation);
    assert.deepEqual([receiver.settle(), receiver.dueAtMs], [[], undefined]);
    for (const observation of [started(10_000), hinted(11_000), removed(12_000)]) receiver.take(observation);
    assert.deepEqual([receiver.settle().map(summarize), receiver.dueAtMs], [['exit error unknown'], undefined]);
  });

  it('tells once that a container stays out of memory, and again when it gets there again', () => {
    const receiver = makeReceiver();
    for (const observation of running) receiver.take(observation);
    const told = [5000, 10_000, 60_000, 119_999, 180_000].flatMap((atMs) => receiver.take(stuck(atMs)));
    assert.ok(
      told.every((incident) => incident.kind === 'memory_stuck' && incident.evidence.join() === 'memory_events'),
    );
    assert.deepEqual(
      told.map((incident) => [summarize(incident), incident.atMs]),
      [
        ['memory_stuck oom_kill_disabled', 5000],
        ['memory_stuck oom_kill_disabled', 180_000],
      ],
    );
  });

  it('tells so of what the log says, too, and of no group that is no container', () => {
    const receiver = makeReceiver({ isKernelLogUp: true });
    for (const observation of running) receiver.take(observation);
    const logged = (atMs: number, oomMemcg?: string): Observation => ({
      kind: 'nothing_killable',
      source: 'kernel_log',
      atMs,
      invocation: { at: {}, oomMemcg },
    });
    const own = `/docker/${id}`;
    const said = [logged(4000), logged(4500, '/system.slice'), logged(5000, own), logged(6000, own), stuck(6001)];
    const told = said.flatMap((observation) => receiver.take(observation));
    assert.deepEqual(
      told.map((incident) => [summarize(incident), incident.atMs]),
      [['memory_stuck nothing_killable', 6000]],
    );
  });

  it('does not call a container stuck of which the log says once that nothing can be killed', () => {
    const receiver = makeReceiver({ isKernelLogUp: true });
    for (const observation of running) receiver.take(observation);
    const invocation = { at: {}, oomMemcg: `/docker/${id}` };
    const once = [5000, 5100].map(
      (atMs) => ({ kind: 'nothing_killable', source: 'kernel_log', atMs, invocation }) as const,
    );
    assert.deepEqual(
      once.flatMap((observation) => receiver.take(observation)),
      [],
    );
  });

  it('tells an exit that only an inspection knew of', () => {
    const listed = seen(9000, { running: false, startedAtMs: 1000, finishedAtMs: 8000, exitCode: 4 });
    assert.deepEqual(tell(...running, listed), ['exit error app_error']);
  });

  it('is due when the first of its parts is, and gives up on what nobody explains but at a stop', () => {
    const { correlator, take } = makeReceiver();
    assert.equal(correlator.dueAtMs, undefined);
    for (const observation of [started(1000), kernelTotal(1000, 40), kernelTotal(2000, 41)]) take(observation);
    assert.equal(correlator.dueAtMs, 10_000);
    take(exited(3500, 137));
    assert.equal(correlator.dueAtMs, 3500 + settleMs);
    correlator.settle({ wallMs: 4000, monotonicMs: Infinity });
    assert.deepEqual([correlator.ledger.openKills, correlator.ledger.unattributed], [1, 0]);
    correlator.settle({ wallMs: 10_000, monotonicMs: 10_000 });
    assert.deepEqual([correlator.ledger.openKills, correlator.ledger.unattributed], [0, 1]);
  });

  it('tells nothing of a sandbox but what was killed in it', () => {
    const { correlator, take } = makeReceiver();
    const sandbox = seen(1000, { startedAtMs: 1000, sandbox: true });
    const lives = [exited(5000, 0), appeared(5900), started(6000), counted(9000), exited(9010, 137)];
    const told = [sandbox, ...lives].flatMap((observation) => take(observation));
    told.push(...correlator.settle({ wallMs: 20_000, monotonicMs: 20_000 }));
    assert.deepEqual(told.map(summarize), ['oom_kill init']);
  });

  it('tells nothing of what it can give to no container', () => {
    const { take } = makeReceiver({ isKernelLogUp: true });
    const gap = { kind: 'kernel_log_gap', source: 'kernel_log', atMs: 5000, toMs: 5000, reason: 'lost' } as const;
    assert.deepEqual(
      [gap, counted(5001)].map((observation) => take(observation)),
      [[], []],
    );
  });

  describe('with the kernel log', () => {
    const other = observationsOf(idOf(2));
    const named = (atMs: number, pid: number, facts = {}) => victimOf(id, atMs, pid, facts);
    const pod = '/kubepods/burstable/pod5a1f3c62-0b5e-4a51-9e0f-6f1f5b1d2c3e';
    const inPod = `${pod}/${id}`;
    const atLimitOf = (oomMemcg: string, limitBytes?: number) => ({
      memcg: inPod,
      invocation: { at: { monotonicUs: 5 }, constraint: 'CONSTRAINT_MEMCG', oomMemcg, taskMemcg: inPod, limitBytes },
    });
    const known = [
      appeared(900),
      started(1000),
      seen(1001, { startedAtMs: 1000, pid: 70, name: 'web' }),
      kernelTotal(1002, 40),
    ];
    const { started: otherStarted, appeared: otherAppeared, counted: otherCounted } = other;

    const tellWith = (...observations: Observation[]): string[] => {
      const receiver = makeReceiver({ isKernelLogUp: true });
      const told = [...known, ...observations].flatMap((observation) => receiver.take(observation));
      const rest = [receiver.settle(60_000), receiver.settle()].flat();
      return [...told, ...rest].map((incident) =>
        incident.kind === 'oom_kill'
          ? `oom_kill ${incident.victim} ${incident.named?.victim.pid ?? '-'} ${incident.scope}`
          : summarize(incident),
      );
    };

    const withLog: [string, Observation[], string[]][] = [
      [
        'names the main process by its pid',
        [named(5000, 70), counted(5001), exited(5030, 137)],
        ['oom_kill init 70 container', 'exit oom_killed oom_container'],
      ],
      [
        'names a child by its pid',
        [counted(5001), named(5000, 71), mainProcess(5010, true)],
        ['oom_kill child 71 container'],
      ],
      [
        'believes the log where the group went with its counter',
        [named(5000, 70), gone(5002), exited(5030, 137)],
        ['oom_kill init 70 container', 'exit oom_killed oom_container'],
      ],
      [
        'counts what the log has lost',
        [counted(5001, 3), named(5000, 71)],
        ['oom_kill child 71 container', 'oom_kill child - unknown', 'oom_kill child - unknown'],
      ],
      [
        'gives a held back report to the only container with a kill that nobody named',
        [counted(5001), strayOf(5000, 71)],
        ['oom_kill child 71 unknown'],
      ],
      [
        'takes a victim whose group was held back for the main process that it is',
        [strayOf(5000, 70), counted(5001), exited(5030, 137)],
        ['oom_kill init 70 unknown', 'exit oom_killed oom_container'],
      ],
      [
        'gives held back reports to nobody where two containers have kills that nobody named',
        [
          otherAppeared(900),
          otherStarted(1000),
          counted(5001),
          otherCounted(5002),
          strayOf(5000, 71),
          strayOf(5001, 72),
        ],
        ['oom_kill child - unknown', 'oom_kill unknown - unknown'],
      ],
      [
        'tells of a victim outside of containers',
        [named(5000, 90, { memcg: '/system.slice/ssh.service', memcgOom: false })],
        ['node_oom_kill node'],
      ],
      [
        'tells of a victim whose group nobody knows once the machine has counted it',
        [strayOf(5000, 90), kernelTotal(5100, 41)],
        ['node_oom_kill unknown'],
      ],
      [
        "names the pod's limit, and calls the exit by it",
        [named(5000, 70, atLimitOf(pod, 200)), counted(5001, 1, { limitBytes: 100 }), exited(5030, 137)],
        ['oom_kill init 70 pod', 'exit oom_killed oom_pod'],
      ],
      [
        'takes the limit of a pod for that of its only container, where the two are the same',
        [named(5000, 70, atLimitOf(pod, 100)), counted(5001, 1, { limitBytes: 100 }), exited(5030, 137)],
        ['oom_kill init 70 container', 'exit oom_killed oom_container'],
      ],
      [
        'knows a node that is out of memory',
        [named(5000, 70, { memcgOom: false, invocation: undefined }), counted(5001), exited(5030, 137)],
        ['oom_kill init 70 node', 'exit oom_killed oom_node'],
      ],
      [
        'knows a cpuset that is out of memory',
        [
          named(5000, 70, { memcgOom: false, invocation: { at: {}, constraint: 'CONSTRAINT_CPUSET' } }),
          counted(5001),
          exited(5030, 137),
        ],
        ['oom_kill init 70 cpuset', 'exit oom_killed oom_node'],
      ],
      [
        'tells of four dead processes for a counter that shows five',
        [counted(5001, 5, { oomGroupKills: 1 }), ...[70, 71, 72, 73].map((pid) => named(5000, pid)), exited(5030, 137)],
        [
          'oom_kill init 70 container',
          ...[71, 72, 73].map((pid) => `oom_kill child ${pid} container`),
          'exit oom_killed oom_container',
        ],
      ],
      [
        'gives a kill that is read late to the life that it ended',
        [exited(5030, 137), started(5200), seen(5201, { startedAtMs: 5200, pid: 80 }), named(5000, 70)],
        ['restart', 'oom_kill init 70 container', 'exit oom_killed oom_container'],
      ],
    ];
    for (const [title, observations, expected] of withLog) {
      it(title, () => assert.deepEqual(tellWith(...observations), expected));
    }

    it("gives what the log tells late to the life before where the next one's group is there already", () => {
      const next = [gone(5040), appeared(5150), started(5200), seen(5201, { startedAtMs: 5200, pid: 80 })];
      assert.deepEqual(tellWith(exited(5030, 137), ...next, named(5000, 70)), [
        'restart',
        'oom_kill init 70 container',
        'exit oom_killed oom_container',
      ]);
      const receiver = makeReceiver({ isKernelLogUp: true });
      for (const observation of [...known, counted(5000), exited(5030, 137)]) receiver.take(observation);
      assert.equal(receiver.settle(5700).length, 2);
      const told = [...next, named(5000, 70)].flatMap((observation) => receiver.take(observation, 5800));
      assert.deepEqual([...told, ...receiver.settle()].map(summarize), ['restart']);
    });

    it('gives the present life a victim with a time before its begin where its counter shows one', () => {
      const lives = (exitCode: number) => [exited(4400, exitCode), gone(4410), appeared(4500), started(4510)];
      const orders = [
        [named(4300, 90), kernelTotal(4990, 41), counted(5000), exited(5030, 137)],
        [counted(5000), named(4300, 90), kernelTotal(5001, 41), exited(5030, 137)],
        [kernelTotal(4990, 41), counted(5000), exited(5030, 137), named(4300, 90)],
      ];
      for (const order of orders) {
        const told = tellWith(...lives(1), ...order).slice(2);
        assert.deepEqual(told, ['oom_kill init 90 container', 'exit oom_killed oom_container']);
      }
    });

    it('tells a kill that the main process outlived though the log has named another that is not counted', () => {
      const receiver = makeReceiver({ isKernelLogUp: true });
      const two = [...known, counted(5000), named(4999, 71), named(5100, 72)];
      for (const observation of two) assert.deepEqual(receiver.take(observation), []);
      assert.deepEqual(receiver.take(mainProcess(5050, true)).map(summarize), ['oom_kill child']);
    });

    it('gives it to the life before at once where it cannot be the present one’s, else when it is due', () => {
      const endings: [Observation[], boolean][] = [
        [[exited(4400, 1), gone(4410), appeared(4500), started(4510), named(4300, 90)], false],
        // Its own counter showed it, its end asks for it, or the time lies too far back.
        [[counted(4310), exited(4400, 1), gone(4410), appeared(4500), started(4510), named(4300, 90)], true],
        [[exited(4400, 137), gone(4410), appeared(4500), started(4510), named(4300, 90)], true],
        [[exited(4400, 1), gone(4410), appeared(5350), started(5360), named(4300, 90)], true],
        // The present one's counter is lost.
        [[exited(4400, 1), gone(4410), appeared(4500), started(4510), gone(4600), named(4300, 90)], true],
      ];
      for (const [observations, isAtOnce] of endings) {
        const receiver = makeReceiver({ isKernelLogUp: true });
        for (const observation of [...known, ...observations.slice(0, -1)]) receiver.take(observation);
        const told = receiver.take(observations.at(-1)!);
        assert.equal(told.filter(({ kind }) => kind === 'oom_kill').length, isAtOnce ? 1 : 0);
        if (!isAtOnce) assert.deepEqual(receiver.settle(11_000).map(summarize), ['oom_kill child']);
      }
    });

    it('tells nothing twice that the other witness shows late', () => {
      const late: [Observation, Observation][] = [
        [named(5000, 71), counted(7000)],
        [counted(5001), named(5000, 71)],
      ];
      for (const [first, second] of late) {
        const receiver = makeReceiver({ isKernelLogUp: true });
        for (const observation of known) receiver.take(observation);
        receiver.take(first);
        assert.deepEqual(receiver.settle(6000).map(summarize), ['oom_kill child']);
        receiver.take(second, 7000);
        assert.deepEqual([receiver.settle(7000 + settleMs), receiver.dueAtMs], [[], undefined]);
        // And a kill of its own is not taken for the late one's.
        for (const observation of [named(8000, 72), counted(8001)]) receiver.take(observation);
        assert.deepEqual(receiver.settle().map(summarize), ['oom_kill child']);
      }
    });

    it('takes one late line of the log for a kill that the count of the machine showed, and the next for another', () => {
      const receiver = makeReceiver({ isKernelLogUp: true });
      const inferred = [...known, kernelTotal(5001, 42), gone(5002), exited(5030, 137)];
      for (const observation of inferred) receiver.take(observation);
      assert.deepEqual(receiver.settle(6000).map(summarize), ['oom_kill init', 'exit oom_killed oom_container']);
      const late = [named(5000, 70), named(5001, 71)].flatMap((observation) => receiver.take(observation, 6100));
      assert.deepEqual([...late, ...receiver.settle(60_000)].map(summarize), ['oom_kill child']);
      assert.ok(receiver.ledger.isBalanced);
    });

    it('tells one kill of one life for a victim that the log names with a time after its end', () => {
      const unknownPid = [appeared(900), started(1000), kernelTotal(1002, 40)];
      const endings: [Observation[], number][] = [
        [[counted(5000), exited(5010, 137)], 5110],
        [[counted(5000), exited(5010, 137), gone(5012)], 5300],
        [[exited(5010, 137), gone(5012), kernelTotal(5013, 41)], 5300],
        [[counted(5000), exited(5010, 1), gone(5012)], 5900],
      ];
      for (const [ending, atMs] of endings) {
        const orders = [
          [...ending, named(atMs, 71)],
          [...ending.slice(0, 1), named(atMs, 71), ...ending.slice(1)],
          [ending[1]!, named(atMs, 71), ending[0]!, ...ending.slice(2)],
        ];
        for (const [index, order] of orders.entries()) {
          // What is told without the log is told once all others have spoken.
          for (const settlesBefore of index === 0 ? [false, true] : [false]) {
            const receiver = makeReceiver({ isKernelLogUp: true });
            for (const observation of unknownPid) receiver.take(observation);
            const isLate = (observation: Observation) => settlesBefore && observation.kind === 'oom_victim';
            const told = order.flatMap((observation) => [
              ...(isLate(observation) ? receiver.settle(11_900) : []),
              ...receiver.take(observation, isLate(observation) ? 12_000 : 6_000),
            ]);
            told.push(...receiver.settle(60_000));
            const kills = told.filter(({ kind }) => kind === 'oom_kill').length;
            assert.equal(kills, 1, `${atMs} ${index} ${settlesBefore} ${told.map(summarize).join()}`);
          }
        }
      }
    });

    it('gives a held back report to nobody where two containers have a kill that nobody named', () => {
      const inBoth = [otherAppeared(900), otherStarted(1000), kernelTotal(5000, 42), counted(5001), otherCounted(5002)];
      assert.deepEqual(tellWith(...inBoth, strayOf(5000, 71)), [
        'oom_kill child - unknown',
        'oom_kill unknown - unknown',
      ]);
    });

    it('tells no more kills than were counted where the machine does not count them', () => {
      const receiver = makeReceiver({ isKernelLogUp: true });
      const uncounted = known.slice(0, 3);
      const inBoth = [otherAppeared(900), otherStarted(1000), counted(5001), otherCounted(5002), strayOf(5000, 71)];
      const told = [...uncounted, ...inBoth].flatMap((observation) => receiver.take(observation));
      told.push(...receiver.settle(60_000));
      assert.deepEqual(told.map(summarize).toSorted(), ['oom_kill child', 'oom_kill unknown']);
    });

    it('tells of each victim without a group where the machine does not count kills and no container does', () => {
      const receiver = makeReceiver({ isKernelLogUp: true });
      for (const observation of [strayOf(5000, 71), strayOf(5000, 72)]) receiver.take(observation);
      assert.deepEqual(receiver.settle().map(summarize), ['node_oom_kill unknown', 'node_oom_kill unknown']);
    });

    it('keeps a held back report while another container has a kill that the log may still name', () => {
      const receiver = makeReceiver({ isKernelLogUp: true });
      const inBoth = [otherAppeared(900), otherStarted(1000), kernelTotal(5000, 42), strayOf(5000, 71)];
      for (const observation of [...known, ...inBoth]) receiver.take(observation);
      for (const observation of [counted(5300), otherCounted(5301)]) receiver.take(observation);
      assert.deepEqual(receiver.settle(5600), [], 'due, but for those');
      const late = [victimOf(idOf(2), 5000, 90), mainProcess(5650, true)];
      const told = late.flatMap((observation) => receiver.take(observation));
      told.push(...receiver.settle(5950), ...receiver.settle(12_000));
      const pids = told.map((kill) => kill.kind === 'oom_kill' && kill.named?.victim.pid);
      assert.deepEqual(new Set(pids), new Set([71, 90]));
      assert.equal(told.length, 2);
    });

    it('gives a held back report to a container though a kill in another was just told by its name', () => {
      const otherKnown = [otherAppeared(900), other.seen(1001, { startedAtMs: 1000, pid: 80, name: 'db' })];
      const first = [...otherKnown, kernelTotal(5000, 42), victimOf(idOf(2), 5000, 90)];
      const then = [otherCounted(5001), other.mainProcess(5002, true), counted(5100), strayOf(5099, 71)];
      const told = tellWith(...first, ...then).toSorted();
      assert.deepEqual(told, ['oom_kill child 71 unknown', 'oom_kill child 90 container']);
    });

    it('takes one count that comes late for a kill that the log told of, and the next for another', () => {
      const receiver = makeReceiver({ isKernelLogUp: true });
      for (const observation of [...known, kernelTotal(5000, 41), named(5000, 71)]) receiver.take(observation);
      assert.deepEqual(receiver.settle(6000).map(summarize), ['oom_kill child']);
      receiver.take(counted(7000));
      assert.ok(receiver.ledger.isBalanced);
      for (const observation of [kernelTotal(8000, 42), counted(8000)]) receiver.take(observation);
      assert.deepEqual(receiver.settle().map(summarize), ['oom_kill child']);
      assert.ok(receiver.ledger.isBalanced);
    });

    it('waits for a late count for 10 s from when the kill was told, whatever is seen meanwhile', () => {
      for (const [atMs, expected] of [
        [16_000, []],
        [16_001, ['oom_kill child']],
      ] as const) {
        const receiver = makeReceiver({ isKernelLogUp: true });
        for (const observation of [...known, named(5000, 71)]) receiver.take(observation);
        assert.deepEqual(receiver.settle(6000).map(summarize), ['oom_kill child']);
        for (const observation of [hinted(15_000), counted(atMs)]) receiver.take(observation);
        assert.deepEqual(receiver.settle().map(summarize), expected);
      }
    });

    it('waits for the settle time for those that follow a kill that is told', () => {
      const receiver = makeReceiver({ isRuntimeUp: false });
      for (const observation of [appeared(900), counted(5000), counted(5300)]) receiver.take(observation);
      assert.deepEqual(receiver.take(mainProcess(5200, true), 5310).map(summarize), ['oom_kill child']);
      assert.equal(receiver.dueAtMs, 5310 + settleMs);
    });

    it('takes a line of the log for a kill that was told without it up to 50 ms after that was counted', () => {
      for (const [atMs, expected] of [
        [5050, []],
        [5051, [71]],
      ] as const) {
        const receiver = makeReceiver({ isKernelLogUp: true });
        for (const observation of [...known, counted(5000), mainProcess(5001, true)]) receiver.take(observation);
        assert.equal(receiver.settle(6000).length, 1);
        for (const observation of [named(atMs, 71)]) receiver.take(observation, 6001);
        const told = receiver.settle().map((kill) => kill.kind === 'oom_kill' && kill.named?.victim.pid);
        assert.deepEqual(told, expected);
      }
    });

    it('accounts for the victims of a group kill as often as the machine counts them, whoever counts first', () => {
      const memcg = `/docker/${id}`;
      const invocation = { ...named(5000, 71).victim.invocation!, oomGroup: memcg };
      const group = [named(5000, 71, { invocation, countedTwice: true }), named(5000, 72, { invocation })];
      const endings: Observation[][] = [[counted(7000, 3, { oomGroupKills: 1 })], []];
      for (const late of endings) {
        const receiver = makeReceiver({ isKernelLogUp: true });
        const first = [...known, kernelTotal(5000, 43), ...(late.length === 0 ? [gone(4999)] : []), ...group];
        for (const observation of first) receiver.take(observation, 5000);
        assert.equal(receiver.settle(6000).length, 2);
        for (const observation of late) receiver.take(observation);
        assert.ok(receiver.ledger.isBalanced, `${late.length} counts`);
      }
    });

    it('does not wait where no other container can have the kill that a held back report is of', () => {
      const inBoth = [kernelTotal(5000, 41), counted(5000), mainProcess(5002, true), strayOf(4999, 71)];
      for (const observations of [inBoth, inBoth.toReversed()]) {
        const receiver = makeReceiver({ isKernelLogUp: true });
        for (const observation of known) receiver.take(observation);
        const told = observations.flatMap((observation) => receiver.take(observation, 5002));
        assert.deepEqual(told.map(summarize), ['oom_kill child']);
      }
      const receiver = makeReceiver({ isKernelLogUp: true });
      const oneMore = [...known, kernelTotal(5000, 42), counted(5000), mainProcess(5002, true), strayOf(4999, 71)];
      assert.deepEqual(
        oneMore.flatMap((observation) => receiver.take(observation)),
        [],
      );
    });

    it('gives no held back report to a container while it can be of a kill that was told without one', () => {
      const receiver = makeReceiver({ isKernelLogUp: true });
      const first = [...known, otherAppeared(900), otherStarted(1000), otherCounted(5000)];
      for (const observation of first) receiver.take(observation);
      assert.equal(receiver.settle(10_000).length, 1);
      for (const observation of [counted(11_000), strayOf(4999, 90)]) receiver.take(observation, 11_000);
      const told = receiver.settle(12_000).map((kill) => kill.kind === 'oom_kill' && kill.named?.victim.pid);
      assert.deepEqual(told, [undefined]);
    });

    it('has the name of a container before it tells of a kill in it, but waits for 5 s at most', () => {
      const nameless = [appeared(900), processes(950, 70), named(1000, 70), counted(1001)];
      const receiver = makeReceiver({ isKernelLogUp: true });
      assert.deepEqual(
        nameless.flatMap((observation) => receiver.take(observation)),
        [],
      );
      assert.deepEqual(receiver.settle(5_900), []);
      assert.deepEqual(receiver.settle(6_001).map(summarize), ['oom_kill init']);
      const told = makeReceiver({ isKernelLogUp: true });
      for (const observation of nameless) told.take(observation);
      assert.deepEqual(told.take({ ...started(990), name: 'web' }, 3_000).map(summarize), ['oom_kill init']);
    });

    it('tells that a container was started again before it tells of a kill in its new life', () => {
      const receiver = makeReceiver({ isKernelLogUp: true });
      const again = [gone(5001), appeared(5100), processes(5110, 80), named(5200, 80), counted(5201)];
      for (const observation of [...known, exited(5000, 0), ...again]) receiver.take(observation);
      const told = [started(5150), exited(5230, 137)].flatMap((late) => receiver.take(late, 5900));
      assert.deepEqual(told.map(summarize), ['restart', 'oom_kill init', 'exit oom_killed oom_container']);
    });

    it('names nobody where more victims without a group than kills could be meant', () => {
      const strays = [kernelTotal(5000, 42), strayOf(4998, 90), strayOf(4999, 71), counted(5001)];
      assert.deepEqual(tellWith(...strays).toSorted(), ['node_oom_kill unknown', 'oom_kill child - unknown']);
    });

    it('waits for what a source that is about to begin has seen before, but for 10 s at most', () => {
      const receiver = makeReceiver({ isKernelLogUp: true, isBeginning: () => true });
      for (const observation of [...known, counted(5000), mainProcess(5010, true)]) receiver.take(observation);
      assert.deepEqual(
        [6000, 11_000, 15_999].flatMap((nowMs) => receiver.settle(nowMs)),
        [],
      );
      assert.deepEqual(receiver.settle(17_000).map(summarize), ['oom_kill child']);
    });

    it('waits for a look at the main process that a busy node puts off, where no runtime tells of it', () => {
      const receiver = makeReceiver({ isRuntimeUp: false });
      for (const observation of [appeared(900), processes(1000, 70), counted(5000)]) receiver.take(observation);
      assert.deepEqual(receiver.settle(7500), []);
      assert.deepEqual(receiver.take(mainProcess(5010, true), 7600).map(summarize), ['oom_kill child']);
    });

    it('waits for that no longer than 5 s', () => {
      const receiver = makeReceiver({ isRuntimeUp: false });
      for (const observation of [appeared(900), processes(1000, 70), counted(5000)]) receiver.take(observation);
      const told = [6000, 7000, 8000, 9000, 10_000].map((nowMs) => receiver.settle(nowMs).map(summarize));
      assert.deepEqual(told, [[], [], [], [], ['oom_kill unknown']]);
    });

    it('tells an exit with the begin of the life, where the runtime tells that after the end', () => {
      const receiver = makeReceiver();
      assert.deepEqual(receiver.take(exited(5000, 3)), []);
      const ended = { startedAtMs: 4000, finishedAtMs: 5000, running: false, exitCode: 3 };
      const [exit, ...others] = receiver.take(seen(5100, ended));
      assert.deepEqual(others, []);
      assert.ok(exit?.kind === 'exit');
      assert.equal(exit.life.startedAtMs, 4000);
    });

    it('tells what waited only for a source to begin as soon as it has', () => {
      let isBeginning = true;
      const receiver = makeReceiver({ isKernelLogUp: true, isBeginning: () => isBeginning });
      const all = [started(4000), named(4999, 70), exited(5001, 137)];
      assert.deepEqual(
        all.flatMap((observation) => receiver.take(observation, 6000)),
        [],
      );
      isBeginning = false;
      const told = receiver.begin(6100).map(summarize);
      assert.deepEqual(told, ['oom_kill init', 'exit oom_killed oom_container']);
    });

    it('does not explain a SIGKILL before a source has begun that may tell of its kill', () => {
      let isBeginning = true;
      const receiver = makeReceiver({ isKernelLogUp: true, isBeginning: () => isBeginning });
      for (const observation of [...known, kernelTotal(4000, 7), gone(5000), exited(5001, 137)]) {
        receiver.take(observation);
      }
      assert.deepEqual(receiver.settle(9000), []);
      const told = receiver.take(named(4999, 70), 9500);
      isBeginning = false;
      told.push(...receiver.settle(14_500));
      assert.deepEqual(told.map(summarize), ['oom_kill init', 'exit oom_killed oom_container']);
    });

    it('tells of kills that the main process was seen to outlive without those that follow', () => {
      const receiver = makeReceiver({ isRuntimeUp: false });
      for (const observation of [appeared(900), processes(1000, 70)]) receiver.take(observation);
      const told = [];
      for (let atMs = 5000; atMs < 6000; atMs += 20) {
        told.push(...receiver.take(counted(atMs, 2)));
        told.push(...receiver.take(mainProcess(atMs - 10, true), atMs + 10));
      }
      assert.equal(told.length, 2 * 49);
      assert.ok(told.every((kill) => kill.kind === 'oom_kill' && kill.victim === 'child' && kill.mainProcessAlive));
    });

    it('waits for the log, and no longer than the settle time', () => {
      const receiver = makeReceiver({ isKernelLogUp: true });
      for (const observation of known) receiver.take(observation);
      assert.deepEqual(
        [counted(5000), mainProcess(5010, true)].flatMap((observation) => receiver.take(observation)),
        [],
      );
      assert.equal(receiver.dueAtMs, 5000 + settleMs);
      assert.deepEqual(receiver.settle(5000 + settleMs).map(summarize), ['oom_kill child']);
    });

    it('accounts for each kill once, whichever witnesses it had', () => {
      const scenarios: Observation[][] = [
        [kernelTotal(5000, 41), named(5000, 71), counted(5001)],
        [kernelTotal(5000, 41), named(5000, 71), gone(5001)],
        [kernelTotal(5000, 41), strayOf(5000, 71)],
        [kernelTotal(5000, 41), strayOf(5000, 71), counted(5001)],
        [kernelTotal(5000, 41), named(5000, 71, { memcg: '/system.slice' })],
        [
          kernelTotal(5000, 45),
          ...[71, 72, 73, 74].map((pid) => named(5000, pid)),
          counted(5001, 5, { oomGroupKills: 1 }),
        ],
      ];
      for (const scenario of scenarios) {
        const receiver = makeReceiver({ isKernelLogUp: true });
        for (const observation of [...known, ...scenario]) receiver.take(observation);
        for (const nowMs of [6000, 7000, 60_000]) {
          receiver.settle(nowMs);
          receiver.ledger.settle({ wallMs: nowMs, monotonicMs: nowMs });
        }
        assert.equal(receiver.ledger.unattributed, 0, JSON.stringify(scenario));
      }
    });

    it('takes the second count of the first victim of a group kill for nobody else, where no counter shows it', () => {
      const killOf = (memcg: string) => {
        const at = { monotonicUs: 5 };
        const invocation = { at, constraint: 'CONSTRAINT_MEMCG', oomMemcg: memcg, taskMemcg: memcg, oomGroup: memcg };
        const first = victimOf(idOf(2), 5000, 90, { memcg, invocation, countedTwice: true });
        return [first, victimOf(idOf(2), 5000, 91, { memcg, invocation })];
      };
      for (const memcg of [`/docker/${idOf(2)}`, '/system.slice/db.service']) {
        // Somebody kills another container right after it.
        const told = tellWith(kernelTotal(5000, 43), ...killOf(memcg), gone(5502), exited(5510, 137));
        assert.equal(told.filter((incident) => incident.includes('oom_kill ')).length, 2, told.join());
        assert.equal(told.at(-1), 'exit killed killed_externally');
      }
    });

    it('does not take a process for a main process that ended long ago and had the same pid', () => {
      const stray = [kernelTotal(3_600_000, 41), strayOf(3_600_000, 70)];
      assert.deepEqual(tellWith(exited(5000, 0), gone(5001), ...stray), [
        'exit completed completed',
        'node_oom_kill unknown',
      ]);
    });

    it('does not take a process that died long ago for a main process that has its pid by now', () => {
      const told = tellWith(seen(3_600_000, { startedAtMs: 3_600_000, pid: 80 }), strayOf(2000, 80));
      assert.deepEqual(
        told.filter((incident) => incident.startsWith('oom_kill')),
        [],
      );
    });

    it("believes what was seen in a container inside another before the list of the outer one's tasks", () => {
      const inner = `/docker/${id}/docker/${idOf(2)}`;
      const seenInside: Observation = { kind: 'processes_seen', containerId: idOf(2), atMs: 4000, pids: [81] };
      const { invocation } = named(5000, 71).victim;
      const outerKill = [
        kernelTotal(5000, 41),
        named(5000, 71, { invocation: { ...invocation!, pids: new Set([71, 81]) } }),
      ];
      const innerKill = [kernelTotal(6000, 42), strayOf(6000, 81), otherCounted(6001)];
      assert.deepEqual(
        tellWith(otherAppeared(900, true, inner), seenInside, ...outerKill, counted(5001), ...innerKill),
        ['oom_kill child 71 container', 'oom_kill unknown 81 unknown'],
      );
    });

    it('takes no later kill for one that was told and whose counter went with a nested group', () => {
      const receiver = makeReceiver({ isKernelLogUp: true });
      for (const observation of [...known, named(5000, 71)]) receiver.take(observation);
      assert.deepEqual(receiver.settle(6000).map(summarize), ['oom_kill child']);
      // The log has lost its line.
      receiver.take(counted(3_600_000));
      assert.deepEqual(receiver.settle().map(summarize), ['oom_kill child']);
    });

    it('does not take a kill that the machine had counted before we did for one that comes later', () => {
      const before = named(999, 90, { memcg: '/system.slice/db.service' });
      const later = [gone(200_000), kernelTotal(200_001, 41), exited(200_030, 137)];
      assert.deepEqual(tellWith(before, ...later).slice(1), [
        'oom_kill init - unknown',
        'exit oom_killed oom_container',
      ]);
    });

    it('tells the same of several lives and containers, whichever witness is ahead of the others', () => {
      const { exited: otherExited, gone: otherGone, processes: otherProcesses } = other;
      const otherNamed = (atMs: number, pid: number) => victimOf(idOf(2), atMs, pid);
      const otherSeen = (atMs: number, pid: number) => other.seen(atMs, { startedAtMs: 1000, pid, name: 'db' });
      const again = [started(5200), seen(5201, { startedAtMs: 5200, pid: 80, name: 'web' })];
      const nextGroup = [gone(5040), appeared(5150), processes(5160, 80)];
      // Each witness tells in order what it saw.
      const scenarios: Observation[][][] = [
        // Killed, started again, killed again.
        [
          [exited(5030, 137), ...again, exited(5330, 137)],
          [counted(5001), ...nextGroup, counted(5301), gone(5340)],
          [named(5000, 70), named(5300, 80)],
          [kernelTotal(5002, 41), kernelTotal(5302, 42)],
        ],
        // A child in each life, and the second life goes on.
        [
          [exited(5030, 1), ...again],
          [counted(5001), ...nextGroup, counted(5301)],
          [named(5000, 71), named(5300, 81)],
          [kernelTotal(5302, 42)],
        ],
        // The first group goes with its counter; the second life ends by itself.
        [
          [hinted(5001), exited(5030, 137), ...again, exited(5330, 2)],
          nextGroup,
          [named(5000, 70)],
          [kernelTotal(5002, 41)],
        ],
        // Stopped, started again, killed by hand.
        [
          [signalled(5000, 15), exited(5030, 0), stopped(5031), ...again, signalled(5320, 9), exited(5330, 137)],
          [...nextGroup, gone(5340)],
        ],
        // Nobody tells of the lives but the kernel.
        [[counted(5001), ...nextGroup, counted(5301)], [named(5000, 70), named(5300, 80)], [kernelTotal(5302, 42)]],
        // Two containers at once, one of which goes on.
        [
          [exited(5030, 137)],
          [otherSeen(1001, 90)],
          [counted(5001), gone(5040)],
          [otherAppeared(900), otherProcesses(910, 90), otherCounted(5002)],
          [named(5000, 70), otherNamed(5001, 91)],
          [kernelTotal(5003, 42)],
        ],
        // Two containers at once, both of which end, one with its counter unread.
        [
          [exited(5030, 137)],
          [otherSeen(1001, 90), otherExited(5031, 137)],
          [gone(5040)],
          [otherAppeared(900), otherProcesses(910, 90), otherCounted(5002), otherGone(5041)],
          [named(5000, 70), otherNamed(5001, 90)],
          [kernelTotal(5003, 42)],
        ],
      ];
      const tellAll = (observations: readonly Observation[]): string[] => {
        const receiver = makeReceiver({ isKernelLogUp: true });
        for (const observation of [...known, otherStarted(1000)]) receiver.take(observation, 1100);
        const told = observations.flatMap((observation) => receiver.take(observation, 5400));
        return [...told, ...receiver.settle(5400 + settleMs), ...receiver.settle(60_000)].map((incident) => {
          const of = 'container' in incident ? Number(incident.container.id) : 0;
          const pid = incident.kind === 'oom_kill' ? (incident.named?.victim.pid ?? '-') : '';
          return `${of} ${summarize(incident)} ${pid}`;
        });
      };
      const anyMerge = fc.constantFrom(...scenarios).chain((streams) =>
        fc.tuple(
          fc.constant(streams),
          fc.shuffledSubarray(
            streams.flatMap((stream, index) => stream.map(() => index)),
            { minLength: streams.flat().length },
          ),
        ),
      );
      fc.assert(
        fc.property(anyMerge, ([streams, turns]) => {
          const left = streams.map((stream) => [...stream]);
          const merged = turns.map((index) => left[index]!.shift()!);
          const inTime = streams.flat().toSorted((a, b) => a.atMs - b.atMs);
          assert.deepEqual(tellAll(merged).toSorted(), tellAll(inTime).toSorted());
        }),
        { numRuns: 1000 },
      );
    });

    it('takes a group of thousands that is named one by one in its stride', () => {
      const most = 4_000;
      const receiver = makeReceiver({ isKernelLogUp: true });
      const group = { ...named(5000, 71).victim.invocation!, oomGroup: `/docker/${id}` };
      for (const observation of known) receiver.take(observation);
      const beganMs = performance.now();
      const victims = Array.from({ length: most }, (_, n) => named(5000 + n / 1000, 1000 + n, { invocation: group }));
      const told = victims.flatMap((victim) => receiver.take(victim, 5005));
      told.push(...receiver.take(counted(5006, most + 1, { oomGroupKills: 1 })), ...receiver.settle(6000));
      assert.equal(told.length, most);
      assert.ok(performance.now() - beganMs < 2_000, 'not a look at each for each');
    });

    it('does so, too, where no counter and no runtime tells of it', () => {
      const receiver = makeReceiver({ isKernelLogUp: true, isRuntimeUp: false });
      const beganMs = performance.now();
      const most = 4_000;
      const told = Array.from({ length: most }, (_, n) => receiver.take(named(5000 + n / 1000, 1000 + n), 5005)).flat();
      assert.deepEqual([told.length, receiver.settle(6000).length], [0, most]);
      assert.ok(performance.now() - beganMs < 2_000, 'not a look at each for each');
    });

    it('learns of a container, and of its pod, from the log alone', () => {
      const uid = pod.slice(-36);
      const unknown = { victim: { ...named(5000, 71, { memcg: inPod }).victim, memcg: undefined }, memcgSeen: inPod };
      const logged: [Observation, string | undefined][] = [
        [named(5000, 71, { memcg: inPod }), uid],
        [{ ...named(5000, 71), ...unknown }, uid],
        [named(5000, 71), undefined],
        [{ kind: 'nothing_killable', source: 'kernel_log', atMs: 5000, invocation: { at: {}, oomMemcg: inPod } }, uid],
        [
          {
            kind: 'nothing_killable',
            source: 'kernel_log',
            atMs: 5000,
            invocation: { at: {}, oomMemcg: `/docker/${id}` },
          },
          undefined,
        ],
      ];
      for (const [observation, podUid] of logged) {
        const { correlator, take } = makeReceiver({ isKernelLogUp: true });
        take(observation);
        const container = correlator.containerOf(exited(6000));
        assert.equal(container?.id, id);
        assert.equal(container.pod?.uid, podUid);
        assert.equal('pod' in container && container.pod !== undefined, podUid !== undefined);
      }
    });

    it('knows which container an observation is about', () => {
      const { correlator, take } = makeReceiver({ isKernelLogUp: true });
      for (const observation of known) take(observation);
      const about = [counted(5000), otherCounted(5000), named(5000, 71), strayOf(5000, 70), strayOf(5000, 71)];
      assert.deepEqual(
        [...about, kernelTotal(5000, 41)].map((observation) => correlator.containerOf(observation)?.id),
        [id, undefined, id, id, undefined, undefined],
      );
    });

    it('believes a userspace OOM killer about the container that it names, and about no other', () => {
      const wrote = { kind: 'userspace_killer_logged', source: 'kernel_log', killer: 'systemd-oomd' } as const;
      const both = [otherAppeared(900), otherStarted(1000), exited(5030, 137), other.exited(5031, 137)];
      assert.deepEqual(tellWith(...both, { ...wrote, atMs: 5020, memcg: `/docker/${id}` }), [
        'exit killed killed_by_userspace_oom',
        'exit killed killed_externally',
      ]);
    });

    it("knows a pod's unit that a userspace OOM killer names, which tells only the last part of its path", () => {
      const receiver = makeReceiver({ isKernelLogUp: true });
      const unit = 'kubepods-burstable-pod5a1f3c62.slice';
      const group = `/kubepods.slice/kubepods-burstable.slice/${unit}/cri-containerd-${id}.scope`;
      const wrote = { kind: 'userspace_killer_logged', source: 'kernel_log', killer: 'systemd-oomd' } as const;
      receiver.take(appeared(900, true, group));
      for (const observation of [started(1000), exited(5030, 137)]) receiver.take(observation);
      receiver.take({ ...wrote, atMs: 5020, memcg: `/${unit}` }, 5040);
      assert.deepEqual(receiver.settle().map(summarize), ['exit killed killed_by_userspace_oom']);
    });

    describe('and a userspace OOM killer', () => {
      const wrote = (atMs: number, kill: { memcg?: string; pid?: number }): Observation => ({
        kind: 'userspace_killer_logged',
        source: 'kernel_log',
        atMs,
        killer: 'systemd-oomd',
        ...kill,
      });
      const own = { memcg: `/docker/${id}` };
      const byKiller = ['exit killed killed_by_userspace_oom'];
      const byOthers = ['exit killed killed_externally'];
      const situations: [string, Observation[], string[]][] = [
        ['that names the group', [wrote(5000, own), exited(5030, 137)], byKiller],
        ['that names the unit', [wrote(5000, { memcg: `/docker-${id}.scope` }), exited(5030, 137)], byKiller],
        ['that names a group above', [wrote(5000, { memcg: '/docker' }), gone(5001), exited(5030, 137)], byKiller],
        ['that names the main process', [wrote(5000, { pid: 70 }), exited(5030, 137)], byKiller],
        ['that writes after the end is told', [exited(5030, 137), wrote(5031, own)], byKiller],
        ['that names a child', [processes(4000, 70), wrote(5000, { pid: 71 }), exited(5030, 137)], byOthers],
        ['that names another group', [wrote(5000, { memcg: '/dock' }), exited(5030, 137)], byOthers],
        ['that names the root group', [wrote(5000, { memcg: '/' }), exited(5030, 137)], byOthers],
        [
          'that names a child, which is known to be of the container',
          [{ ...processes(4000), pids: [70, 71], mainPid: 70 }, wrote(5000, { pid: 71 }), exited(5030, 137)],
          byOthers,
        ],
        [
          'that names the group when that of the next life is there',
          [gone(5001), appeared(5002), wrote(5000, own), exited(5030, 137)],
          byKiller,
        ],
        [
          'that names the main process of the next life',
          [gone(5001), appeared(5002), processes(5003, 80), wrote(5004, { pid: 80 }), exited(5030, 137)],
          byOthers,
        ],
        [
          'that names a group above, in which there is a container of which no group is known',
          [otherStarted(1000), other.signalled(4000, 1), wrote(5000, { memcg: '/docker' }), exited(5030, 137)],
          byKiller,
        ],
        ['that wrote long before', [wrote(5000, own), exited(35_001, 137)], byOthers],
        ['and no SIGKILL', [wrote(5000, own), exited(5030, 1)], ['exit error app_error']],
        ['and no end', [wrote(5000, own)], []],
        [
          'and a stop that was asked for',
          [wrote(5000, own), signalled(5010, 15), exited(5030, 137)],
          ['exit killed stopped'],
        ],
        [
          "and the kernel's",
          [wrote(5000, own), counted(5001), named(5000, 70), exited(5030, 137)],
          ['oom_kill init 70 container', 'exit oom_killed oom_container'],
        ],
        [
          "and the kernel's, of which only the machine's count is left",
          [wrote(5000, own), kernelTotal(5001, 41), gone(5002), exited(5030, 137)],
          ['oom_kill init - unknown', 'exit oom_killed oom_container'],
        ],
      ];
      for (const [title, observations, expected] of situations) {
        it(title, () => assert.deepEqual(tellWith(...observations), expected));
      }
    });

    it('tells the same in any order of arrival', () => {
      const scenarios: Observation[][] = [
        [kernelTotal(4999, 42), hinted(5000), counted(5001, 2), named(5000, 70), named(5001, 71), exited(5010, 137)],
        [kernelTotal(4999, 41), gone(5003), named(5000, 70), exited(5010, 137)],
        [kernelTotal(4999, 41), strayOf(5000, 70), counted(5003), exited(5010, 137)],
        [kernelTotal(4999, 41), strayOf(5000, 71), counted(5003), exited(5010, 1)],
        [counted(5001, 3), named(5000, 71), exited(5010, 3)],
        [kernelTotal(4999, 41), named(5000, 90, { memcg: '/init.scope' }), exited(5000, 137), signalled(4990, 9)],
      ];
      const anyOrder = fc
        .constantFrom(...scenarios)
        .chain((scenario) =>
          fc.tuple(fc.constant(scenario), fc.shuffledSubarray(scenario, { minLength: scenario.length })),
        );
      fc.assert(
        fc.property(anyOrder, ([scenario, shuffled]) => {
          assert.deepEqual(tellWith(...shuffled).toSorted(), tellWith(...scenario).toSorted());
        }),
      );
    });

    it('gives a victim that the log names in a reading with a group kill the id of its own invocation', () => {
      const receiver = makeReceiver({ isKernelLogUp: true });
      const memcg = `/docker/${id}`;
      const group = { ...named(5000, 71).victim.invocation!, oomGroup: memcg };
      const logged = [named(4999, 75), ...[71, 72, 73].map((pid) => named(5000, pid, { invocation: group }))];
      for (const observation of [...known, ...logged, counted(5001, 5, { oomGroupKills: 1 })])
        receiver.take(observation);
      const kills = receiver.settle().filter((incident) => incident.kind === 'oom_kill');
      assert.deepEqual(
        kills.map(({ named: { victim } = {}, group: ofGroup }) => [victim?.pid, ofGroup]),
        [
          [75, false],
          [71, true],
          [72, true],
          [73, true],
        ],
      );
      assert.equal(new Set(kills.map(({ incidentId }) => incidentId)).size, 2);
    });

    it('gives all victims of a group kill one id where the group is announced after the first of them', () => {
      for (const invocation of [{ ...named(5000, 71).victim.invocation!, triggerPid: 71 }, undefined]) {
        const receiver = makeReceiver({ isKernelLogUp: true });
        const first = named(5000, 71, { invocation });
        const { at } = invocation ?? first.victim;
        const group = { ...(invocation ?? { at, firstVictimPid: 71 }), oomGroup: `/docker/${id}` };
        const others = [72, 73].map((pid) => named(5300, pid, { invocation: group }));
        for (const observation of [...known, first, counted(5001, 4, { oomGroupKills: 1 })]) receiver.take(observation);
        const told = [
          ...[mainProcess(5010, false), ...others].flatMap((late) => receiver.take(late)),
          ...receiver.settle(),
        ];
        const kills = told.filter((incident) => incident.kind === 'oom_kill');
        assert.deepEqual(
          kills.map(({ incidentId, group: ofGroup }) => [incidentId, ofGroup]),
          [71, 72, 73].map(() => [kills[0]!.incidentId, true]),
        );
      }
    });

    it('gives the victims of one invocation one id, and the same again when the log is read again', () => {
      const read = () => {
        const receiver = makeReceiver({ isKernelLogUp: true });
        const { invocation } = named(5000, 71).victim;
        const victims = [named(5000, 71, { invocation }), named(5001, 72, { invocation }), named(5002, 73)];
        for (const observation of [...known, ...victims]) receiver.take(observation);
        return receiver.settle().map((incident) => 'incidentId' in incident && incident.incidentId);
      };
      assert.deepEqual(read(), read());
      assert.deepEqual(new Set(read()).size, 2);
    });
  });
});
