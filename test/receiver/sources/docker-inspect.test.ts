import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import type { ContainerSeen } from '../../../receiver/observation.ts';
import { decodeInspection, decodeList, endedAgoMs } from '../../../receiver/sources/docker-inspect.ts';
import { anId, anotherId, inspections } from './docker-recordings.ts';

const image = 'localhost/exit137-test:1';
const atMs = 1795244600000;

function decode(answer: unknown): { seen?: object; bad: string[] } {
  const bad: string[] = [];
  const inspection = decodeInspection(answer, anId, atMs, 'docker', (what, value) => bad.push(`${what}: ${value}`));
  return { seen: inspection?.seen, bad };
}

describe('decodeInspection', () => {
  const base = { kind: 'container_seen', containerId: anId, runtime: 'docker', image, atMs, paused: false };

  it('knows a container in its first life: no end, no exit code', () => {
    assert.deepEqual(decode(inspections.docker28Running).seen, {
      ...base,
      name: 'bb',
      labels: { exitCode: '9', foo: 'bar', name: 'evil' },
      running: true,
      pid: 23190,
      createdAtMs: 1795244505093.4216,
      startedAtMs: 1795244505307.5493,
      finishedAtMs: undefined,
      exitCode: undefined,
      restartCount: 0,
    });
  });

  it('does not take a container that waits for its restart for a running one, though Docker says so', () => {
    assert.deepEqual(decode(inspections.docker28Restarting).seen, {
      ...base,
      name: 'rr',
      labels: {},
      running: false,
      pid: undefined,
      createdAtMs: 1795244506251.8372,
      startedAtMs: 1795244507039.9465,
      finishedAtMs: 1795244507181.3936,
      exitCode: 3,
      restartCount: 1,
    });
  });

  it('has neither times nor an exit code of a container that never ran', () => {
    const seen = decode(inspections.docker28NeverStarted).seen as Record<string, unknown>;
    assert.deepEqual(
      [seen['running'], seen['startedAtMs'], seen['finishedAtMs'], seen['exitCode'], seen['pid']],
      [false, undefined, undefined, undefined, undefined],
    );
  });

  it('reads times in the zone of the daemon', () => {
    const seen = decode(inspections.podman4Exited).seen as Record<string, unknown>;
    assert.deepEqual(
      [seen['startedAtMs'], seen['finishedAtMs'], seen['exitCode']],
      [Date.UTC(2026, 10, 21, 6, 59, 16) + 643.566064, Date.UTC(2026, 10, 21, 6, 59, 16) + 962.277601, 0],
    );
  });

  it('has no time that a daemon cannot mean: it counts nanoseconds in 63 bits, to the year 2262', () => {
    const table: [string, number | undefined][] = [
      ['2262-04-11T23:47:16.854Z', 9_223_372_036_854],
      ['2262-04-11T23:47:16.855Z', undefined],
      ['9999-12-31T23:59:59.999999999Z', undefined],
      ['1970-01-01T00:00:00Z', undefined],
      ['1969-12-31T23:59:59Z', undefined],
      ['2026-02-30T25:00:00Z', undefined],
    ];
    for (const [time, expected] of table) {
      const { State } = inspections.docker28Restarting;
      const answer = {
        ...inspections.docker28Restarting,
        Created: time,
        State: { ...State, StartedAt: time, FinishedAt: time },
      };
      const seen = decode(answer).seen as Record<string, number | undefined>;
      for (const key of ['createdAtMs', 'startedAtMs', 'finishedAtMs']) {
        const found = seen[key];
        assert.equal(found === undefined ? undefined : Math.round(found), expected, `${key} ${time}`);
      }
    }
  });

  it('counts the restarts up to the life it tells of, where Docker has counted the next one already', () => {
    const { State } = inspections.docker28Restarting;
    const countOf = (Restarting: boolean, RestartCount: unknown) =>
      (
        decode({ ...inspections.docker28Restarting, RestartCount, State: { ...State, Restarting } })
          .seen as ContainerSeen
      ).restartCount;
    assert.equal(countOf(true, 2), 1);
    assert.equal(countOf(false, 2), 2);
    assert.equal(countOf(true, 1), 0);
    assert.equal(countOf(true, 0), 0);
    assert.equal(countOf(true, 'two'), undefined);
  });

  it('tells an answer of another shape and leaves it out', () => {
    const table = [null, [], 'x', {}, { Id: anId }, { ...inspections.docker28Running, Id: anotherId }];
    for (const answer of table) {
      const { seen, bad } = decode(answer);
      assert.equal(seen, undefined);
      assert.equal(bad.length, 1);
      assert.match(bad[0]!, /^answer about a container has no state or not its id: /);
    }
  });

  it('shows what is not JSON as text', () => {
    assert.deepEqual(decode(Buffer.from('<html>')).bad, [
      'answer about a container has no state or not its id: <html>',
    ]);
  });

  it('never throws, whatever the values', () => {
    const answer = fc.record(
      {
        Id: fc.constant(anId),
        Created: fc.jsonValue(),
        Name: fc.jsonValue(),
        RestartCount: fc.jsonValue(),
        Config: fc.oneof(fc.record({ Image: fc.jsonValue(), Labels: fc.jsonValue() }), fc.jsonValue()),
        State: fc.record(
          {
            Running: fc.boolean(),
            Pid: fc.jsonValue(),
            ExitCode: fc.jsonValue(),
            StartedAt: fc.oneof(fc.jsonValue(), fc.constantFrom('2026-99-21T07:01:45Z', '9999-12-31T23:59:59.9+14:00')),
            FinishedAt: fc.jsonValue(),
          },
          { requiredKeys: ['Running'] },
        ),
      },
      { requiredKeys: ['Id', 'State'] },
    );
    fc.assert(
      fc.property(answer, (value) => {
        const seen = decode(value).seen as Record<string, unknown>;
        for (const [key, held] of Object.entries(seen)) {
          if (typeof held === 'number') assert.ok(Number.isFinite(held) && held >= 0, key);
        }
      }),
    );
  });
});

describe('decodeList', () => {
  it('leaves out and tells what has no id, and keeps the rest', () => {
    const bad: string[] = [];
    const answer = [{ Id: anId, State: 'running', Status: 'Up 3 minutes' }, { Id: 'x' }, null, { Id: anotherId }];
    assert.deepEqual(
      decodeList(answer, (what, value) => bad.push(`${what}: ${value}`)),
      [
        { containerId: anId, state: 'running', status: 'Up 3 minutes' },
        { containerId: anotherId, state: '', status: '' },
      ],
    );
    assert.deepEqual(bad, [
      'listed container has no id of 64 hex digits: {"Id":"x"}',
      'listed container has no id of 64 hex digits: null',
    ]);
  });

  it('throws for an answer that is not a list, with its beginning', () => {
    const answer = { message: 'x'.repeat(1000) };
    assert.throws(() => decodeList(answer, () => {}), {
      message: `cannot read the list of containers "{"message":"${'x'.repeat(188)}…"`,
    });
  });
});

describe('endedAgoMs', () => {
  it('is never more than the age that Docker rounded', () => {
    const minuteMs = 60_000;
    const table: [string, number | undefined][] = [
      ['Exited (0) Less than a second ago', undefined],
      ['Exited (137) 4 seconds ago', 3500],
      ['Exited (0) About a minute ago', 0.5 * minuteMs],
      ['Exited (1) 5 minutes ago', 4.5 * minuteMs],
      ['Exited (0) About an hour ago', 30 * minuteMs],
      ['Exited (255) 3 weeks ago', 2.5 * 7 * 24 * 60 * minuteMs],
      ['Up 3 minutes', undefined],
      ['Up 3 minutes (Paused)', undefined],
      ['Created', undefined],
      ['Dead', undefined],
      ['', undefined],
    ];
    for (const [status, expected] of table) {
      assert.equal(endedAgoMs({ containerId: anId, state: 'exited', status }), expected, status);
    }
  });
});
