import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DockerOptions } from 'dockerode';

/** What of the environment is heeded, as the docker command does. */
export type DockerEnvironment = Readonly<
  Partial<Record<'DOCKER_HOST' | 'DOCKER_TLS_VERIFY' | 'DOCKER_CERT_PATH' | 'XDG_RUNTIME_DIR', string>>
>;

/** Where a daemon is looked for. */
export interface EndpointSearch {
  /** `unix:///…` or `tcp://host:port`; absent: DOCKER_HOST, else the usual sockets. */
  endpoint?: string;
  /** Where the host's root file system is seen from here. */
  hostRoot: string;
  /** Default: that of this process. */
  env?: DockerEnvironment;
}

/** The endpoints to try, best first: the one that was asked for, or the usual sockets of Docker and Podman. */
export function endpointsOf({ endpoint, hostRoot, env = process.env }: EndpointSearch): string[] {
  const asked = endpoint || env.DOCKER_HOST;
  if (asked) return [asked];
  const sockets = ['/run/docker.sock', '/var/run/docker.sock', '/run/podman/podman.sock'];
  const ofUser = env.XDG_RUNTIME_DIR;
  if (ofUser) sockets.push(join(ofUser, 'docker.sock'), join(ofUser, 'podman/podman.sock'));
  return sockets.map((path) => `unix://${join(hostRoot, path)}`);
}

/**
 * How dockerode reaches an endpoint. Every option that its constructor would otherwise take from the environment is
 * given, because a socket that we found ourselves has nothing to do with DOCKER_HOST.
 *
 * @throws for an endpoint of another kind, and for certificates that cannot be read.
 */
export function clientOptions(endpoint: string, env: DockerEnvironment = process.env): DockerOptions {
  const options: DockerOptions = {
    socketPath: undefined,
    host: undefined,
    port: undefined,
    protocol: 'http',
    timeout: undefined,
    // One connection for each call: one that was kept could be closed by the daemon just as it is used again.
    headers: { Connection: 'close' },
  };
  if (endpoint.startsWith('/')) return { ...options, socketPath: endpoint };
  if (endpoint.startsWith('unix:///')) return { ...options, socketPath: endpoint.slice('unix://'.length) };
  const url = URL.parse(endpoint.includes('://') ? endpoint : `tcp://${endpoint}`);
  if (!url?.hostname || !['tcp:', 'http:', 'https:'].includes(url.protocol)) {
    throw new Error(`cannot use endpoint "${endpoint}": expected unix:///path or tcp://host:port`);
  }
  const secure = url.protocol === 'https:' || url.port === '2376' || Boolean(env.DOCKER_TLS_VERIFY);
  // dockerode puts the brackets of an IPv6 address back.
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const tcp: DockerOptions = { ...options, host, port: url.port || (secure ? 2376 : 2375) };
  return secure ? { ...tcp, protocol: 'https', ...readCertificates(env.DOCKER_CERT_PATH) } : tcp;
}

function readCertificates(folder: string | undefined): Pick<DockerOptions, 'ca' | 'cert' | 'key'> {
  if (!folder) return {};
  const read = (name: string) => readFileSync(join(folder, name));
  return { ca: read('ca.pem'), cert: read('cert.pem'), key: read('key.pem') };
}
