import { spawn, execFile, type ChildProcess } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, writeFileSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Agent } from 'undici';
import { makeCertificate } from '../helpers/certificate.ts';
import { eventually } from '../helpers/eventually.ts';
import { freePort } from '../helpers/free-port.ts';
import { kubernetesBinary } from '../helpers/kubernetes-binaries.ts';

const execute = promisify(execFile);

/** Whatever the API answers. */
export interface ApiObject {
  metadata: { name: string; uid: string; resourceVersion: string; [key: string]: unknown };
  [key: string]: unknown;
}

/** A kube-apiserver with an etcd of its own. Nothing else of Kubernetes runs: pods stay as they are made. */
export interface KubernetesApi {
  url: string;
  port: number;
  /** Its certificate, which is its own authority. */
  caFile: string;
  /** For kubectl, as an administrator. */
  kubeconfig: string;
  /** As an administrator. Rejects with the server's words where it refuses. */
  request(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<ApiObject>;
  /** kubectl with `args`, as an administrator; resolves with what it prints. Rejects where it fails. */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  /** Ends the server; etcd goes on. */
  kill(): Promise<void>;
  /** Starts it again, on the same port and data. */
  start(): Promise<void>;
  /** Has etcd forget every change up to now, and change a little more: what the server knew before it expires at its next start. */
  compact(): Promise<void>;
  /** Ends everything and removes its data. */
  stop(): Promise<void>;
}

/** Starts etcd and a kube-apiserver with RBAC; resolves when it serves. */
export async function startKubernetesApi(): Promise<KubernetesApi> {
  const folder = mkdtempSync(join(tmpdir(), 'exit137-kubernetes-'));
  const file = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
  const { cert, key } = makeCertificate('127.0.0.1', 'localhost');
  const [caFile, keyFile] = [file('ca.crt', cert), file('server.key', key)];
  const token = 'the-administrator';
  const tokens = file('tokens.csv', `${token},admin,admin,system:masters\n`);
  const [clientPort, peerPort, port] = [await freePort(), await freePort(), await freePort()];
  const url = `https://127.0.0.1:${port}`;
  const etcdUrl = `http://127.0.0.1:${clientPort}`;
  const peerUrl = `http://127.0.0.1:${peerPort}`;
  const kubeconfig = file('kubeconfig', JSON.stringify(kubeconfigOf(url, caFile, token)));
  const agent = new Agent({ connect: { ca: cert } });

  const etcd = run('etcd', join(folder, 'etcd.log'), {
    'data-dir': join(folder, 'etcd'),
    'listen-client-urls': etcdUrl,
    'advertise-client-urls': etcdUrl,
    'listen-peer-urls': peerUrl,
    'initial-advertise-peer-urls': peerUrl,
    'initial-cluster': `default=${peerUrl}`,
  });
  let server: ChildProcess | undefined;

  const request: KubernetesApi['request'] = async (method, path, body) => {
    const response = await agent.request({
      origin: url,
      path,
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await response.body.text();
    if (response.statusCode >= 300) throw new Error(`cannot ${method} "${path}": ${text}`);
    return JSON.parse(text) as ApiObject;
  };
  const start = async (): Promise<void> => {
    const log = join(folder, 'kube-apiserver.log');
    server = run(kubernetesBinary('kube-apiserver'), log, {
      'etcd-servers': etcdUrl,
      'bind-address': '127.0.0.1',
      'secure-port': port,
      'endpoint-reconciler-type': 'none',
      'service-cluster-ip-range': '10.96.0.0/24',
      'tls-cert-file': caFile,
      'tls-private-key-file': keyFile,
      'service-account-issuer': 'https://kubernetes.default.svc',
      'service-account-key-file': caFile,
      'service-account-signing-key-file': keyFile,
      'token-auth-file': tokens,
      'authorization-mode': 'RBAC',
      // As every distribution has it.
      'allow-privileged': 'true',
      // It wants a controller that makes an account in each namespace.
      'disable-admission-plugins': 'ServiceAccount',
    });
    const serving = server;
    await eventually(
      'the API server is ready',
      async () => {
        if (serving.exitCode !== null) throw new Error(`kube-apiserver ended:\n${await tail(log)}`);
        return isReady(agent, url, token);
      },
      60,
    );
  };
  const kill = async (): Promise<void> => end(server);
  const stop = async (): Promise<void> => {
    await kill();
    await end(etcd);
    await agent.destroy();
    await rm(folder, { recursive: true, force: true });
  };

  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url,
    port,
    caFile,
    kubeconfig,
    request,
    kubectl: async (args, input = '') => {
      const running = execute(kubernetesBinary('kubectl'), ['--kubeconfig', kubeconfig, ...args]);
      running.child.stdin?.end(input);
      return (await running).stdout;
    },
    kill,
    start,
    compact: () => compact(etcdUrl),
    stop,
  };
}

function kubeconfigOf(server: string, caFile: string, token: string): unknown {
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority': caFile } }],
    users: [{ name: 'admin', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    'current-context': 'test',
  };
}

async function isReady(agent: Agent, origin: string, token: string): Promise<true | undefined> {
  try {
    const headers = { authorization: `Bearer ${token}` };
    const { statusCode, body } = await agent.request({ origin, path: '/readyz', method: 'GET', headers });
    await body.dump();
    return statusCode === 200 || undefined;
  } catch {
    return undefined;
  }
}

/** By etcd's JSON gateway: https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/ */
async function compact(etcdUrl: string): Promise<void> {
  const call = async (method: string, body: unknown): Promise<{ header: { revision: string } }> => {
    const response = await fetch(`${etcdUrl}/v3/kv/${method}`, { method: 'POST', body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`etcd refuses ${method}: ${await response.text()}`);
    return (await response.json()) as { header: { revision: string } };
  };
  const put = () => call('put', { key: Buffer.from('/exit137').toString('base64'), value: '' });
  await put();
  const { header } = await put();
  await call('compaction', { revision: header.revision, physical: true });
}

function run(program: string, log: string, flags: Record<string, string | number>): ChildProcess {
  const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  const output = openSync(log, 'a');
  try {
    return spawn(program, args, { stdio: ['ignore', output, output] });
  } finally {
    closeSync(output);
  }
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

async function tail(path: string): Promise<string> {
  const lines = (await readFile(path, 'utf8')).split('\n');
  return lines.slice(-20).join('\n');
}
