import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { keepObserving, type Source } from '../../receiver/source.ts';

/** A source whose subscriptions go as the script says; the last one lasts until it is told to stop. */
function scripted(script: readonly ('fails' | 'works and fails')[]): Source & { subscriptions: number } {
  return {
    name: 'scripted',
    subscriptions: 0,
    async observe(_emit, up, signal) {
      const step = script[this.subscriptions++];
      if (step !== 'fails') up();
      if (step !== undefined) throw new Error(`broke at ${this.subscriptions}`);
      if (signal.aborted) return;
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  };
}

describe('keepObserving', () => {
  it('subscribes again after each break, and says when the source works and when it fails', async () => {
    const stop = new AbortController();
    const told: string[] = [];
    const source = scripted(['fails', 'works and fails']);
    const up = () => {
      told.push('up');
      if (source.subscriptions === 3) stop.abort();
    };
    await keepObserving(source, () => {}, { up, down: (error) => told.push((error as Error).message) }, stop.signal);
    assert.deepEqual(told, ['broke at 1', 'up', 'broke at 2', 'up']);
  });

  it('waits longer after each failure, and anew after a success', async () => {
    const stop = new AbortController();
    const works = Array<'works and fails'>(3).fill('works and fails');
    const source = scripted([...Array<'fails'>(6).fill('fails'), ...works, 'fails']);
    const brokeAtMs: number[] = [];
    const up = () => source.subscriptions === 11 && stop.abort();
    await keepObserving(source, () => {}, { up, down: () => brokeAtMs.push(performance.now()) }, stop.signal);
    const waitsMs = brokeAtMs.slice(1).map((atMs, index) => atMs - brokeAtMs[index]!);
    assert.ok(
      waitsMs.every((waitMs) => waitMs >= 99),
      waitsMs.join(),
    );
    // 100 ms, five times a fifth longer. A busy machine makes one wait or the other longer, not all of them.
    assert.ok(waitsMs[5]! >= 248 && Math.min(...waitsMs.slice(6)) < 248, waitsMs.join());
  });
});
