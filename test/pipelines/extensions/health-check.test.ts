import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { afterEach, beforeEach, suite, test } from 'node:test';
import type { Extension } from '../../../pipelines/component.ts';
import { healthCheck } from '../../../pipelines/extensions/health-check.ts';
import { makeSettings } from '../../helpers/component-settings.ts';

const noDeadline = new AbortController().signal;

async function start(section: Record<string, unknown> = {}): Promise<{ extension: Extension; url: string }> {
  const settings = makeSettings('health_check');
  const config = healthCheck.configSchema.parse({ endpoint: '127.0.0.1:0', ...section });
  const extension = healthCheck.create(config, settings);
  await extension.start();
  const { fields } = await settings.logged('health can be checked');
  return { extension, url: String(fields['url']) };
}

/** What is answered to a line that no decent client sends. */
async function ask(url: string, requestLine: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.end(`${requestLine}\r\nhost: x\r\nconnection: close\r\n\r\n`);
  return (await socket.setEncoding('utf8').toArray()).join('');
}

suite('the health check', () => {
  let extension: Extension;
  let url: string;

  beforeEach(async () => {
    ({ extension, url } = await start());
  });

  afterEach(() => extension.shutdown(noDeadline));

  test('answers 503 until the pipelines run', async () => {
    const response = await fetch(url);
    assert.equal(response.status, 503);
    assert.deepEqual(await response.json(), {
      status: 'Server not available',
      upSince: '1970-01-01T00:00:00.000Z',
      uptime: '',
    });
  });

  test('answers 200 while they run, and since when', async () => {
    const before = Date.now();
    extension.setReady?.(true);
    const response = await fetch(`${url}?from=probe`);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), 'application/json');
    const { status, upSince, uptime } = (await response.json()) as Record<string, string>;
    assert.equal(status, 'Server available');
    assert.ok(Date.parse(upSince!) >= before && Date.parse(upSince!) <= Date.now(), upSince);
    assert.match(uptime!, /^\d+(?:\.\d+)?s$/);
  });

  test('answers 503 again when the service stops', async () => {
    extension.setReady?.(true);
    extension.setReady?.(false);
    assert.equal((await fetch(url)).status, 503);
  });

  test('answers 404 to other paths', async () => {
    extension.setReady?.(true);
    assert.equal((await fetch(new URL('/other', url))).status, 404);
  });

  test('goes on whatever it is asked', async () => {
    for (const [requestLine, status] of [
      ['GET // HTTP/1.1', 404],
      ['GET http:// HTTP/1.1', 404],
      ['GET http://[ HTTP/1.1', 404],
      ['OPTIONS * HTTP/1.1', 404],
      ['no request at all', 400],
    ] as const) {
      assert.match(await ask(url, requestLine), new RegExp(`^HTTP/1.1 ${status} `), requestLine);
    }
    assert.equal((await fetch(url)).status, 503);
  });

  test('stops though a client keeps its connection', { timeout: 5_000 }, async () => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n');
    const closed = once(socket, 'close');
    // An answer on another connection: by now the first was accepted.
    await fetch(url);
    await extension.shutdown(noDeadline);
    await closed;
    await assert.rejects(fetch(url));
  });

  test('stops twice, and before it was started', async () => {
    await extension.shutdown(noDeadline);
    await extension.shutdown(noDeadline);
    const neverStarted = healthCheck.create(healthCheck.configSchema.parse({}), makeSettings());
    await neverStarted.shutdown(noDeadline);
  });
});

test('the health check answers on the path that is configured', async () => {
  const { extension, url } = await start({ path: '/health' });
  try {
    extension.setReady?.(true);
    assert.equal(new URL(url).pathname, '/health');
    assert.equal((await fetch(url)).status, 200);
    assert.equal((await fetch(new URL('/', url))).status, 404);
  } finally {
    await extension.shutdown(noDeadline);
  }
});

test('the health check does not start on a port in use', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  try {
    const { port } = taken.address() as AddressInfo;
    await assert.rejects(start({ endpoint: `127.0.0.1:${port}` }), { code: 'EADDRINUSE' });
  } finally {
    taken.close();
  }
});

suite('the endpoint of a health check', () => {
  for (const endpoint of ['localhost:13133', '0.0.0.0:1', '[::1]:65535']) {
    test(`can be ${endpoint}`, () => assert.ok(healthCheck.configSchema.safeParse({ endpoint }).success));
  }
  for (const endpoint of ['localhost', ':13133', 'localhost:', 'localhost:65536', '13133']) {
    test(`cannot be ${endpoint}`, () => assert.ok(!healthCheck.configSchema.safeParse({ endpoint }).success));
  }
});
