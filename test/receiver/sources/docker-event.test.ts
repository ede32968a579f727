import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import type { Observation, RuntimeName } from '../../../receiver/observation.ts';
import { clashOf, decodeEvent, observationOf, showsDeception } from '../../../receiver/sources/docker-event.ts';
import { LineSplitter } from '../../../receiver/sources/line-splitter.ts';
import { anId, docker20, docker28, podman4 } from './docker-recordings.ts';

const image = 'localhost/exit137-test:1';
const nowMs = 1_795_000_000_000;

interface Decoded {
  observation?: Observation;
  key?: string;
  bad: string[];
}

function decode(line: string, runtime: RuntimeName = 'docker', labels: Record<string, string> = {}): Decoded {
  const bad: string[] = [];
  const onBadInput = (what: string, value: string) => bad.push(`${what}: ${value}`);
  const decoded = decodeEvent(line, nowMs, onBadInput);
  const observation = decoded && observationOf(decoded, runtime, clashOf(labels, runtime), onBadInput);
  return { observation, key: decoded?.key, bad };
}

/** An event of Docker as far as it matters. */
function event(action: string, attributes: Record<string, unknown> = {}, rest: object = {}): string {
  return JSON.stringify({
    Type: 'container',
    Action: action,
    Actor: { ID: anId, Attributes: attributes },
    timeNano: 1795244505e9,
    ...rest,
  });
}

describe('events of Docker and Podman', () => {
  it('are what Docker 20.10 sends of a container that runs out of memory', () => {
    const { containerId } = docker20;
    const facts = { containerId, runtime: 'docker', name: 'exciting_babbage', image, labels: {} };
    assert.deepEqual(
      [docker20.start, docker20.oom, docker20.die, docker20.destroy].map((line) => decode(line).observation),
      [
        { kind: 'container_started', ...facts, atMs: 1795244282059.7705 },
        { kind: 'oom_hinted', containerId, atMs: 1795244282112.7078 },
        { kind: 'container_exited', ...facts, atMs: 1795244282134.5203, exitCode: 137 },
        { kind: 'container_removed', containerId, atMs: 1795244282144.675 },
      ],
    );
  });

  it('are what Podman 4.3 sends: other words, attributes of its own, and no signal with a kill', () => {
    const { containerId } = podman4;
    const facts = { containerId, runtime: 'podman', image, labels: { foo: 'bar' } };
    assert.deepEqual(
      [podman4.start, podman4.kill, podman4.die, podman4.remove].map((line) => decode(line, 'podman').observation),
      [
        { kind: 'container_started', ...facts, name: 'a', atMs: 1795244286717.0862 },
        { kind: 'container_signalled', containerId, atMs: 1795244286838.6282, signal: undefined },
        { kind: 'container_exited', ...facts, name: 'b', atMs: 1795244286895.593, exitCode: 0 },
        { kind: 'container_removed', containerId, atMs: 1795244287039.692 },
      ],
    );
  });

  it('say what happened in each action', () => {
    const at = { containerId: anId, atMs: 1795244505000 };
    const facts = { containerId: anId, runtime: 'docker', name: 'web', image: undefined, labels: {} };
    const table: [string, Record<string, string>, object | undefined][] = [
      ['start', { name: 'web' }, { kind: 'container_started', ...facts, atMs: at.atMs }],
      ['died', { name: 'web', exitCode: '0' }, { kind: 'container_exited', ...facts, atMs: at.atMs, exitCode: 0 }],
      ['kill', { signal: '9' }, { kind: 'container_signalled', ...at, signal: 9 }],
      ['kill', { signal: 'SIGTERM' }, { kind: 'container_signalled', ...at, signal: 15 }],
      ['kill', { signal: 'HUP' }, { kind: 'container_signalled', ...at, signal: 1 }],
      ['kill', { signal: 'constructor' }, { kind: 'container_signalled', ...at, signal: undefined }],
      ['stop', {}, { kind: 'container_stopped', ...at }],
      ['pause', {}, { kind: 'container_paused', ...at, paused: true }],
      ['unpause', {}, { kind: 'container_paused', ...at, paused: false }],
      ['rename', { name: 'db', oldName: '/web' }, { kind: 'container_renamed', ...at, name: 'db' }],
      ['remove', {}, { kind: 'container_removed', ...at }],
    ];
    for (const [action, attributes, expected] of table) {
      assert.deepEqual(decode(event(action, attributes)), {
        observation: expected,
        key: `${anId} ${{ died: 'die', remove: 'destroy' }[action] ?? action} 1795244505000000000`,
        bad: [],
      });
    }
  });

  it('concern us not where the action is another', () => {
    for (const action of ['exec_create: /bin/sh', 'health_status: healthy', 'create', 'restart', 'top']) {
      assert.deepEqual(decode(event(action)), { observation: undefined, key: undefined, bad: [] });
    }
  });

  it('are told apart by nanoseconds that no number holds', () => {
    const [one, other] = ['1795244506231145275', '1795244506231145276'];
    assert.equal(Number(one), Number(other));
    assert.notEqual(
      decode(docker20.die.replace('1795244282134520378', one)).key,
      decode(docker20.die.replace('1795244282134520378', other)).key,
    );
  });

  it('happen at the second where the daemon gives no nanoseconds, and now where it gives nothing', () => {
    const atMsOf = (rest: object) => decode(event('stop', {}, rest)).observation?.atMs;
    assert.equal(atMsOf({ time: 1795244505, timeNano: undefined }), 1795244505000);
    assert.equal(atMsOf({ time: 0, timeNano: 0 }), nowMs);
    assert.equal(atMsOf({ time: 'x', timeNano: 'y' }), nowMs);
    assert.equal(atMsOf({ time: 1.8e305, timeNano: undefined }), nowMs);
    assert.equal(atMsOf({ time: 1795244505, timeNano: 2 ** 64 }), nowMs);
  });

  it('are of the container in `id` where an old daemon names no actor', () => {
    const { observation } = decode(JSON.stringify({ status: 'oom', id: anId, time: 1795244505 }));
    assert.deepEqual(observation, { kind: 'oom_hinted', containerId: anId, atMs: 1795244505000 });
  });

  it('have no exit code where that is not a number', () => {
    const { observation, bad } = decode(event('die', { exitCode: 'many\u001b[31m' }));
    assert.equal((observation as { exitCode?: number }).exitCode, undefined);
    assert.deepEqual(bad, ['exit code is not a number: many\\u001b[31m']);
    const without = decode(event('die'));
    assert.equal((without.observation as { exitCode?: number }).exitCode, undefined);
    assert.deepEqual(without.bad, []);
  });

  it('are told and left out where they cannot be read', () => {
    const table: [string, string][] = [
      ['not json', 'event is not a JSON object: not json'],
      ['[]', 'event is not a JSON object: []'],
      ['null', 'event is not a JSON object: null'],
      ['{}', 'event has no action: {}'],
      [JSON.stringify({ Action: 'die', Actor: { ID: 'ABC' } }), 'event has no container id of 64 hex digits: ABC'],
      [event('die', {}, { Actor: { ID: `${anId}\n` } }), `event has no container id of 64 hex digits: ${anId}\\u000a`],
      ['x'.repeat(5000), `event is not a JSON object: ${'x'.repeat(200)}…`],
    ];
    for (const [line, told] of table)
      assert.deepEqual(decode(line), { observation: undefined, key: undefined, bad: [told] });
  });

  it('have the time of their arrival where theirs is none', () => {
    for (const time of ['null', '{"toString":""}', '"now"', '[1795244506]', '-1', '1e300']) {
      const text = docker20.die.replace(/"time":\d+,"timeNano":\d+/, `"time":${time},"timeNano":${time}`);
      assert.notEqual(text, docker20.die);
      assert.equal(decode(text).observation?.atMs, nowMs, time);
    }
  });

  it('never throw, whatever the bytes and however they are cut', () => {
    const line = fc.oneof(
      fc.string(),
      fc.json(),
      fc.constantFrom(docker20.die, docker28.start, podman4.die),
      fc
        .record({
          Action: fc.oneof(fc.constantFrom('die', 'start', 'kill', 'rename'), fc.jsonValue()),
          Actor: fc.oneof(fc.record({ ID: fc.constant(anId), Attributes: fc.jsonValue() }), fc.jsonValue()),
          time: fc.jsonValue(),
          timeNano: fc.jsonValue(),
        })
        .map((value) => JSON.stringify(value)),
    );
    const bytes = fc.oneof(
      fc.array(line).map((lines) => Buffer.from(lines.join('\n'))),
      fc.uint8Array({ maxLength: 2000 }).map((array) => Buffer.from(array)),
    );
    fc.assert(
      fc.property(bytes, fc.integer({ min: 1, max: 500 }), (all, step) => {
        const lines = new LineSplitter(1000, () => {});
        for (let at = 0; at < all.length; at += step) {
          lines.push(all.subarray(at, at + step), (text) => {
            const { observation } = decode(text);
            if (observation !== undefined) assert.ok(Number.isFinite(observation.atMs));
          });
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('labels in the attributes of events', () => {
  it('are kept apart from the facts', () => {
    const labelsOf = (line: string) => (decode(line).observation as { labels?: object }).labels;
    assert.deepEqual(labelsOf(event('start', { name: 'web', image, team: 'a', oldName: 'x' })), {
      team: 'a',
      oldName: 'x',
    });
    assert.deepEqual(labelsOf(event('die', { exitCode: '0', execDuration: '3', team: 'a' })), { team: 'a' });
  });

  it('can be called anything', () => {
    const { observation } = decode(
      event('start', JSON.parse('{"__proto__":"x","constructor":"y","n":1}') as object as {}),
    );
    const { labels } = observation as { labels: object };
    assert.deepEqual(Object.entries(labels), [
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);
  });

  it('cannot pass for an exit code or a signal: Docker writes them over those', () => {
    // The container exited with 0.
    const { observation } = decode(docker28.die, 'docker', { exitCode: '9' });
    assert.equal((observation as { exitCode?: number }).exitCode, undefined);
    const killed = decode(docker28.kill, 'docker', { signal: '15' }).observation;
    assert.deepEqual([killed?.kind, (killed as { signal?: number }).signal], ['container_signalled', undefined]);
  });

  it('do so only with Docker', () => {
    const { observation } = decode(podman4.die.replace('"foo":"bar"', '"signal":"9"'), 'podman', { signal: '9' });
    assert.equal((observation as { exitCode?: number }).exitCode, 0);
    assert.equal(
      showsDeception(
        decodeEvent(docker28.start, nowMs, () => {})!,
        'podman',
      ),
      false,
    );
  });

  it('give themselves away in events that have no such fact', () => {
    const shows = (line: string) =>
      showsDeception(
        decodeEvent(line, nowMs, () => {})!,
        'docker',
      );
    assert.deepEqual([docker28.start, docker28.rename, docker28.kill].map(shows), [true, true, true]);
    assert.deepEqual([docker28.die, docker20.start, docker20.die, podman4.start].map(shows), [
      false,
      false,
      false,
      false,
    ]);
  });

  it('are absent where some are hidden and all are known from an inspection', () => {
    const { observation } = decode(docker28.start, 'docker', { name: 'evil', exitCode: '9', foo: 'bar' });
    assert.equal((observation as { labels?: object }).labels, undefined);
    assert.equal((observation as { name?: string }).name, 'aa');
  });

  it('are cut to sane bounds, as are names, and each cut is told', () => {
    const labels = Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`l${n}`, 'v']));
    const many = decode(event('start', { ...labels }));
    assert.equal(Object.keys((many.observation as { labels: object }).labels).length, 128);
    assert.deepEqual(many.bad, ['container has more than 128 labels: l128']);

    const long = decode(event('start', { name: 'n'.repeat(300), image: 'i'.repeat(600), l: `${'v'.repeat(1023)}😀` }));
    const {
      name,
      image: longImage,
      labels: cut,
    } = long.observation as {
      name: string;
      image: string;
      labels: Record<string, string>;
    };
    assert.deepEqual([name.length, longImage.length, cut['l']!.length], [256, 512, 1024]);
    assert.ok(cut['l']!.isWellFormed());
    assert.deepEqual(
      long.bad.map((text) => text.split(':')[0]),
      [
        'container name is longer than 256 characters',
        'image name is longer than 512 characters',
        'label value is longer than 1024 characters',
      ],
    );
  });
});
