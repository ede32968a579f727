import assert from 'node:assert/strict';
import { suite, test, type TestContext } from 'node:test';
import { makeHttpEndpoint } from '../../pipelines/http-endpoint.ts';

/** An endpoint at /x whose answers come from `answer`; it stops after the test. */
async function start(context: TestContext, answer: () => Promise<string>, host: string = '127.0.0.1') {
  const errors: unknown[] = [];
  const endpoint = makeHttpEndpoint({
    host,
    port: 0,
    path: '/x',
    answer: async () => ({ status: 200, contentType: 'text/plain', body: await answer() }),
    onError: (error) => errors.push(error),
  });
  const address = await endpoint.start();
  context.after(() => endpoint.close());
  return { endpoint, address, errors };
}

suite('an HTTP endpoint', () => {
  test('says where it listens', async (context) => {
    const { address } = await start(context, async () => 'here');
    assert.match(address, /^127\.0\.0\.1:\d+$/);
    assert.equal(await (await fetch(`http://${address}/x?y=z`)).text(), 'here');
  });

  test('answers 500 when there is no answer, tells why, and goes on', async (context) => {
    const error = new Error('cannot collect');
    let broken = true;
    const { address, errors } = await start(context, async () => {
      if (broken) throw error;
      return 'fine';
    });
    assert.equal((await fetch(`http://${address}/x`)).status, 500);
    assert.deepEqual(errors, [error]);
    broken = false;
    assert.equal((await fetch(`http://${address}/x`)).status, 200);
  });

  test('goes on when a client leaves before its answer', async (context) => {
    const { promise: answer, resolve } = Promise.withResolvers<string>();
    const { promise: asked, resolve: tellAsked } = Promise.withResolvers<void>();
    const { address, errors } = await start(context, () => {
      tellAsked();
      return answer;
    });
    const leaving = new AbortController();
    const left = fetch(`http://${address}/x`, { signal: leaving.signal });
    await asked;
    leaving.abort();
    await assert.rejects(left, { name: 'AbortError' });
    resolve('late');
    assert.equal(await (await fetch(`http://${address}/x`)).text(), 'late');
    assert.deepEqual(errors, []);
  });

  test('does not answer once it is closed, and can be closed twice', async (context) => {
    const first = await start(context, async () => 'first');
    await first.endpoint.close();
    await assert.rejects(fetch(`http://${first.address}/x`));
    await first.endpoint.close();
  });
});
