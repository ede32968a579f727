import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DataPointType, type DataPoint, type MetricData, type ResourceMetrics } from '@opentelemetry/sdk-metrics';
import fc from 'fast-check';
import type { MemoryReading } from '../../receiver/cgroup/memory-reading.ts';
import { indexOfStat, STAT_KEYS } from '../../receiver/cgroup/memory-stat.ts';
import { configSchema } from '../../receiver/config.ts';
import { ContainerTable } from '../../receiver/container-table.ts';
import { Ledger } from '../../receiver/ledger.ts';
import { metrics } from '../../receiver/metadata.ts';
import { Resources } from '../../receiver/resources.ts';
import { toHrTime } from '../../receiver/metrics-frame.ts';
import { MetricsBuilder } from '../../receiver/to-metrics.ts';
import { idOf, observationsOf } from './observations.ts';
import { instanceOf } from './pods.ts';

const nowMs = 1_700_000_100_000;
const firstSeenAtMs = nowMs - 60_000;
const { started, appeared, exited, renamed } = observationsOf(idOf(1));

function makeBuilder(section: unknown = {}): MetricsBuilder {
  const config = configSchema.parse(section);
  return new MetricsBuilder(config, new Resources(config, { 'host.name': 'node-1' }), '1.2.3');
}

function makeContainer() {
  const table = new ContainerTable(1);
  table.apply(started(firstSeenAtMs));
  table.apply(appeared(firstSeenAtMs + 5));
  return { table, container: table.get(idOf(1))! };
}

/** `name{attribute value} → value` of every point. */
function valuesOf({ scopeMetrics }: ResourceMetrics): Record<string, number> {
  const points = scopeMetrics.flatMap(({ metrics: sent }) =>
    sent.flatMap(({ descriptor, dataPoints }) =>
      dataPoints.map(({ attributes, value }) => {
        const told = Object.values(attributes).join();
        return [told === '' ? descriptor.name : `${descriptor.name}{${told}}`, value as number] as const;
      }),
    ),
  );
  return Object.fromEntries(points);
}

const uid = '5a1f3c62-0b5e-4a51-9e0f-6f1f5b1d2c3e';

const zeros = {
  'container.memory.oom_kills': 0,
  'container.memory.oom_incidents': 0,
  'container.exits{completed}': 0,
  'container.exits{error}': 0,
  'container.exits{oom_killed}': 0,
  'container.exits{killed}': 0,
  'container.restarts': 0,
};

describe('MetricsBuilder', () => {
  it('begins with explicit zeros, and sends no exit code before the first exit', () => {
    const { container } = makeContainer();
    assert.deepEqual(valuesOf(makeBuilder().ofContainer(container, undefined, nowMs)), zeros);
  });

  it('sends the last exit code once there is one', () => {
    const { table, container } = makeContainer();
    table.apply(exited(nowMs, 3));
    assert.equal(valuesOf(makeBuilder().ofContainer(container, undefined, nowMs))['container.exit.code'], 3);
  });

  it('leaves out what the kernel does not tell, and sends a 0 that it does', () => {
    const { container } = makeContainer();
    const stat = new Float64Array(STAT_KEYS.length).fill(NaN);
    stat[indexOfStat('shmem')] = 0;
    const memory: MemoryReading = { atMs: nowMs, usageBytes: 4096, stat, events: { max: 7 } };
    assert.deepEqual(valuesOf(makeBuilder().ofContainer(container, memory, nowMs)), {
      ...zeros,
      'container.memory.usage': 4096,
      'container.memory.events{max}': 7,
      'container.memory.shmem': 0,
    });
  });

  it('divides what cannot be reclaimed by the smallest limit on the way up', () => {
    const { container } = makeContainer();
    const memory = { atMs: nowMs, unreclaimableBytes: 30, limitBytes: 100, effectiveLimitBytes: 60 };
    const values = valuesOf(makeBuilder().ofContainer(container, memory, nowMs));
    assert.equal(values['container.memory.limit.utilization'], 0.5);
  });

  it("starts a container's counters when it was first seen, and the kernel's when the group was made", () => {
    const { container } = makeContainer();
    const memory: MemoryReading = { atMs: nowMs, usageBytes: 1, events: { max: 1 } };
    const [{ metrics: sent } = { metrics: [] }] = makeBuilder().ofContainer(container, memory, nowMs).scopeMetrics;
    const startOf = (name: string) => sent.find(({ descriptor }) => descriptor.name === name)?.dataPoints[0]?.startTime;
    assert.deepEqual(startOf('container.memory.oom_kills'), toHrTime(firstSeenAtMs));
    assert.deepEqual(startOf('container.memory.events'), toHrTime(firstSeenAtMs + 5));
    assert.deepEqual(startOf('container.memory.usage'), [0, 0]);
  });

  it('sends every metric by the kind, unit and sign that the metadata promise', () => {
    const { container } = makeContainer();
    container.pod = { uid, restartCount: 1 };
    const amounts = { usageBytes: 1, workingSetBytes: 1, rssBytes: 1, availableBytes: 1, limitBytes: 1 };
    const more = { effectiveLimitBytes: 1, maxUsageBytes: 1, unreclaimableBytes: 1 };
    const stat = new Float64Array(STAT_KEYS.length).fill(1);
    const memory: MemoryReading = { atMs: nowMs, ...amounts, ...more, stat, events: { low: 1 } };
    const allOn = Object.fromEntries(Array.from(metrics.keys(), (name) => [name, { enabled: true }]));
    const [{ metrics: sent } = { metrics: [] }] = makeBuilder({ metrics: allOn }).ofContainer(
      container,
      memory,
      nowMs,
    ).scopeMetrics;
    assert.equal(
      sent.length,
      metrics.size - 'system.linux.oom_kills system.linux.oom_kills.unattributed container.exit.code'.split(' ').length,
    );
    for (const metric of sent) {
      const { kind, monotonic, unit } = metrics.get(metric.descriptor.name)!;
      assert.equal(metric.descriptor.unit, unit);
      assert.equal(metric.dataPointType, kind === 'sum' ? DataPointType.SUM : DataPointType.GAUGE);
      if (metric.dataPointType === DataPointType.SUM) assert.equal(metric.isMonotonic, monotonic === true);
    }
  });

  it('leaves out what is switched off', () => {
    const { container } = makeContainer();
    const builder = makeBuilder({ metrics: { 'container.exits': { enabled: false } } });
    const names = Object.keys(valuesOf(builder.ofContainer(container, undefined, nowMs)));
    assert.deepEqual(names, ['container.memory.oom_kills', 'container.memory.oom_incidents', 'container.restarts']);
  });

  it('writes the same metrics again for as long as the container has the same points and the same name', () => {
    const { table, container } = makeContainer();
    const builder = makeBuilder();
    const first = builder.ofContainer(container, undefined, nowMs);
    table.apply(exited(nowMs, 3));
    const second = builder.ofContainer(container, undefined, nowMs + 1);
    assert.notEqual(second, first, 'the exit code has come');
    const third = builder.ofContainer(container, { atMs: nowMs, usageBytes: 1 }, nowMs + 2);
    assert.equal(valuesOf(third)['container.memory.usage'], 1);
    const fourth = builder.ofContainer(container, undefined, nowMs + 3);
    assert.equal(valuesOf(fourth)['container.memory.usage'], undefined, 'the group is gone');
    container.workload.oomKills++;
    const fifth = builder.ofContainer(container, undefined, nowMs + 4);
    assert.equal(fifth, fourth);
    assert.equal(valuesOf(fifth)['container.memory.oom_kills'], 1);
    table.apply(renamed(nowMs, 'new-name'));
    const sixth = builder.ofContainer(container, undefined, nowMs + 5);
    assert.equal(sixth.resource.attributes['container.name'], 'new-name');
    assert.equal(fifth.resource.attributes['container.name'], undefined);
  });

  it('writes no more in what it has let go', () => {
    const { container } = makeContainer();
    const builder = makeBuilder();
    const sent = builder.ofContainer(container, undefined, nowMs);
    const before = structuredClone(sent.scopeMetrics);
    builder.letGo();
    container.workload.oomKills++;
    const next = builder.ofContainer(container, undefined, nowMs + 1);
    assert.deepEqual(structuredClone(sent.scopeMetrics), before);
    assert.equal(valuesOf(next)['container.memory.oom_kills'], 1);
  });

  it('moves no start when it lets go, when points come and go, and never beyond the time of a point', () => {
    const { table, container } = makeContainer();
    const builder = makeBuilder();
    const memory: MemoryReading = { atMs: nowMs, events: { max: 1 } };
    const startsOf = (atMs: number) => {
      const { scopeMetrics } = builder.ofContainer(container, memory, atMs);
      const sent: MetricData[] = scopeMetrics.flatMap((one) => one.metrics);
      const points = sent.flatMap<DataPoint<unknown>>(({ dataPoints }) => dataPoints);
      for (const { endTime } of points) assert.deepEqual(endTime, toHrTime(atMs));
      return [...new Set(points.map(({ startTime }) => startTime.join()).filter((start) => start !== '0,0'))];
    };
    const first = startsOf(nowMs);
    assert.deepEqual(first, [toHrTime(firstSeenAtMs).join(), toHrTime(firstSeenAtMs + 5).join()]);
    builder.letGo();
    table.apply(exited(nowMs, 3));
    assert.deepEqual(startsOf(nowMs + 1000), first);
    const setBackMs = firstSeenAtMs - 3_600_000;
    assert.deepEqual(startsOf(setBackMs), [toHrTime(setBackMs).join()]);
    assert.deepEqual(startsOf(nowMs + 2000), [toHrTime(setBackMs).join()], 'where it was put it stays');
  });

  it("sends the machine's own count once it was read", () => {
    const ledger = new Ledger();
    const send = () => makeBuilder().ofNode(ledger, nowMs - 9e6, firstSeenAtMs, nowMs);
    assert.equal(send(), undefined);
    ledger.count(40, { wallMs: nowMs, monotonicMs: 0 });
    const sent = send()!;
    assert.deepEqual(sent.resource.attributes, { 'host.name': 'node-1' });
    for (const { dataPoints, descriptor } of sent.scopeMetrics[0]!.metrics) {
      const startMs = descriptor.name === 'system.linux.oom_kills' ? nowMs - 9e6 : firstSeenAtMs;
      assert.deepEqual(dataPoints[0]!.startTime, toHrTime(startMs));
      assert.deepEqual(dataPoints[0]!.endTime, toHrTime(nowMs));
    }
    assert.deepEqual(valuesOf(sent), { 'system.linux.oom_kills': 40, 'system.linux.oom_kills.unattributed': 0 });
  });
});

describe('toHrTime', () => {
  it('is the same moment, in whole nanoseconds below one second', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 4e12, noNaN: true }), (ms) => {
        const [seconds, nanoseconds] = toHrTime(ms);
        assert.ok(Number.isInteger(seconds) && Number.isInteger(nanoseconds));
        assert.ok(nanoseconds >= 0 && nanoseconds < 1e9);
        assert.ok(Math.abs(seconds * 1e3 + nanoseconds / 1e6 - ms) < 1e-2);
      }),
    );
  });

  describe('of a pod', () => {
    const amounts = { usageBytes: 1, workingSetBytes: 1, rssBytes: 1, availableBytes: 1, limitBytes: 1 };
    const memory: MemoryReading = { atMs: nowMs, ...amounts };
    const ofKubelet = ['usage', 'working_set', 'rss', 'available'].map((name) => `container.memory.${name}`);

    function makeInstances() {
      const table = new ContainerTable(2);
      const [first, second] = [instanceOf(1, { restartCount: 0 }), instanceOf(2, { restartCount: 1 })];
      table.apply(first.appeared(firstSeenAtMs));
      table.apply(first.started(firstSeenAtMs));
      return { table, first, second, container: table.get(idOf(1))! };
    }

    it('leaves to kubelet_stats what that sends, but for what is switched on by name', () => {
      const { container } = makeInstances();
      const namesOf = (section: unknown) =>
        Object.keys(valuesOf(makeBuilder(section).ofInstance(container, memory, nowMs)));
      assert.deepEqual(namesOf({}), ['container.memory.usage.limit']);
      const on = Object.fromEntries(ofKubelet.map((name) => [name, { enabled: true }]));
      assert.deepEqual(namesOf({ metrics: on }).toSorted(), [...ofKubelet, 'container.memory.usage.limit'].toSorted());
      const outside = makeContainer().container;
      assert.ok(ofKubelet.every((name) => name in valuesOf(makeBuilder().ofContainer(outside, memory, nowMs))));
    });

    it('is one series of counters over all instances, with one start time', () => {
      const { table, first, second, container } = makeInstances();
      const builder = makeBuilder();
      const before = structuredClone(builder.ofWorkload(container, nowMs).scopeMetrics);
      table.apply(first.exited(nowMs, 1));
      table.apply(second.started(nowMs + 1));
      container.workload.restarts++;
      const next = table.get(idOf(2))!;
      assert.deepEqual([table.tellsWorkload(container), table.tellsWorkload(next)], [false, true]);
      const after = builder.ofWorkload(next, nowMs + 2);
      assert.equal(valuesOf(after)['container.restarts'], 1);
      assert.equal('container.id' in after.resource.attributes, false);
      const starts = (scopes: typeof after.scopeMetrics) =>
        scopes.flatMap(
          ({ metrics: sent }) =>
            sent.find(({ descriptor }) => descriptor.name === 'container.restarts')!.dataPoints[0]!.startTime,
        );
      assert.deepEqual(starts(after.scopeMetrics), starts(before));
    });

    it("sends the kubelet's own count as k8s_cluster does, where that is switched on", () => {
      const { container } = makeInstances();
      container.pod = { ...container.pod!, restartCount: 7 };
      const name = 'k8s.container.restarts';
      assert.equal(valuesOf(makeBuilder().ofWorkload(container, nowMs))[name], undefined);
      const builder = makeBuilder({ metrics: { [name]: { enabled: true } } });
      const sent = builder
        .ofWorkload(container, nowMs)
        .scopeMetrics[0]!.metrics.find((one) => one.descriptor.name === name)!;
      assert.equal(sent.dataPointType, DataPointType.GAUGE);
      assert.equal(sent.descriptor.unit, '{restart}');
      assert.equal(sent.dataPoints[0]!.value, 7);
    });
  });
});
