import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { MemoryQueue } from '../../../../pipelines/exporters/sending/queue.ts';
import type { SendRequest } from '../../../../pipelines/exporters/sending/request.ts';
import { Sender, type SenderQueue } from '../../../../pipelines/exporters/sending/sender.ts';
import { ShutdownDrops } from '../../../../pipelines/exporters/sending/shutdown-drops.ts';
import type { SendAnswer, Transport } from '../../../../pipelines/exporters/sending/transport.ts';
import { makeSettings } from '../../../helpers/component-settings.ts';

const retry = {
  enabled: true,
  initialMs: 1,
  multiplier: 1,
  maxMs: 1,
  randomizationFactor: 0,
  maxElapsedMs: 0,
};

/** A sender whose requests go where `send` says, and what was sent and released, in the order in which it was. */
function makeSender(send: () => Promise<SendAnswer>, queued?: Partial<SenderQueue> & { capacity?: number }) {
  const events: string[] = [];
  const transport: Transport = {
    destination: () => 'nowhere',
    open: async () => {},
    send: async (_kind, body) => {
      events.push(`send ${body[0]}`);
      return send();
    },
    close: async () => {},
  };
  const { capacity = 10, ...rest } = queued ?? {};
  const queue = new MemoryQueue({ capacity, sizeOf: () => 1, maxBytes: 1000, blockOnOverflow: false });
  const senderQueue = queued && { queue, consumers: 1, waitForResult: true, ...rest };
  const sender = new Sender('metrics', transport, retry, senderQueue, makeSettings(), new ShutdownDrops());
  const request = (name: number): SendRequest => ({
    body: Uint8Array.of(name),
    items: 1,
    release: () => events.push(`release ${name}`),
  });
  return { sender, events, request };
}

const taken = async (): Promise<SendAnswer> => ({ rejectedItems: 0 });
const refused = async (): Promise<SendAnswer> => {
  throw new Error('away');
};

suite("a request's memory", () => {
  for (const [what, queued] of [
    ['with a queue', {}],
    ['without a queue', undefined],
  ] as const) {
    test(`is given back once it is sent, however many attempts that takes, ${what}`, async () => {
      let attempts = 0;
      const { sender, events, request } = makeSender(() => (++attempts < 3 ? refused() : taken()), queued);
      sender.start();
      await sender.submit(request(1));
      await sender.stop(AbortSignal.timeout(1_000));
      assert.deepEqual(events, ['send 1', 'send 1', 'send 1', 'release 1']);
    });

    test(`is given back once it is dropped, ${what}`, async () => {
      const { sender, events, request } = makeSender(refused, queued);
      sender.start();
      const dropped = assert.rejects(sender.submit(request(1)), { message: 'away' });
      await sender.stop(AbortSignal.timeout(1_000));
      await dropped;
      assert.equal(events.at(-1), 'release 1');
      assert.equal(events.filter((event) => event === 'release 1').length, 1);
    });

    test(`is given back where it is not taken, ${what}`, async () => {
      const { sender, events, request } = makeSender(taken, queued);
      await sender.stop(AbortSignal.timeout(1_000));
      await assert.rejects(sender.submit(request(1)), { reason: 'shutdown' });
      assert.deepEqual(events, ['release 1']);
    });
  }

  test('is given back where the queue is full, and where the sender was never started', async () => {
    const { sender, events, request } = makeSender(taken, { capacity: 1, waitForResult: false });
    await sender.submit(request(1));
    await assert.rejects(sender.submit(request(2)), { reason: 'queue_full' });
    assert.deepEqual(events, ['release 2']);
    await sender.stop(AbortSignal.timeout(1_000));
    assert.deepEqual(events, ['release 2', 'release 1']);
  });
});
