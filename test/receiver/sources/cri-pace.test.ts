import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { suite, test } from 'node:test';
import { PollPace } from '../../../receiver/sources/cri-pace.ts';

suite('the pace of polls', () => {
  test('leaves nothing behind on the signal, however often it waits', async () => {
    const pace = new PollPace(1);
    const { signal } = new AbortController();
    for (let n = 0; n < 5; n++) {
      await pace.time(async () => {});
      await pace.untilDue(signal);
    }
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });

  test('is over at once where the signal is aborted, before or while it waits', async () => {
    const pace = new PollPace(60_000);
    await pace.untilDue(AbortSignal.abort());
    const stop = new AbortController();
    const due = pace.untilDue(stop.signal);
    stop.abort();
    await due;
  });
});
