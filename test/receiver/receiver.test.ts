import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { Storage } from '../../pipelines/component.ts';
import { PermanentError } from '../../pipelines/errors.ts';
import { fileStorage } from '../../pipelines/extensions/file-storage.ts';
import { Correlator } from '../../receiver/correlator.ts';
import { containerLifecycle } from '../../receiver/receiver.ts';
import { MemcgSource } from '../../receiver/sources/memcg.ts';
import { LogsBuilder } from '../../receiver/to-logs.ts';
import { MetricsBuilder } from '../../receiver/to-metrics.ts';
import { makeSettings } from '../helpers/component-settings.ts';
import { eventually } from '../helpers/eventually.ts';
import { FakeHost } from '../helpers/fake-cgroups.ts';
import { idOf } from './observations.ts';
import { runningContainer, startCriRuntime } from './sources/cri-runtime.ts';
import { FakeContainerd } from './sources/fake-containerd.ts';

const never = new AbortController().signal;
const events = (kills: number) => `oom ${kills}\noom_kill ${kills}\n`;
const vmstat = (kills: number) => `nr_free_pages 1\noom_kill ${kills}\n`;

/** The last metrics of each container and of the node, as `name → value`, and the records told. */
class Sink {
  collections: Map<string, Record<string, number>>[] = [];
  readonly records: ReadableLogRecord[] = [];

  async consumeMetrics(metrics: readonly ResourceMetrics[]): Promise<void> {
    this.collections.push(
      new Map(
        metrics.map(({ resource, scopeMetrics }) => {
          const { 'container.id': containerId } = resource.attributes;
          const id = typeof containerId === 'string' ? containerId : 'node';
          const points = scopeMetrics.flatMap((scope) =>
            scope.metrics.map(({ descriptor: { name }, dataPoints }) => [name, Number(dataPoints[0]?.value)]),
          );
          return [id, Object.fromEntries(points) as Record<string, number>];
        }),
      ),
    );
  }

  async consumeLogs(logs: readonly ReadableLogRecord[]): Promise<void> {
    this.records.push(...logs);
  }

  get last(): Map<string, Record<string, number>> {
    return this.collections.at(-1) ?? new Map();
  }

  /** Resolves with the first collection from now on of which `fits` is true. */
  collected(what: string, fits: (last: Sink['last']) => boolean): Promise<unknown> {
    const from = this.collections.length;
    return eventually(what, () => this.collections.slice(from).some(fits) || undefined);
  }
}

/** A receiver that sees the memory cgroups of a host made of files, and nothing else. */
async function receive(t: TestContext, host: FakeHost, section: object = {}, next = new Sink(), storage?: Storage) {
  const settings = { ...makeSettings(), storage };
  const config = containerLifecycle.configSchema.parse({
    collection_interval: '100ms',
    root_path: host.root,
    sources: { docker: { enabled: false }, kernel_log: { enabled: false }, memcg: { poll_interval: '20ms' } },
    ...section,
  });
  const receiver = containerLifecycle.create(config, settings, { metrics: next, logs: next });
  await receiver.start();
  t.after(() => receiver.shutdown(never));
  return {
    receiver,
    sink: next,
    settings,
    errors: () => settings.lines.filter(({ level }) => level === 'error'),
  };
}

async function storageIn(t: TestContext): Promise<Storage> {
  const directory = mkdtempSync(join(tmpdir(), 'exit137-state-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const extension = fileStorage.create({ directory, create_directory: true }, makeSettings());
  await extension.start();
  t.after(() => extension.shutdown(never));
  return extension.storageOf!('receiver_container_lifecycle');
}

const errorsOf = (series: Record<string, number>, task: string) =>
  series[`exit137_internal_errors{receiver=test,task=${task}}`] ?? 0;

describe('the receiver', () => {
  it('asks a runtime over the CRI while it follows another containerd, such as Docker’s', async (t) => {
    const k3s = await startCriRuntime('run/k3s/containerd/containerd.sock');
    t.after(() => k3s.stop());
    k3s.isDisabled = true;
    k3s.runtimeName = 'containerd';
    k3s.containers.set(idOf(1), runningContainer(idOf(1), Date.now()));
    const ofDocker = new FakeContainerd();
    await mkdir(join(k3s.hostRoot, 'run/containerd'));
    await ofDocker.listen(join(k3s.hostRoot, 'run/containerd/containerd.sock'));
    t.after(() => ofDocker.stop());
    const config = containerLifecycle.configSchema.parse({
      root_path: k3s.hostRoot,
      sources: { docker: { enabled: false }, kernel_log: { enabled: false }, memcg: { enabled: false } },
    });
    const receiver = containerLifecycle.create(config, makeSettings(), {});
    await receiver.start();
    t.after(() => receiver.shutdown(never));
    await eventually('containerd is followed', () => ofDocker.calls.includes('containers k8s.io') || undefined);
    k3s.isDisabled = false;
    await eventually('k3s is asked', () => k3s.calls['ContainerStatus']);
  });

  it('sends the series of a container that is gone until the grace period is over', async (t) => {
    const host = new FakeHost(t, 2);
    host.make(idOf(1));
    host.make(idOf(2));
    const { sink, settings } = await receive(t, host, { grace_period: '2s' });
    await sink.collected('both are sent', (last) => last.has(idOf(1)) && last.has(idOf(2)));
    rmSync(join(host.root, 'sys/fs/cgroup', idOf(1)), { recursive: true });
    await sink.collected('it is not sent', (last) => !last.has(idOf(1)));
    const ofIt = sink.collections.map((one) => one.get(idOf(1))).filter((one) => one !== undefined);
    const graced = ofIt.filter((one) => one['container.memory.usage'] === undefined);
    assert.ok(graced.length > 0, 'its counters are sent on');
    assert.ok(graced.every((one) => one['container.memory.oom_kills'] === 0));
    assert.equal(sink.last.get(idOf(2))?.['container.memory.usage'], 2 ** 20);
    assert.equal((await settings.series())['exit137_containers{receiver=test}'], 1);
  });

  it('sends no more than max_containers, and counts what it refuses', async (t) => {
    const host = new FakeHost(t, 2);
    for (const number of [1, 2, 3]) host.make(idOf(number));
    const { sink, settings } = await receive(t, host, { max_containers: 2 });
    await sink.collected('metrics are sent', (last) => last.size > 1);
    assert.deepEqual([...sink.last.keys()].filter((id) => id !== 'node').length, 2);
    const series = await settings.series();
    assert.equal(series['exit137_containers{receiver=test}'], 2);
    assert.ok(series['exit137_containers_refused{receiver=test}']! >= 1);
    const [gone, refused] = [...sink.last.keys()].filter((id) => id !== 'node');
    assert.notEqual(gone, refused);
    // Who is gone makes room for who comes.
    rmSync(join(host.root, 'sys/fs/cgroup', gone!), { recursive: true });
    await sink.collected('its group is gone', (last) => last.get(gone!)?.['container.memory.usage'] === undefined);
    host.make(idOf(4));
    await sink.collected('the new one is sent', (last) => last.has(idOf(4)) && !last.has(gone!));
  });

  it('tells at its shutdown of kills that nobody has read yet, and of those that wait for evidence', async (t) => {
    const host = new FakeHost(t, 2);
    host.make(idOf(1));
    const slow = { docker: { enabled: false }, kernel_log: { enabled: false }, memcg: { poll_interval: '3600000ms' } };
    const { receiver, sink } = await receive(t, host, { sources: slow, settle_time: '3600000ms' });
    await sink.collected('it is sent', (last) => last.has(idOf(1)));
    assert.equal(sink.last.get('node')?.['system.linux.oom_kills'], 0);
    // The second is nobody's.
    host.write('proc/vmstat', vmstat(2));
    host.writeGroup(idOf(1), 'memory.events', events(1));
    await receiver.shutdown(never);
    const kills = sink.records.filter(({ eventName }) => eventName === 'container.oom_kill');
    assert.deepEqual(
      kills.map(({ resource }) => resource.attributes['container.id']),
      [idOf(1)],
    );
    assert.equal(sink.last.get(idOf(1))?.['container.memory.oom_kills'], 1);
    assert.equal(sink.last.get('node')?.['system.linux.oom_kills'], 2);
    assert.equal(sink.last.get('node')?.['system.linux.oom_kills.unattributed'], 1);
  });

  it('ends at the deadline though a destination takes nothing', { timeout: 20_000 }, async (t) => {
    const host = new FakeHost(t, 2);
    host.make(idOf(1));
    const next = new Sink();
    next.consumeMetrics = () => new Promise(() => {});
    const { receiver } = await receive(t, host, {}, next);
    await receiver.shutdown(AbortSignal.timeout(50));
  });

  it('goes on collecting after a collection that failed, and counts and tells it', async (t) => {
    const host = new FakeHost(t, 2);
    host.make(idOf(1));
    const { sink, settings, errors } = await receive(t, host);
    await sink.collected('it is sent', (last) => last.has(idOf(1)));
    const { mock } = t.mock.method(MetricsBuilder.prototype, 'ofNode', () => assert.fail('a bug'));
    await eventually('two collections have failed', () => mock.callCount() >= 2 || undefined);
    mock.restore();
    await sink.collected('it is sent again', (last) => last.has(idOf(1)));
    assert.ok(errorsOf(await settings.series(), 'collect') >= 2);
    assert.equal(errors().length, 1, 'told once');
    assert.match(String(errors()[0]!.fields['error']), /a bug/);
  });

  it('sends the other containers where one cannot be told of', async (t) => {
    const host = new FakeHost(t, 2);
    host.make(idOf(1));
    host.make(idOf(2));
    t.mock.method(MemcgSource.prototype, 'readMemory', (id: string) =>
      id === idOf(1) ? assert.fail('a bug') : undefined,
    );
    const { sink, settings } = await receive(t, host);
    await sink.collected('the other is sent', (last) => last.has(idOf(2)));
    assert.ok(!sink.last.has(idOf(1)));
    assert.ok(errorsOf(await settings.series(), 'collect') >= 1);
  });

  it('judges again, and not at once, where judging failed', async (t) => {
    const host = new FakeHost(t, 2);
    host.make(idOf(1));
    const { sink, settings, errors } = await receive(t, host, { settle_time: '50ms' });
    await sink.collected('it is sent', (last) => last.has(idOf(1)));
    const { mock } = t.mock.method(Correlator.prototype, 'settle', () => assert.fail('a bug'));
    host.writeGroup(idOf(1), 'memory.events', events(1));
    host.write('proc/vmstat', vmstat(1));
    await eventually('judging has failed', () => mock.callCount() > 0 || undefined);
    await sink.collected('it goes on collecting', () => true);
    assert.ok(mock.callCount() < 20, 'it does not spin');
    mock.restore();
    await eventually('the kill is told', () => sink.records.length > 0 || undefined);
    assert.equal(sink.records[0]!.eventName, 'container.oom_kill');
    assert.ok(errorsOf(await settings.series(), 'settle') >= 1);
    assert.equal(errors().length, 1);
  });

  it('counts a kill of which no record can be made, and one that the pipeline throws at', async (t) => {
    const host = new FakeHost(t, 2);
    host.make(idOf(1));
    host.make(idOf(2));
    const next = new Sink();
    const { sink, settings } = await receive(t, host, { settle_time: '20ms' }, next);
    await sink.collected('they are sent', (last) => last.has(idOf(2)));
    const { mock } = t.mock.method(LogsBuilder.prototype, 'of', () => assert.fail('a bug'));
    host.writeGroup(idOf(1), 'memory.events', events(1));
    host.write('proc/vmstat', vmstat(1));
    await sink.collected('it is counted', (last) => last.get(idOf(1))?.['container.memory.oom_kills'] === 1);
    mock.restore();
    assert.equal(errorsOf(await settings.series(), 'tell'), 1);
    next.consumeLogs = () => assert.fail('a bug');
    host.writeGroup(idOf(2), 'memory.events', events(1));
    host.write('proc/vmstat', vmstat(2));
    await sink.collected('it is counted', (last) => last.get(idOf(2))?.['container.memory.oom_kills'] === 1);
    assert.equal((await settings.series())['otelcol_receiver_refused_log_records{receiver=test}'], 1);
  });

  for (const [what, error, toldAgain] of [
    ['what nobody took', new Error('nobody answers'), 1],
    ['but not what was rejected', new PermanentError('never'), 0],
  ] as const) {
    it(`tells in the next run what was refused because it stopped: ${what}`, async (t) => {
      const host = new FakeHost(t, 2);
      host.write('proc/sys/kernel/random/boot_id', '11111111-2222-3333-4444-555555555555\n');
      host.write('proc/vmstat', vmstat(0));
      host.make(idOf(1));
      const storage = await storageIn(t);
      const next = new Sink();
      const refused = Promise.withResolvers<void>();
      next.consumeLogs = async (logs) => {
        next.records.push(...logs);
        await refused.promise;
      };
      const first = await receive(t, host, { settle_time: '20ms' }, next, storage);
      await eventually('it is kept', () => storage.open('state').kept?.includes(idOf(1)) || undefined);
      host.writeGroup(idOf(1), 'memory.events', events(1));
      host.write('proc/vmstat', vmstat(1));
      await eventually('it is told', () => next.records.length > 0 || undefined);
      const stopped = first.receiver.shutdown(never);
      refused.reject(error);
      await stopped;
      const second = await receive(t, host, { settle_time: '20ms' }, new Sink(), storage);
      await second.sink.collected('it goes on', (last) => last.get(idOf(1))?.['container.memory.oom_kills'] === 1);
      await second.receiver.shutdown(never);
      assert.equal(second.sink.records.length, toldAgain);
    });
  }
});
