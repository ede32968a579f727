import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { findDockerEndpoint, probeDocker } from '../../../receiver/sources/docker-probe.ts';
import { answerWith, DockerDaemon, neverAnswer } from './docker-daemon.ts';
import { versions } from './docker-recordings.ts';

const options = { timeoutMs: 2000, env: {} };
const nobody = 65_534;

describe('probeDocker', () => {
  let daemon: DockerDaemon;
  before(async () => {
    daemon = await DockerDaemon.start();
  });
  after(() => daemon.stop());

  it('tells which runtime answers, in which version', async () => {
    const { endpoint } = daemon;
    const table = [
      [versions.docker20, { runtime: 'docker', version: '20.10.24+dfsg1' }],
      [versions.docker28, { runtime: 'docker', version: '28.5.2+dfsg4' }],
      [versions.podman4, { runtime: 'podman', version: '4.3.1' }],
      [{ Version: '1.13' }, { runtime: 'docker', version: '1.13' }],
    ] as const;
    for (const [version, expected] of table) {
      daemon.version = version;
      assert.deepEqual(await probeDocker(endpoint, options), { endpoint, reachable: true, ...expected });
    }
  });

  it('reaches a daemon by TCP, too', async (t) => {
    const byTcp = await DockerDaemon.start('127.0.0.1');
    t.after(() => byTcp.stop());
    assert.match(byTcp.endpoint, /^tcp:\/\/127\.0\.0\.1:\d+$/);
    assert.equal((await probeDocker(byTcp.endpoint, options)).reachable, true);
  });

  it('asks for the API version that it was given', async () => {
    await probeDocker(daemon.endpoint, { ...options, apiVersion: '1.41' });
    assert.equal(daemon.calls.at(-1), 'GET /v1.41/version');
  });

  it('takes nothing from an environment that means another daemon', async (t) => {
    const real = { ...process.env };
    t.after(() => {
      for (const name of ['DOCKER_HOST', 'DOCKER_TLS_VERIFY', 'DOCKER_CLIENT_TIMEOUT']) {
        if (real[name] === undefined) delete process.env[name];
        else process.env[name] = real[name];
      }
    });
    Object.assign(process.env, { DOCKER_HOST: 'tcp://nowhere:1', DOCKER_TLS_VERIFY: '1', DOCKER_CLIENT_TIMEOUT: '1' });
    daemon.version = versions.docker28;
    assert.equal((await probeDocker(daemon.endpoint, { timeoutMs: 2000 })).reachable, true);
  });

  it('tells a socket that is missing, one that nobody listens on, and one that is not ours to open, apart', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'exit137-sockets-'));
    t.after(() => rm(folder, { recursive: true }));
    const why = async (path: string) => {
      const probe = await probeDocker(`unix://${path}`, options);
      assert.equal(probe.reachable, false);
      assert.match(probe.error, new RegExp(`^cannot ask for the version of the daemon at "unix://${path}": `));
      return probe.why;
    };
    assert.equal(await why(join(folder, 'missing.sock')), 'missing');
    assert.equal(await why(await abandonedSocket(join(folder, 'abandoned.sock'))), 'refused');
    await writeFile(join(folder, 'file'), '');
    assert.equal(await why(join(folder, 'file/docker.sock')), 'missing');
    await chmod(dirname(daemon.socketPath), 0o755);
    await chmod(daemon.socketPath, 0o600);
    assert.equal(await asNobody(() => why(daemon.socketPath)), 'permission_denied');
  });

  it('tells a daemon that takes the call and never answers', async (t) => {
    daemon.misbehaviours.push([/version/, neverAnswer]);
    t.after(() => daemon.misbehaviours.pop());
    const { endpoint } = daemon;
    assert.deepEqual(await probeDocker(endpoint, { timeoutMs: 20 }), {
      endpoint,
      reachable: false,
      why: 'no_answer',
      error: `cannot ask for the version of the daemon at "${endpoint}": no answer within 20 ms`,
    });
  });

  it('tells a peer that is no Docker daemon, and shows the beginning of what it said', async (t) => {
    t.after(() => daemon.misbehaviours.pop());
    const table: [number, string, RegExp][] = [
      [200, `<html>${'x'.repeat(5000)}`, /: the answer has no version: "<html>x{194}…"$/],
      [200, '{"Version":7}', /: the answer has no version: "\{"Version":7\}"$/],
      [403, '{"message":"forbidden"}', /: \(HTTP code 403\) unexpected - forbidden$/],
      [500, 'e'.repeat(5000), /: \(HTTP code 500\) server error - e+…$/],
    ];
    for (const [status, text, expected] of table) {
      daemon.misbehaviours.push([/version/, answerWith(status, text)]);
      const probe = await probeDocker(daemon.endpoint, options);
      assert.ok(!probe.reachable);
      assert.equal(probe.why, 'failed');
      assert.match(probe.error, expected);
      assert.ok(probe.error.length < 400);
    }
  });
});

describe('findDockerEndpoint', () => {
  it('takes the first of the usual sockets that answers', async (t) => {
    const hostRoot = await mkdtemp(join(tmpdir(), 'exit137-root-'));
    t.after(() => rm(hostRoot, { recursive: true }));
    await mkdir(join(hostRoot, 'run'));
    await abandonedSocket(join(hostRoot, 'run/docker.sock'));
    const refused = await findDockerEndpoint({ hostRoot, env: {} }, options);
    assert.ok(!refused.reachable);
    assert.equal(refused.why, 'refused', 'which tells more than that the others are missing');

    const podman = await DockerDaemon.start(join(hostRoot, 'run/podman/podman.sock'));
    t.after(() => podman.stop());
    podman.version = versions.podman4;
    assert.deepEqual(await findDockerEndpoint({ hostRoot, env: {} }, options), {
      endpoint: `unix://${hostRoot}/run/podman/podman.sock`,
      reachable: true,
      runtime: 'podman',
      version: '4.3.1',
    });
  });

  it('says where it looked when there is nothing', async () => {
    const found = await findDockerEndpoint({ hostRoot: '/no/such/root', env: {} }, options);
    assert.ok(!found.reachable);
    assert.equal(found.why, 'missing');
    assert.equal(
      found.error,
      'cannot find a socket of Docker or Podman: there is none of "/no/such/root/run/docker.sock", ' +
        '"/no/such/root/var/run/docker.sock", "/no/such/root/run/podman/podman.sock"',
    );
  });
});

/** A socket whose owner was killed: the file stays. */
async function abandonedSocket(path: string): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${path}.tmp`, resolve));
  await rename(`${path}.tmp`, path);
  await new Promise((resolve) => server.close(resolve));
  return path;
}

/** Root may open every socket, so that for a refusal it has to be somebody else. */
async function asNobody<T>(act: () => Promise<T>): Promise<T> {
  if (process.getuid?.() !== 0) {
    // Not even the owner may write to it.
    return act();
  }
  process.seteuid!(nobody);
  try {
    return await act();
  } finally {
    process.seteuid!(0);
  }
}
