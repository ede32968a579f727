import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { configSchema } from '../../pipelines/processors/k8s-attributes/config.ts';
import { probe } from '../../pipelines/processors/k8s-attributes/probe.ts';
import { containerLifecycle } from '../../receiver/receiver.ts';
import { makeCertificate } from '../helpers/certificate.ts';
import { makeSettings } from '../helpers/component-settings.ts';
import { eventually } from '../helpers/eventually.ts';
import { FakeHost } from '../helpers/fake-cgroups.ts';
import { requires } from '../helpers/requires.ts';
import { startKubernetesApi, type KubernetesApi } from '../kubernetes/api-server.ts';
import { makeNode, startProcessor, type RunningProcessor, type WatchedNode } from '../kubernetes/watched-node.ts';
import { idOf } from '../receiver/observations.ts';

const [KNOWS, KNOWS_AGAIN] = ["knows the node's pods", "knows the node's pods again"];
const AWAY = "cannot watch the node's pods; goes on with what is known of them";

/** The numbers of metrics are the sender's to write again. */
function copyOf(metrics: readonly ResourceMetrics[]) {
  return metrics.map(({ resource, scopeMetrics }) => ({
    attributes: { ...resource.attributes },
    points: scopeMetrics.flatMap((scope) =>
      scope.metrics.map(({ descriptor: { name }, dataPoints }) => ({ name, value: dataPoints[0]?.value })),
    ),
  }));
}

describe('the k8s_attributes processor with a real API server', requires('kubernetes'), () => {
  let api: KubernetesApi;
  let node: WatchedNode;
  let running: RunningProcessor;

  before(async () => {
    api = await startKubernetesApi();
    node = await makeNode(api, 'shop');
    await node.createPod('earlier', { metadata: { labels: { app: 'web', tier: 'front' } } });
    running = await startProcessor(api, node, { extract: { labels: [{ key_regex: '.+' }] } });
    await running.settings.logged(KNOWS);
  });

  after(async () => {
    await running?.stop();
    await api?.stop();
  });

  const podUid = async (name: string): Promise<string> => {
    const { metadata } = await api.request('GET', `/api/v1/namespaces/shop/pods/${name}`);
    return metadata.uid;
  };
  const becomes = (what: string, uid: string, attribute: string, value: string) =>
    eventually(what, async () => (await running.attributesOf(uid))[attribute] === value || undefined);
  const lists = async () => (await running.settings.series())['exit137_pod_lists{processor=k8s_attributes}'];
  const pods = async () => (await running.settings.series())['exit137_pods{processor=k8s_attributes}'];
  const isUp = async () => (await running.settings.series())['exit137_pod_watch_up{processor=k8s_attributes}'];
  const told = (message: string) => running.settings.lines.filter((line) => line.message === message).length;
  const saysSince = (line: number, reason: RegExp) =>
    eventually(
      `it says ${reason.source}`,
      () => running.settings.lines.slice(line).some(({ fields }) => reason.test(String(fields['error']))) || undefined,
      60,
    );
  /** What the doctor says. */
  const probed = async () => {
    const config = { endpoint: api.url, ca_file: api.caFile, token_file: running.tokenFile };
    return probe(configSchema.parse(config), { K8S_NODE_NAME: node.nodeName });
  };
  const toldAgain = async (times: number) =>
    eventually('it says that it works again', () => told(KNOWS_AGAIN) > times || undefined, 60);

  it('knows a pod that was there before it', async () => {
    const uid = await podUid('earlier');
    assert.deepEqual(await running.attributesOf(uid), {
      'k8s.pod.uid': uid,
      'k8s.namespace.name': 'shop',
      'k8s.node.name': 'node-shop',
      'k8s.pod.name': 'earlier',
      'k8s.pod.label.app': 'web',
      'k8s.pod.label.tier': 'front',
    });
  });

  it('knows a pod as soon as it is made, and who owns it', async () => {
    const owner = {
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      name: 'web-7d9c5b6f4',
      uid: '0b1c2d3e-0000-4000-8000-000000000001',
      controller: true,
    };
    const { metadata } = await node.createPod('web-7d9c5b6f4-x2x9z', {
      metadata: { labels: { 'pod-template-hash': '7d9c5b6f4' }, ownerReferences: [owner] },
    });
    const attributes = await running.attributesOf(metadata.uid);
    assert.equal(attributes['k8s.replicaset.name'], 'web-7d9c5b6f4');
    assert.equal(attributes['k8s.replicaset.uid'], owner.uid);
    assert.equal(attributes['k8s.deployment.name'], 'web');
    assert.equal(told(KNOWS), 1);
    assert.equal(await lists(), 1);
  });

  it('finds a static pod by the uid that the runtime has, and learns the node’s uid from its mirror', async () => {
    const localUid = '8a9b0c1d2e3f405162738495a6b7c8d9';
    const owner = { apiVersion: 'v1', kind: 'Node', name: node.nodeName, uid: '11111111-2222-4333-8444-555555555555' };
    const annotations = { 'kubernetes.io/config.mirror': localUid, 'kubernetes.io/config.hash': localUid };
    await node.createPod('etcd-node-shop', {
      metadata: { annotations, ownerReferences: [{ ...owner, controller: true }] },
    });
    const attributes = await running.attributesOf(localUid);
    assert.equal(attributes['k8s.pod.name'], 'etcd-node-shop');
    assert.equal(attributes['k8s.pod.uid'], localUid);
    assert.equal(attributes['k8s.node.uid'], owner.uid);
    assert.equal((await running.attributesOf(await podUid('earlier')))['k8s.node.uid'], owner.uid);
  });

  it('follows a change', async () => {
    const uid = await podUid('earlier');
    await node.label('earlier', { tier: 'back' });
    await becomes('the label is the new one', uid, 'k8s.pod.label.tier', 'back');
  });

  it('knows nothing of other nodes', async () => {
    const { metadata } = await node.createPod('elsewhere', { spec: { nodeName: 'node-other' } });
    await node.createPod('here');
    await running.attributesOf(await podUid('here'));
    assert.deepEqual(await running.attributesOf(metadata.uid), { 'k8s.pod.uid': metadata.uid });
  });

  it('remembers a pod that is gone, and tells one of the same name from it', async () => {
    const uid = await podUid('here');
    const count = await pods();
    await node.deletePod('here');
    await eventually('there is one pod less', async () => (await pods()) === count! - 1 || undefined);
    assert.equal((await running.attributesOf(uid))['k8s.pod.name'], 'here');
    const { metadata } = await node.createPod('here', { metadata: { labels: { app: 'new' } } });
    assert.equal((await running.attributesOf(metadata.uid))['k8s.pod.label.app'], 'new');
    assert.equal((await running.attributesOf(uid))['k8s.pod.label.app'], undefined);
  });

  it('goes on with what it knows while the server is away, says so once, and goes on where it was', async () => {
    const uid = await podUid('earlier');
    const [line, again] = [running.settings.lines.length, told(KNOWS_AGAIN)];
    await api.kill();
    await saysSince(line, /ECONNREFUSED/);
    assert.equal(await isUp(), 0);
    assert.equal((await running.attributesOf(uid))['k8s.pod.name'], 'earlier');
    await api.start();
    await toldAgain(again);
    const reasons = running.settings.lines.slice(line).map(({ fields }) => String(fields['error']));
    assert.equal(reasons.filter((reason) => reason.includes('ECONNREFUSED')).length, 1);
    assert.equal(await isUp(), 1);
    const { metadata } = await node.createPod('after-restart');
    assert.equal((await running.attributesOf(metadata.uid))['k8s.pod.name'], 'after-restart');
  });

  it('asks for all pods again where the server has forgotten what came in between', async () => {
    const [line, again] = [running.settings.lines.length, told(KNOWS_AGAIN)];
    const listsBefore = await lists();
    const uid = await podUid('after-restart');
    await api.kill();
    await saysSince(line, /ECONNREFUSED/);
    await api.compact();
    await api.start();
    await toldAgain(again);
    await node.label('after-restart', { seen: 'yes' });
    await becomes('the label is the new one', uid, 'k8s.pod.label.seen', 'yes');
    assert.ok((await lists())! > listsBefore!, 'no list was asked for');
  });

  it('says why where its role is taken away, and works again when it is given back', async () => {
    const [line, again] = [running.settings.lines.length, told(KNOWS_AGAIN)];
    await node.revoke();
    await api.kill();
    await saysSince(line, /ECONNREFUSED/);
    await api.start();
    await saysSince(
      line,
      /HTTP 403: pods is forbidden: User "system:serviceaccount:shop:exit137" cannot (list|watch) resource "pods"/,
    );
    assert.equal((await running.attributesOf(await podUid('earlier')))['k8s.pod.name'], 'earlier');
    assert.match((await probed()).grant ?? '', /^the verb list is missing: /);
    await node.grant();
    await toldAgain(again);
    assert.match((await probed()).detail, /^\d+ pods of node "node-shop" at https:/);
  });

  it('takes the token that is in the file now', async () => {
    const secret = '/api/v1/namespaces/shop/secrets';
    await api.request('POST', secret, { metadata: { name: 'first-token' } });
    const second = await startProcessor(api, node, { token: await node.makeToken('first-token') });
    try {
      await second.settings.logged(KNOWS);
      await api.request('DELETE', `${secret}/first-token`);
      await api.kill();
      await api.start();
      await eventually(
        'it says that the token is not good',
        () => second.settings.lines.find(({ fields }) => String(fields['error']).includes('HTTP 401')),
        60,
      );
      second.setToken(await node.makeToken());
      await second.settings.logged(KNOWS_AGAIN);
    } finally {
      await second.stop();
    }
  });

  it('gives containers that no runtime tells of their names, one workload, and their restarts', async (t) => {
    const { metadata, spec } = await node.createPod('crashing');
    const { uid } = metadata;
    const tell = (containerStatus: object) =>
      api.request('PUT', '/api/v1/namespaces/shop/pods/crashing/status', {
        metadata: { name: 'crashing', namespace: 'shop', uid },
        spec,
        status: {
          containerStatuses: [
            { name: 'main', image: 'web:1.2', imageID: '', ready: true, started: true, ...containerStatus },
          ],
        },
      });
    const [first, second, sandbox] = [idOf(1), idOf(2), idOf(3)];
    const host = new FakeHost(t, 2);
    const groupOf = (id: string) => `kubepods/besteffort/pod${uid}/${id}`;
    host.make(groupOf(sandbox));
    host.make(groupOf(first));
    const config = containerLifecycle.configSchema.parse({
      collection_interval: '100ms',
      root_path: host.root,
      sources: {
        docker: { enabled: false },
        containerd: { enabled: false },
        cri: { enabled: false },
        kernel_log: { enabled: false },
      },
    });
    const records: ReadableLogRecord[] = [];
    let last: ReturnType<typeof copyOf> = [];
    const settings = { ...makeSettings('receiver'), pods: running.processor.pods };
    const receiver = containerLifecycle.create(config, settings, {
      metrics: { consumeMetrics: async (metrics) => void (last = copyOf(metrics)) },
      logs: { consumeLogs: async (logs) => void records.push(...logs) },
    });
    await receiver.start();
    t.after(() => receiver.shutdown(AbortSignal.timeout(1_000)));
    /** As the API writes times: to the second. */
    const inSeconds = (seconds: number) => new Date((Math.floor(Date.now() / 1_000) + seconds) * 1_000).toISOString();
    const containerID = `containerd://${first}`;
    await tell({ containerID, restartCount: 0, state: { running: { startedAt: inSeconds(-5) } } });
    const namesOf = () =>
      last.map(({ attributes }) => attributes['k8s.container.name']).filter((name) => name === 'main');
    await eventually('it has its name', () => namesOf().length > 0 || undefined);
    rmSync(join(host.root, 'sys/fs/cgroup', groupOf(first)), { recursive: true });
    host.make(groupOf(second));
    const terminated = {
      containerID,
      exitCode: 3,
      reason: 'Error',
      startedAt: inSeconds(-5),
      finishedAt: inSeconds(0),
    };
    await tell({
      containerID: `containerd://${second}`,
      restartCount: 1,
      // Begins of before the receiver's own are no restarts that it counts, and the grain is one second.
      state: { running: { startedAt: inSeconds(1) } },
      lastState: { terminated },
    });
    await eventually('its restart is told', () => records.find(({ eventName }) => eventName === 'container.restart'));
    const exit = await eventually('its exit is told', () =>
      records.find(({ eventName }) => eventName === 'container.exit'),
    );
    assert.equal(exit.attributes['process.exit.code'], 3);
    assert.equal(exit.resource.attributes['k8s.pod.name'], 'crashing');
    const restarts = () => last.flatMap(({ points }) => points).filter(({ name }) => name === 'container.restarts');
    await eventually('one series has both', () => restarts().some(({ value }) => value === 1) || undefined);
    assert.equal(restarts().length, 1);
    await eventually('the sandbox has no metrics', () =>
      last.length > 0 && !last.some(({ attributes }) => attributes['container.id'] === sandbox) ? true : undefined,
    );
  });

  it('is in the bundle as it is in the sources', requires('bundle'), async () => {
    const folder = dirname(api.caFile);
    writeFileSync(join(folder, 'token'), await node.makeToken());
    const config = {
      receivers: { container_lifecycle: null },
      processors: {
        k8s_attributes: {
          endpoint: api.url,
          ca_file: api.caFile,
          token_file: join(folder, 'token'),
        },
      },
      exporters: { debug: null },
      service: {
        telemetry: { metrics: { level: 'none' } },
        pipelines: Object.fromEntries(
          ['metrics', 'logs'].map((signal) => [
            signal,
            { receivers: ['container_lifecycle'], processors: ['k8s_attributes'], exporters: ['debug'] },
          ]),
        ),
      },
    };
    const child = spawn('dist/main.mjs', ['--config', `yaml:${JSON.stringify(config)}`], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, K8S_NODE_NAME: node.nodeName },
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const exited = once(child, 'exit');
    try {
      await eventually('it knows the pods', () => stderr.includes(KNOWS) || undefined, 20);
    } finally {
      child.kill('SIGTERM');
      await exited;
    }
    assert.equal(child.exitCode, 0, stderr);
    // One watch for both pipelines.
    assert.equal(stderr.split(KNOWS).length, 2);
  });

  it('says which file is wrong where another authority has signed the certificate', async () => {
    const caFile = join(dirname(api.caFile), 'other-ca.crt');
    writeFileSync(caFile, makeCertificate('127.0.0.1').cert);
    const second = await startProcessor(api, node, { ca_file: caFile });
    try {
      const { fields } = await second.settings.logged(AWAY);
      assert.match(String(fields['error']), new RegExp(`not signed by an authority in ca_file "${caFile}"`));
    } finally {
      await second.stop();
    }
  });
});
