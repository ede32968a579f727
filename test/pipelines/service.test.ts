import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Service } from '../../pipelines/service.ts';
import { makeSettings } from '../helpers/component-settings.ts';
import { configure, recordService } from './recorded-service.ts';

const noDeadline = new AbortController().signal;

/** A service of one receiver, two processors, two exporters and two extensions, configured as given. */
function makeService(sections: Record<string, string> = {}) {
  const recorded = recordService();
  const settings = makeSettings();
  const section = (id: string) => `${id}: ${sections[id] ?? ''}`;
  const config = configure(
    recorded.factories,
    `
receivers: { ${section('r')} }
processors: { ${section('p/1')}, ${section('p/2')} }
exporters: { ${section('e/1')}, ${section('e/2')} }
extensions: { ${section('x/1')}, ${section('x/2')} }
service:
  extensions: [x/1, x/2]
  pipelines: { logs: { receivers: [r], processors: [p/1, p/2], exporters: [e/1, e/2] } }`,
  );
  const service = new Service(config, settings.logger, (_kind, id) => makeSettings(id));
  recorded.calls.length = 0;
  return { service, calls: recorded.calls, lines: settings.lines };
}

const stops = [
  'ready false',
  'ready false',
  'hurry e/1',
  'hurry e/2',
  'stop r',
  'stop p/1',
  'stop p/2',
  'stop e/1',
  'stop e/2',
  'stop x/2',
  'stop x/1',
];

suite('a service', () => {
  test('starts extensions, then what is downstream first, and is ready then', async () => {
    const { service, calls } = makeService();
    await service.start();
    assert.deepEqual(calls, [
      ...['x/1', 'x/2', 'e/1', 'e/2', 'p/2', 'p/1', 'r'].map((id) => `start ${id}`),
      'ready true',
      'ready true',
    ]);
  });

  test('has exporters try nothing again while what is upstream of them stops', async () => {
    const { service, calls } = makeService();
    await service.start();
    calls.length = 0;
    await service.shutdown(noDeadline);
    assert.deepEqual(calls.slice(2, 5), ['hurry e/1', 'hurry e/2', 'stop r']);
  });

  test('leaves exporters time where what is upstream takes all of its own', async () => {
    const { service, calls } = makeService();
    await service.start();
    calls.length = 0;
    await service.shutdown(noDeadline, AbortSignal.abort());
    assert.deepEqual(
      calls,
      stops.map((call) => (/stop [rp]/.test(call) ? `${call} late` : call)),
    );
  });

  test('is not ready any more, stops what is upstream first, and extensions last', async () => {
    const { service, calls } = makeService();
    await service.start();
    calls.length = 0;
    await service.shutdown(noDeadline);
    assert.deepEqual(calls, stops);
  });

  test('stops once, however often it is told', async () => {
    const { service, calls } = makeService();
    await Promise.all([service.shutdown(noDeadline), service.shutdown(noDeadline)]);
    await service.shutdown(noDeadline);
    assert.deepEqual(calls, stops);
  });

  test('stops everything where a component does not start, says which and why, and is never ready', async () => {
    const { service, calls, lines } = makeService({ 'p/2': '{ fails_to_start: true }' });
    await assert.rejects(service.start(), (error: Error) => {
      assert.equal(error.message, 'cannot start p/2');
      assert.equal((error.cause as Error).message, 'no patience mends it');
      return true;
    });
    assert.deepEqual(calls, ['start x/1', 'start x/2', 'start e/1', 'start e/2', 'start p/2', ...stops]);
    assert.deepEqual(lines, []);
  });

  test('stops the others where one does not stop as it should, and logs it', async () => {
    const { service, calls, lines } = makeService({
      'p/1': '{ fails_to_stop: true }',
      'x/2': '{ fails_to_stop: true }',
    });
    await service.start();
    calls.length = 0;
    await service.shutdown(noDeadline);
    assert.deepEqual(calls, stops);
    assert.deepEqual(
      lines.map(({ level, message, fields }) => [level, message, fields['component'], fields['error']]),
      [
        ['error', 'component failed to shut down', 'p/1', 'it broke'],
        ['error', 'component failed to shut down', 'x/2', 'it broke'],
      ],
    );
  });

  test('waits for a component no longer than a moment after the deadline, and logs it', async (context) => {
    const { service, calls, lines } = makeService({ 'p/1': '{ hangs_at_stop: true }' });
    await service.start();
    calls.length = 0;
    context.mock.timers.enable({ apis: ['setTimeout'] });
    const deadline = new AbortController();
    const stopped = service.shutdown(deadline.signal);
    await new Promise(setImmediate);
    assert.deepEqual(calls, stops.slice(0, 6));
    deadline.abort();
    context.mock.timers.tick(999);
    await new Promise(setImmediate);
    assert.deepEqual(calls, stops.slice(0, 6));
    context.mock.timers.tick(1);
    await stopped;
    assert.deepEqual(
      calls,
      stops.map((call, index) => (index < 6 ? call : `${call} late`)),
    );
    assert.deepEqual(
      lines.map(({ level, message, fields }) => [level, message, fields['component']]),
      [['error', 'component did not shut down in time; going on without it', 'p/1']],
    );
  });
});
