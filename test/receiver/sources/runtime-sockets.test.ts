import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { GrpcError } from '../../../receiver/grpc/client.ts';
import { containerdSockets, findSocket, socketsOf } from '../../../receiver/sources/runtime-sockets.ts';

describe('the search for a runtime’s socket', () => {
  let hostRoot: string;
  const servers: Server[] = [];

  beforeEach(async () => {
    hostRoot = await mkdtemp(join(tmpdir(), 'exit137-sockets-'));
  });

  afterEach(async () => {
    for (const server of servers.splice(0)) server.close();
    await rm(hostRoot, { recursive: true });
  });

  async function listen(path: string): Promise<void> {
    await mkdir(dirname(path), { recursive: true });
    const server = createServer((connection) => connection.end()).listen(path);
    servers.push(server);
    await once(server, 'listening');
  }

  const find = (ask = async (socket: string) => socket) => findSocket(socketsOf({ hostRoot }, containerdSockets), ask);

  it('takes the containerd of k3s before another that may be Docker’s', async () => {
    const [k3s, plain] = ['run/k3s/containerd/containerd.sock', 'run/containerd/containerd.sock'].map((path) =>
      join(hostRoot, path),
    );
    await listen(plain!);
    assert.deepEqual(await find(), { socket: plain, reachable: true, answer: plain });
    await listen(k3s!);
    assert.deepEqual(await find(), { socket: k3s, reachable: true, answer: k3s });
  });

  it('passes over a socket where somebody else listens', async () => {
    const [first, second] = containerdSockets.slice(1, 3).map((path) => join(hostRoot, path));
    await listen(first!);
    await listen(second!);
    const found = await find(async (socket) => {
      if (socket === first) throw new GrpcError('UNIMPLEMENTED', 'unknown service');
      return socket;
    });
    assert.deepEqual(found, { socket: second, reachable: true, answer: second });
  });

  it('names all places where there is none', async () => {
    const found = await find();
    assert.ok(!found.reachable);
    assert.equal(found.why, 'missing');
    for (const path of containerdSockets) assert.ok(found.error.includes(`"${join(hostRoot, path)}"`));
  });

  it('tells what is wrong rather than that others are missing', async () => {
    const dead = join(hostRoot, containerdSockets.at(-1)!);
    await listen(dead);
    const silent = await find(async () => {
      throw new GrpcError('DEADLINE_EXCEEDED', 'too late');
    });
    assert.ok(!silent.reachable);
    assert.deepEqual([silent.why, silent.error], ['no_answer', `cannot use "${dead}": DEADLINE_EXCEEDED: too late`]);
    const server = servers.pop()!;
    server.close();
    await once(server, 'close');
    await writeFile(dead, '');
    const refused = await find();
    assert.ok(!refused.reachable);
    assert.deepEqual([refused.why, refused.socket], ['refused', dead]);
  });

  it('uses the one endpoint that was asked for, as it is seen from here', () => {
    assert.deepEqual(socketsOf({ hostRoot, endpoint: 'unix:///run/my.sock' }, containerdSockets), ['/run/my.sock']);
    assert.deepEqual(socketsOf({ hostRoot, endpoint: '/run/my.sock' }, containerdSockets), ['/run/my.sock']);
    for (const endpoint of ['tcp://127.0.0.1:2375', 'run/my.sock', 'unix://run/my.sock']) {
      assert.throws(() => socketsOf({ hostRoot, endpoint }, containerdSockets), /cannot use endpoint/);
    }
  });
});
