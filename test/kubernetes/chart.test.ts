import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { stringify } from 'yaml';
import { only, renderChart, runHelm, chartFolder, tiers, type DaemonSet, type Manifest } from '../helpers/chart.ts';
import { requires } from '../helpers/requires.ts';
import { startKubernetesApi, type KubernetesApi } from './api-server.ts';

const namespace = 'observability';

describe('a real API server', requires('kubernetes', 'helm'), () => {
  let api: KubernetesApi;

  before(
    async () => {
      api = await startKubernetesApi();
      await api.kubectl(['create', 'namespace', namespace]);
    },
    { timeout: 120_000 },
  );

  after(async () => {
    await api?.stop();
  });

  /** Each object as the server would keep it. A key that it does not know is an error. */
  async function dryRun(manifests: readonly Manifest[]): Promise<Manifest[]> {
    const text = manifests.map((manifest) => stringify(manifest)).join('---\n');
    const flags = ['--server-side', '--dry-run=server', '--validate=strict', '--output=json', '--filename=-'];
    const answer = JSON.parse(await api.kubectl(['apply', ...flags], text)) as { items: Manifest[] };
    return answer.items;
  }

  for (const tier of tiers) {
    it(`accepts everything that the chart makes in the tier ${tier}, and keeps what it says`, async () => {
      const manifests = renderChart({ tier, service: { enabled: true } });
      const kept = await dryRun(manifests);
      assert.deepEqual(kept.map(({ kind }) => kind).toSorted(), manifests.map(({ kind }) => kind).toSorted());
      const containerIn = (objects: readonly Manifest[]) =>
        only<DaemonSet>(objects, 'DaemonSet').spec.template.spec.containers[0]!;
      const { securityContext, volumeMounts } = containerIn(manifests);
      assert.deepEqual(containerIn(kept).securityContext, securityContext);
      assert.deepEqual(containerIn(kept).volumeMounts, volumeMounts);
    });
  }

  it('accepts what the values can add', async () => {
    const values = {
      imagePullSecrets: [{ name: 'registry' }],
      seLinuxOptions: { type: 'spc_t' },
      kubernetesApi: { enabled: false },
      persistence: { enabled: false },
      extraEnv: [{ name: 'TOKEN', valueFrom: { secretKeyRef: { name: 'backend', key: 'token' } } }],
      extraEnvFrom: [{ secretRef: { name: 'backend' } }],
      extraVolumes: [{ name: 'ca', secret: { secretName: 'ca' } }],
      extraVolumeMounts: [{ name: 'ca', mountPath: '/etc/ca', readOnly: true }],
      affinity: { nodeAffinity: {} },
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '25%' } },
    };
    const manifests = renderChart(values);
    assert.equal((await dryRun(manifests)).length, manifests.length);
  });

  it('lets helm install, upgrade to another tier and uninstall it', async () => {
    const helm = (...args: string[]) => {
      const { status, stdout, stderr } = runHelm([...args, '--namespace', namespace, '--kubeconfig', api.kubeconfig]);
      assert.equal(status, 0, stderr);
      return stdout;
    };
    assert.match(helm('install', 'agent', chartFolder), /tier "standard"/);
    assert.match(helm('upgrade', 'agent', chartFolder, '--set', 'tier=minimal'), /tier "minimal"/);
    const daemonSets = JSON.parse(await api.kubectl(['get', 'daemonsets', '-n', namespace, '-o', 'json'])) as {
      items: DaemonSet[];
    };
    assert.deepEqual(
      daemonSets.items.map(({ metadata, spec }) => [metadata.name, spec.template.spec.securityContext.runAsUser]),
      [['agent-exit137', 65_532]],
    );
    helm('uninstall', 'agent');
  });

  it('lets its account read pods, and nothing else', async () => {
    const objects = renderChart().filter(({ kind }) => kind === 'ServiceAccount' || kind.startsWith('ClusterRole'));
    await api.kubectl(['apply', '--filename=-'], objects.map((object) => stringify(object)).join('---\n'));
    const account = `system:serviceaccount:${namespace}:${only(objects, 'ServiceAccount').metadata.name}`;
    const can = async (verb: string, ...resource: string[]) => {
      const asked = ['auth', 'can-i', verb, ...resource, '--all-namespaces', '--as', account];
      return (await api.kubectl(asked).catch(({ stdout }: { stdout: string }) => stdout)).trim();
    };
    for (const verb of ['get', 'list', 'watch']) assert.equal(await can(verb, 'pods'), 'yes');
    for (const verb of ['create', 'delete', 'patch']) assert.equal(await can(verb, 'pods'), 'no');
    for (const resource of ['secrets', 'nodes', 'replicasets.apps']) assert.equal(await can('get', resource), 'no');
    assert.equal(await can('get', 'pods', '--subresource=exec'), 'no');
  });
});
