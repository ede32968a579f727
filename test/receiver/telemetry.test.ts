import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ContainerTable } from '../../receiver/container-table.ts';
import { Telemetry } from '../../receiver/telemetry.ts';
import { makeSettings } from '../helpers/component-settings.ts';
import { NodeClock } from './node-clock.ts';
import { idOf, observationsOf } from './observations.ts';

const { started, exited, hinted } = observationsOf(idOf(1));

function setUp(maxContainers = 10) {
  const settings = makeSettings('lifecycle');
  const clock = new NodeClock(Date.UTC(2026, 10, 21, 12));
  const table = new ContainerTable(maxContainers, clock.read);
  return { settings, clock, table, telemetry: new Telemetry(settings, table) };
}

describe('what the receiver tells of itself', () => {
  it('a source is not up before it says so, and each change is told once', async () => {
    const { settings, telemetry } = setUp();
    let decided = 0;
    const watcher = telemetry.watch('docker', () => decided++);
    const up = async () => (await settings.series())['exit137_source_up{receiver=lifecycle,source=docker}'];
    assert.equal(await up(), 0);
    assert.equal(telemetry.isUp('docker'), false);
    watcher.down(new Error('cannot connect', { cause: new Error('no such socket') }));
    watcher.down(new Error('cannot connect', { cause: new Error('no such socket') }));
    assert.equal(await up(), 0);
    watcher.up();
    assert.equal(await up(), 1);
    assert.equal(telemetry.isUp('docker'), true);
    watcher.down(new Error('it broke'));
    assert.equal(await up(), 0);
    watcher.up();
    assert.deepEqual(
      settings.lines.map(({ level, message, fields }) => [level, message, fields['error']]),
      [
        ['warn', 'source does not work', 'cannot connect: no such socket'],
        ['info', 'source works again', undefined],
        ['warn', 'source does not work', 'it broke'],
        ['info', 'source works again', undefined],
      ],
    );
    assert.equal(decided, 5);
  });

  it('bad input is counted each time and told once for each kind, with its value', async () => {
    const { settings, telemetry } = setUp();
    for (const value of ['x', 'y']) telemetry.countBadInput('docker', 'event has no action', value);
    telemetry.countBadInput('memcg', 'event has no action', 'z');
    const series = await settings.series();
    assert.equal(series['exit137_source_bad_input{receiver=lifecycle,source=docker}'], 2);
    assert.equal(series['exit137_source_bad_input{receiver=lifecycle,source=memcg}'], 1);
    assert.deepEqual(
      settings.lines.map(({ fields }) => [fields['source'], fields['value']]),
      [
        ['docker', 'x'],
        ['memcg', 'z'],
      ],
    );
  });

  it('no more than 20 kinds of bad input are told, all are counted', async () => {
    const { settings, telemetry } = setUp();
    for (let kind = 0; kind < 30; kind++) telemetry.countBadInput('docker', `kind ${kind}`, '');
    assert.equal(settings.lines.length, 20);
    assert.equal((await settings.series())['exit137_source_bad_input{receiver=lifecycle,source=docker}'], 30);
  });

  it('observations are counted by source, and those that are dropped by kind', async () => {
    const { settings, telemetry } = setUp();
    telemetry.countObservation('docker');
    telemetry.countUnknown(hinted(1));
    telemetry.countFailure('docker', exited(1), new Error('a bug'));
    const series = await settings.series();
    assert.equal(series['exit137_source_events{receiver=lifecycle,source=docker}'], 1);
    assert.equal(series['exit137_observations_dropped{kind=oom_hinted,receiver=lifecycle}'], 1);
    assert.equal(series['exit137_observations_dropped{kind=container_exited,receiver=lifecycle}'], 1);
    assert.match(String(settings.lines[0]?.fields['error']), /a bug/);
  });

  it('bugs are counted by task, and told where a task fails at something else than the time before', async () => {
    const { settings, telemetry } = setUp();
    for (const what of ['one', 'one', 'other', 'one']) telemetry.countInternalError('collect', new Error(what));
    telemetry.countInternalError('settle', new Error('one'));
    const series = await settings.series();
    assert.equal(series['exit137_internal_errors{receiver=lifecycle,task=collect}'], 4);
    assert.equal(series['exit137_internal_errors{receiver=lifecycle,task=settle}'], 1);
    assert.deepEqual(
      settings.lines.map(({ level, fields }) => [level, fields['task']]),
      [
        ['error', 'collect'],
        ['error', 'collect'],
        ['error', 'collect'],
        ['error', 'settle'],
      ],
    );
  });

  it('what the pipelines took and refused is counted, a refusal told once until they take again', async () => {
    const { settings, telemetry } = setUp();
    telemetry.refused('log_records', 2, 'the queue is full');
    telemetry.refused('log_records', 1, 'the queue is full');
    telemetry.accepted('log_records', 4);
    telemetry.refused('log_records', 1, 'the queue is full');
    const series = await settings.series();
    assert.equal(series['otelcol_receiver_refused_log_records{receiver=lifecycle}'], 4);
    assert.equal(series['otelcol_receiver_accepted_log_records{receiver=lifecycle}'], 4);
    assert.equal(settings.lines.length, 2);
  });

  it('the table’s size and what found no room in it', async () => {
    const { settings, table } = setUp(1);
    table.apply(started(1));
    table.apply(observationsOf(idOf(2)).started(2));
    const series = await settings.series();
    assert.equal(series['exit137_containers{receiver=lifecycle}'], 1);
    assert.equal(series['exit137_containers_refused{receiver=lifecycle}'], 1);
  });

  it('a jump of the clock is told once with how far it went, and counted by direction', async () => {
    const { settings, clock, table } = setUp();
    const jumps = async (direction: string) =>
      (await settings.series())[`exit137_clock_jumps{direction=${direction},receiver=lifecycle}`];
    assert.deepEqual([await jumps('back'), await jumps('forward')], [0, 0]);
    table.apply(started(clock.wallMs));
    clock.jump(-3_600_000);
    table.apply(exited(clock.wallMs));
    clock.pass(10_000);
    table.expire(0);
    assert.deepEqual([await jumps('back'), await jumps('forward')], [1, 0]);
    clock.jump(1500);
    table.expire(0);
    table.expire(0);
    assert.deepEqual([await jumps('back'), await jumps('forward')], [1, 1]);
    assert.deepEqual(
      settings.lines.map(({ level, message, fields }) => [level, message, fields]),
      [
        ['warn', "the node's clock was set back", { seconds: 3600 }],
        ['warn', "the node's clock was set forward, or the node slept", { seconds: 1.5 }],
      ],
    );
  });
});
