import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SeverityNumber } from '@opentelemetry/api-logs';
import { configSchema } from '../../receiver/config.ts';
import { ContainerTable, type Container } from '../../receiver/container-table.ts';
import type { ContainerExit, Incident, OomKill } from '../../receiver/incident.ts';
import type { PodFacts } from '../../receiver/observation.ts';
import { Resources } from '../../receiver/resources.ts';
import { LogsBuilder } from '../../receiver/to-logs.ts';
import { idOf, observationsOf } from './observations.ts';
import { instanceOf } from './pods.ts';

const atMs = 1_700_000_000_123;
const builder = new LogsBuilder(new Resources(configSchema.parse({}), { 'host.name': 'node-1' }), '1.2.3');

function makeContainer(): Container {
  const table = new ContainerTable(1);
  table.apply({ ...observationsOf(idOf(10)).started(atMs - 90_000), name: 'web-1' });
  return table.get(idOf(10))!;
}

function makeKill(facts: Partial<OomKill> = {}): OomKill {
  return {
    kind: 'oom_kill',
    container: makeContainer(),
    atMs,
    observedAtMs: atMs + 2,
    incidentId: 'x',
    victim: 'child',
    scope: 'container',
    evidence: ['memory_events'],
    ...facts,
  };
}

function makeExit(facts: Partial<ContainerExit>): ContainerExit {
  const container = makeContainer();
  return {
    kind: 'exit',
    container,
    atMs,
    observedAtMs: atMs,
    life: container.life!,
    reason: 'error',
    cause: 'app_error',
    evidence: ['exit_status'],
    ...facts,
  };
}

const bodyOf = (incident: Incident) => builder.of(incident).body;

describe('LogsBuilder', () => {
  it('tells an OOM kill with both times, its severity and its facts', () => {
    const { resource, instrumentationScope, ...record } = builder.of(
      makeKill({ limitBytes: 64 * 2 ** 20, mainProcessAlive: true }),
    );
    assert.equal(resource.attributes['container.name'], 'web-1');
    assert.equal(resource.attributes['host.name'], 'node-1');
    assert.deepEqual(instrumentationScope, { name: 'exit137', version: '1.2.3' });
    assert.deepEqual(record, {
      hrTime: [1_700_000_000, 123_000_000],
      hrTimeObserved: [1_700_000_000, 125_000_000],
      severityNumber: SeverityNumber.ERROR,
      severityText: 'ERROR',
      eventName: 'container.oom_kill',
      body: "The kernel's OOM killer killed a child process of web-1 (memory limit 64 MiB); its main process lives on.",
      attributes: {
        'oom.incident.id': 'x',
        'oom.scope': 'container',
        'oom.victim': 'child',
        'oom.evidence': ['memory_events'],
        'oom.inferred': true,
        'container.memory.usage.limit': 64 * 2 ** 20,
        'error.type': 'oom_killed',
      },
      droppedAttributesCount: 0,
    });
  });

  it('gives all records one scope object, by which serializers group', () => {
    const [one, other] = [builder.of(makeKill()), builder.of(makeExit({ exitCode: 0 }))];
    assert.equal(one.instrumentationScope, other.instrumentationScope);
  });

  const sentences: [string, Incident, string][] = [
    ['the main process', makeKill({ victim: 'init' }), "The kernel's OOM killer killed the main process of web-1."],
    ['nobody knows which', makeKill({ victim: 'unknown' }), "The kernel's OOM killer killed a process of web-1."],
    [
      'a limit that is no round number',
      makeKill({ victim: 'init', limitBytes: 1.5 * 2 ** 30 }),
      "The kernel's OOM killer killed the main process of web-1 (memory limit 1.5 GiB).",
    ],
    [
      'exit 0',
      makeExit({ exitCode: 0, reason: 'completed', cause: 'completed' }),
      'web-1 exited with code 0 after 1 min.',
    ],
    ['exit 3', makeExit({ exitCode: 3 }), 'web-1 exited with code 3 after 1 min.'],
    [
      'an OOM kill',
      makeExit({ exitCode: 137, reason: 'oom_killed', cause: 'oom_container' }),
      "web-1 exited with code 137 (SIGKILL) after 1 min: the kernel's OOM killer killed its main process.",
    ],
    [
      'a stop that it heeded',
      makeExit({ exitCode: 0, reason: 'completed', cause: 'stopped' }),
      'web-1 exited with code 0 after 1 min: it was asked to stop.',
    ],
    [
      'a stop that timed out',
      makeExit({ exitCode: 137, reason: 'killed', cause: 'stopped' }),
      'web-1 exited with code 137 (SIGKILL) after 1 min when it was asked to stop.',
    ],
    [
      'kill -9',
      makeExit({ exitCode: 137, reason: 'killed', cause: 'killed_externally' }),
      'web-1 exited with code 137 (SIGKILL) after 1 min: not by the OOM killer, but by a SIGKILL from elsewhere or of its own accord.',
    ],
    [
      'a kill that a userspace OOM killer wrote of',
      makeExit({ exitCode: 137, reason: 'killed', cause: 'killed_by_userspace_oom', killer: 'systemd-oomd' }),
      'web-1 exited with code 137 (SIGKILL) after 1 min: systemd-oomd wrote that it killed it.',
    ],
    ['an abort', makeExit({ exitCode: 134, cause: 'app_signal' }), 'web-1 exited with code 134 (SIGABRT) after 1 min.'],
    [
      'a code that nobody knows',
      makeExit({ cause: 'unknown' }),
      'web-1 exited after 1 min, with which code is not known.',
    ],
  ];
  for (const [title, incident, expected] of sentences) {
    it(`says in one sentence: ${title}`, () => assert.equal(bodyOf(incident), expected));
  }

  const severities: [string, Partial<ContainerExit>, SeverityNumber, string | undefined][] = [
    ['exit 0', { exitCode: 0, reason: 'completed', cause: 'completed' }, SeverityNumber.INFO, undefined],
    ['a stop', { exitCode: 137, reason: 'killed', cause: 'stopped' }, SeverityNumber.INFO, undefined],
    ['exit 3', { exitCode: 3 }, SeverityNumber.ERROR, 'exit_3'],
    ['a signal', { exitCode: 139, cause: 'app_signal' }, SeverityNumber.ERROR, 'signal_SIGSEGV'],
    [
      'an OOM kill',
      { exitCode: 137, reason: 'oom_killed', cause: 'oom_container' },
      SeverityNumber.ERROR,
      'oom_killed',
    ],
    ['an unknown code', { cause: 'unknown' }, SeverityNumber.ERROR, undefined],
  ];
  for (const [title, facts, severity, errorType] of severities) {
    it(`gives ${title} its severity and error type`, () => {
      const { severityNumber, attributes } = builder.of(makeExit(facts));
      assert.deepEqual([severityNumber, attributes['error.type']], [severity, errorType]);
    });
  }

  it('tells a kill in a pod of which nobody knows the container on the pod’s resource, else on the node’s', () => {
    const facts = { atMs, observedAtMs: atMs, incidentId: '5a1f3c62-0b5e-x-0', scope: 'pod' } as const;
    const uid = '5a1f3c62-0b5e-4a51-9e0f-6f1f5b1d2c3e';
    const kill = (pod?: PodFacts): Incident => ({ ...facts, kind: 'pod_oom_kill', evidence: ['memory_events'], pod });
    const told = [kill({ uid, namespace: 'shop', name: 'cart-0' }), kill({ uid }), kill()].map((one) =>
      builder.of(one),
    );
    assert.deepEqual(
      told.map(({ eventName, body, resource }) => [eventName, body, resource.attributes]),
      [
        [
          'container.oom_kill',
          "The kernel's OOM killer killed a process of pod shop/cart-0, in a container that is gone, at its pod's memory limit.",
          {
            'k8s.namespace.name': 'shop',
            'k8s.pod.name': 'cart-0',
            'k8s.pod.uid': uid,
            'host.name': 'node-1',
          },
        ],
        [
          'container.oom_kill',
          `The kernel's OOM killer killed a process of pod ${uid}, in a container that is gone, at its pod's memory limit.`,
          { 'k8s.pod.uid': uid, 'host.name': 'node-1' },
        ],
        [
          'system.oom_kill',
          "The kernel's OOM killer killed a process of one of the node's pods, in a container that is gone, at its pod's memory limit.",
          { 'host.name': 'node-1' },
        ],
      ],
    );
    assert.deepEqual(told[0]!.attributes, {
      'oom.incident.id': '5a1f3c62-0b5e-x-0',
      'oom.scope': 'pod',
      'oom.victim': 'unknown',
      'oom.evidence': ['memory_events'],
      'oom.inferred': true,
      'error.type': 'oom_killed',
    });
  });

  it('tells a restart with what came before', () => {
    const container = makeContainer();
    container.workload.restarts = 2;
    const previous = { endedAtMs: atMs - 1_500, exitCode: 1, beganUnderOurEyes: true };
    const record = builder.of({ kind: 'restart', container, atMs, observedAtMs: atMs, previous });
    assert.equal(record.severityNumber, SeverityNumber.WARN);
    assert.equal(record.body, 'web-1 was started again, 1.5 s after it had exited with code 1 (2 restarts seen).');
  });

  it('calls a container without a name by its id', () => {
    const container = makeContainer();
    container.name = undefined;
    assert.match(String(bodyOf(makeKill({ container }))), /of container 000000000000[;.]/);
  });

  it('names a container of a pod as the API does, and its sandbox by the pod', () => {
    const nameOf = (facts: Partial<Container>) => {
      const { body } = builder.of(makeKill({ container: { ...makeContainer(), ...facts }, victim: 'child' }));
      return /child process of (.*)\.$/.exec(body as string)?.[1];
    };
    const { pod } = instanceOf(10);
    assert.equal(nameOf({ pod, name: 'k8s_app_web-0_shop' }), 'shop/web-0/app');
    assert.equal(nameOf({ pod: { ...pod, containerName: undefined }, sandbox: true }), 'the sandbox of shop/web-0');
    assert.equal(nameOf({ pod: { uid: pod.uid } }), `container 000000000000 of pod ${pod.uid}`);
  });

  it('tells a crash loop when it begins, as an error, and when it has ended', () => {
    const container = makeContainer();
    container.workload.lastExitCode = 3;
    const loop = {
      kind: 'crash_loop',
      container,
      atMs,
      observedAtMs: atMs,
      sinceMs: atMs - 30_000,
      restarts: 3,
    } as const;
    const { body, severityText, attributes, eventName } = builder.of({ ...loop, state: 'begun' });
    assert.equal(eventName, 'container.crash_loop');
    assert.equal(severityText, 'ERROR');
    assert.equal(body, 'web-1 is in a crash loop: 3 restarts within 30 s; its last exit code is 3.');
    assert.deepEqual(attributes, { 'crash_loop.state': 'begun', 'crash_loop.restarts': 3, 'process.exit.code': 3 });
    const ended = builder.of({ ...loop, state: 'ended' });
    assert.equal(ended.severityText, 'INFO');
    assert.equal(ended.body, 'web-1 has left its crash loop after 3 restarts: it has run for 10 min.');
    assert.equal(bodyOf({ ...loop, state: 'gone' }), 'web-1 is gone, and its crash loop of 3 restarts with it.');
  });

  it('says how many restarts nobody saw', () => {
    const container = makeContainer();
    container.workload.restarts = 5;
    const incident: Incident = { kind: 'restart', container, atMs, observedAtMs: atMs, restarts: 4 };
    assert.equal(bodyOf(incident), 'web-1 was started again (5 restarts, 3 of them while nobody looked).');
  });
});
