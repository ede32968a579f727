import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { clientOptions, endpointsOf } from '../../../receiver/sources/docker-endpoint.ts';

describe('endpointsOf', () => {
  it('takes what was asked for, then DOCKER_HOST, then the usual sockets of Docker before those of Podman', () => {
    const env = { DOCKER_HOST: 'tcp://there:2375', XDG_RUNTIME_DIR: '/run/user/7' };
    assert.deepEqual(endpointsOf({ endpoint: 'unix:///mine.sock', hostRoot: '/', env }), ['unix:///mine.sock']);
    assert.deepEqual(endpointsOf({ hostRoot: '/', env }), ['tcp://there:2375']);
    assert.deepEqual(endpointsOf({ endpoint: '', hostRoot: '/host', env: { ...env, DOCKER_HOST: '' } }), [
      'unix:///host/run/docker.sock',
      'unix:///host/var/run/docker.sock',
      'unix:///host/run/podman/podman.sock',
      'unix:///host/run/user/7/docker.sock',
      'unix:///host/run/user/7/podman/podman.sock',
    ]);
    assert.equal(endpointsOf({ hostRoot: '/', env: {} }).length, 3);
  });
});

describe('clientOptions', () => {
  it('understands sockets and hosts as the docker command does', () => {
    const table: [string, object][] = [
      ['unix:///run/docker.sock', { socketPath: '/run/docker.sock', host: undefined }],
      ['/run/docker.sock', { socketPath: '/run/docker.sock', host: undefined }],
      ['tcp://10.0.0.1:2375', { socketPath: undefined, host: '10.0.0.1', port: '2375', protocol: 'http' }],
      ['tcp://docker', { host: 'docker', port: 2375, protocol: 'http' }],
      ['docker:4243', { host: 'docker', port: '4243', protocol: 'http' }],
      ['tcp://[::1]:2375', { host: '::1', port: '2375', protocol: 'http' }],
      ['tcp://docker:2376', { host: 'docker', port: '2376', protocol: 'https' }],
      ['https://docker', { host: 'docker', port: 2376, protocol: 'https' }],
    ];
    for (const [endpoint, expected] of table) {
      const options = clientOptions(endpoint, {}) as Record<string, unknown>;
      const got = Object.fromEntries(Object.keys(expected).map((key) => [key, options[key]]));
      assert.deepEqual(got, expected, endpoint);
    }
  });

  it('refuses what it cannot use, with the value', () => {
    for (const endpoint of ['ssh://root@host', 'npipe:////./pipe/docker_engine', 'fd://', 'unix://', 'tcp://', 'a b']) {
      assert.throws(() => clientOptions(endpoint, {}), {
        message: `cannot use endpoint "${endpoint}": expected unix:///path or tcp://host:port`,
      });
    }
  });

  it('uses the certificates of DOCKER_CERT_PATH where TLS is asked for, and only there', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'exit137-certificates-'));
    t.after(() => rm(folder, { recursive: true }));
    for (const name of ['ca', 'cert', 'key']) await writeFile(join(folder, `${name}.pem`), `the ${name}`);
    const env = { DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: folder };
    const { protocol, ca, cert, key } = clientOptions('tcp://docker:2375', env);
    assert.equal(protocol, 'https');
    assert.deepEqual([ca, cert, key], [Buffer.from('the ca'), Buffer.from('the cert'), Buffer.from('the key')]);
    assert.equal(clientOptions('unix:///run/docker.sock', env).ca, undefined);
    assert.throws(() => clientOptions('tcp://docker', { ...env, DOCKER_CERT_PATH: '/nowhere' }), /ENOENT.*\/nowhere/);
  });
});
