import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryQueue, type MemoryQueueOptions } from '../../../../pipelines/exporters/sending/queue.ts';
import type { SendRequest } from '../../../../pipelines/exporters/sending/request.ts';

function makeQueue(options: Partial<MemoryQueueOptions> = {}): MemoryQueue {
  return new MemoryQueue({ capacity: 2, sizeOf: () => 1, maxBytes: 1000, blockOnOverflow: false, ...options });
}

function request(bytes: number, items = 1): SendRequest {
  return { body: new Uint8Array(bytes), items };
}

/** Whether `promise` is settled once all that is due now has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = () => (settled = true);
  promise.then(note, note);
  await new Promise(setImmediate);
  return settled;
}

test('requests come out in the order in which they went in', async () => {
  const queue = makeQueue({ capacity: 3 });
  const requests = [request(1), request(2), request(3)];
  for (const one of requests) await queue.put(one);
  const taken = [await queue.take(), await queue.take(), await queue.take()];
  assert.deepEqual(taken, requests);
});

test('a consumer that waits gets a request without any delay', async () => {
  const queue = makeQueue();
  const taken = queue.take();
  const one = request(1);
  await queue.put(one);
  assert.equal(await taken, one);
  assert.equal(queue.size, 0);
});

test('a full queue refuses', async () => {
  const queue = makeQueue();
  await queue.put(request(1));
  await queue.put(request(1));
  await assert.rejects(queue.put(request(1)), { name: 'QueueRefusal', reason: 'queue_full' });
  assert.equal(queue.size, 2);
  await queue.take();
  await queue.put(request(1));
});

test('the bound in bytes counts what is being sent until it is acknowledged', async () => {
  const queue = makeQueue({ capacity: 10 });
  await queue.put(request(600));
  const taken = await queue.take();
  await assert.rejects(queue.put(request(500)), { reason: 'queue_full' });
  queue.ack(taken!);
  await queue.put(request(500));
  assert.equal(queue.heldBytes, 500);
});

test('size and capacity are in the unit of the sizer', async () => {
  const queue = makeQueue({ capacity: 10, sizeOf: ({ items }) => items });
  await queue.put(request(1, 7));
  assert.equal(queue.size, 7);
  await assert.rejects(queue.put(request(1, 4)), { reason: 'queue_full' });
  await queue.put(request(1, 3));
});

test('a request that fits in no queue of this bound is refused even where overflow blocks', async () => {
  const queue = makeQueue({ blockOnOverflow: true });
  await assert.rejects(queue.put(request(1001)), { reason: 'too_large' });
});

test('where overflow blocks, a request waits for room and keeps its place', async () => {
  const queue = makeQueue({ capacity: 1, blockOnOverflow: true });
  await queue.put(request(1));
  const second = queue.put(request(2));
  const third = queue.put(request(3));
  assert.equal(await isSettled(second), false);
  assert.equal((await queue.take())?.body.byteLength, 1);
  await second;
  assert.equal(await isSettled(third), false);
  assert.equal((await queue.take())?.body.byteLength, 2);
  await third;
});

test('an acknowledgement makes room for a request that waits for bytes', async () => {
  const queue = makeQueue({ capacity: 5, blockOnOverflow: true });
  await queue.put(request(800));
  const taken = await queue.take();
  const blocked = queue.put(request(800));
  assert.equal(await isSettled(blocked), false);
  queue.ack(taken!);
  await blocked;
});

test('a closed queue gives what it holds and then nothing, and refuses the rest', async () => {
  const queue = makeQueue({ capacity: 1, blockOnOverflow: true });
  await queue.put(request(1));
  const blocked = queue.put(request(2));
  queue.close();
  await assert.rejects(blocked, { reason: 'shutdown' });
  await assert.rejects(queue.put(request(3)), { reason: 'shutdown' });
  assert.equal((await queue.take())?.body.byteLength, 1);
  assert.equal(await queue.take(), undefined);
});

test('closing lets all consumers go', async () => {
  const queue = makeQueue();
  const consumers = [queue.take(), queue.take()];
  queue.close();
  assert.deepEqual(await Promise.all(consumers), [undefined, undefined]);
});
