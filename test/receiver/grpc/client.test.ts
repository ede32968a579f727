import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { GrpcClient, GrpcError } from '../../../receiver/grpc/client.ts';
import { Events, type SubscribeRequestSchema } from '../../../receiver/grpc/generated/containerd/events-service_pb.ts';
import { EnvelopeSchema, type Envelope } from '../../../receiver/grpc/generated/containerd/types_pb.ts';
import type { EmptySchema } from '../../../receiver/grpc/generated/well-known_pb.ts';
import { GrpcServer, type Streaming, type Unary } from '../../helpers/grpc-server.ts';
import { Version, VersionResponseSchema } from '../../../receiver/grpc/generated/containerd/version-service_pb.ts';

describe('GrpcClient', () => {
  let folder: string;
  let socket: string;
  let server: GrpcServer;
  let client: GrpcClient;
  let answerVersion: Unary<typeof EmptySchema, typeof VersionResponseSchema>;
  let answerSubscribe: Streaming<typeof SubscribeRequestSchema, typeof EnvelopeSchema>;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'exit137-grpc-'));
    socket = join(folder, 'containerd.sock');
    client = new GrpcClient(socket);
    server = new GrpcServer()
      .unary(Version.method.version, (call, answer) => answerVersion(call, answer))
      .streaming(Events.method.subscribe, (call) => answerSubscribe(call));
    await server.listen(socket);
  });

  afterEach(async () => {
    client.close();
    server.stop();
    await rm(folder, { recursive: true });
  });

  const envelope = (topic: string): Envelope => create(EnvelopeSchema, { topic });

  it('asks with its metadata and gives the typed answer', async () => {
    let heard: unknown[] = [];
    answerVersion = (call, answer) => {
      heard = [call.metadata.get('containerd-namespace'), call.getHost()];
      answer(null, create(VersionResponseSchema, { version: '1.6.20' }));
    };
    const metadata = { 'containerd-namespace': 'k8s.io' };
    const { version } = await client.unary(Version.method.version, {}, { timeoutMs: 5_000, metadata });
    assert.equal(version, '1.6.20');
    assert.deepEqual(heard, [['k8s.io'], 'localhost']);
  });

  it('rejects with the code and the words of the peer', async () => {
    answerVersion = (_call, answer) => answer({ code: status.NOT_FOUND, details: 'no such container' });
    await assert.rejects(client.unary(Version.method.version, {}, { timeoutMs: 5_000 }), (error) => {
      assert.ok(error instanceof GrpcError);
      assert.equal(error.code, 'NOT_FOUND');
      assert.equal(error.message, 'NOT_FOUND: no such container');
      return true;
    });
  });

  it('waits for an answer no longer than it was told', async () => {
    answerVersion = () => {};
    await assert.rejects(client.unary(Version.method.version, {}, { timeoutMs: 50 }), { code: 'DEADLINE_EXCEEDED' });
  });

  it('gives a question up when it is aborted, before and while it is asked', async () => {
    const aborting = new AbortController();
    answerVersion = () => aborting.abort();
    const options = { timeoutMs: 5_000, signal: aborting.signal };
    await assert.rejects(client.unary(Version.method.version, {}, options), { code: 'CANCELLED' });
    answerVersion = (_call, answer) => answer(null, create(VersionResponseSchema, {}));
    await assert.rejects(client.unary(Version.method.version, {}, options), { code: 'CANCELLED' });
  });

  it('rejects where there is no socket, nobody listens or the peer speaks something else, and works once it is there', async () => {
    answerVersion = (_call, answer) => answer(null, create(VersionResponseSchema, { version: '2.1.4' }));
    const ask = () => client.unary(Version.method.version, {}, { timeoutMs: 5_000 });
    server.stop();
    await rm(socket, { force: true });
    await assert.rejects(ask(), { code: 'UNAVAILABLE' });
    const other = createServer((connection) => connection.end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(socket);
    await once(other, 'listening');
    await assert.rejects(ask(), { name: 'GrpcError' });
    other.close();
    await once(other, 'close');
    await server.listen(socket);
    client.close();
    assert.equal((await ask()).version, '2.1.4');
  });

  it('gives the answers of a stream in their order until the peer ends it', async () => {
    answerSubscribe = (call) => {
      for (const filter of call.request.filters) call.write(envelope(filter));
      call.end();
    };
    const topics: string[] = [];
    for await (const { topic } of client.stream(Events.method.subscribe, { filters: ['/a', '/b', '/c'] })) {
      topics.push(topic);
    }
    assert.deepEqual(topics, ['/a', '/b', '/c']);
  });

  it('throws the code of a stream that breaks, after what came before', async () => {
    answerSubscribe = (call) => {
      call.write(envelope('/a'));
      call.emit('error', { code: status.INVALID_ARGUMENT, details: 'bad filter' });
    };
    const topics: string[] = [];
    const follow = async () => {
      for await (const { topic } of client.stream(Events.method.subscribe, {})) topics.push(topic);
    };
    await assert.rejects(follow(), { code: 'INVALID_ARGUMENT' });
    assert.deepEqual(topics, ['/a']);
  });

  it('throws when the peer of a stream dies', async () => {
    answerSubscribe = (call) => {
      call.write(envelope('/a'));
    };
    const follow = async () => {
      for await (const _ of client.stream(Events.method.subscribe, {})) server.stop();
    };
    await assert.rejects(follow(), { name: 'GrpcError' });
  });

  it('cancels a stream whose reader leaves or is aborted', async () => {
    const cancelled: Promise<unknown>[] = [];
    answerSubscribe = (call) => {
      cancelled.push(once(call, 'cancelled'));
      call.write(envelope('/a'));
    };
    for await (const _ of client.stream(Events.method.subscribe, {})) break;
    const aborting = new AbortController();
    const follow = async () => {
      for await (const _ of client.stream(Events.method.subscribe, {}, { signal: aborting.signal })) aborting.abort();
    };
    await assert.rejects(follow(), { code: 'CANCELLED' });
    assert.equal(cancelled.length, 2);
    await Promise.all(cancelled);
  });

  it('holds the peer of a stream back while nobody reads', async () => {
    const { promise: full, resolve } = Promise.withResolvers<number>();
    answerSubscribe = (call) => {
      let written = 0;
      const big = envelope(`/${'x'.repeat(64 * 1024)}`);
      while (call.write(big) && written < 10_000) written++;
      resolve(written);
    };
    for await (const _ of client.stream(Events.method.subscribe, {})) {
      assert.ok((await full) < 10_000);
      break;
    }
  });
});
