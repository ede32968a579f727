import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { factories } from '../../command/components.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { loadConfig, validateConfig, type ServiceConfig } from '../../pipelines/config.ts';
import type { Config as ReceiverConfig } from '../../receiver/config.ts';
import {
  chartFolder,
  only,
  podOf,
  renderChart,
  runHelm,
  tiers,
  type ConfigMap,
  type Container,
  type DaemonSet,
  type Manifest,
  type PodSpec,
} from '../helpers/chart.ts';
import { requires } from '../helpers/requires.ts';

/** What the downward API gives a pod. */
const env = { HOST_IP: '192.0.2.7', POD_IP: '198.51.100.9', K8S_NODE_NAME: 'node-7' };

/** The configuration that the container would run with. Throws where it would not start. */
function configOf(manifests: readonly Manifest[], more: NodeJS.ProcessEnv = {}): ServiceConfig {
  const { data } = only<ConfigMap>(manifests, 'ConfigMap');
  const { args } = containerOf(manifests);
  const locations = args.map((arg) => {
    const name = /^--config=\/etc\/exit137\/(.*)$/.exec(arg)![1]!;
    return { name, text: data[name]! };
  });
  const tree = loadConfig({ locations, env: { ...env, ...more } });
  assert.deepEqual(tree.warnings, []);
  return validateConfig(tree, factories);
}

function containerOf(manifests: readonly Manifest[]): Container {
  return podOf(manifests).containers[0]!;
}

/** Where each mount of the container comes from: a path of the node, or the kind of volume. */
function mountsOf(manifests: readonly Manifest[]): Record<string, string> {
  const { volumes } = podOf(manifests);
  return Object.fromEntries(
    containerOf(manifests).volumeMounts.map(({ name, mountPath, readOnly }) => {
      const volume = volumes.find((candidate) => candidate.name === name)!;
      const source = volume.hostPath?.path ?? Object.keys(volume).find((key) => key !== 'name')!;
      return [mountPath, `${source}${readOnly === true ? ' ro' : ''}`];
    }),
  );
}

/** With the labels of an object. */
type Labelled<T extends Manifest> = T & { metadata: { labels: Record<string, string> } };

suite('the chart', requires('helm'), () => {
  for (const tier of tiers) {
    test(`passes helm lint in the tier ${tier}`, () => {
      const { status, stdout } = runHelm(['lint', '--strict', chartFolder, '--set', `tier=${tier}`]);
      assert.equal(status, 0, stdout);
      assert.match(stdout, /1 chart\(s\) linted, 0 chart\(s\) failed/);
    });

    test(`runs with a configuration that the service takes, in the tier ${tier}`, () => {
      const { receivers, service } = configOf(renderChart({ tier }));
      const { root_path, sources } = receivers.get('container_lifecycle')!.config as ReceiverConfig;
      const asksOthers = tier !== 'minimal';
      assert.equal(root_path, '/host');
      assert.deepEqual(
        {
          docker: sources.docker.enabled,
          containerd: sources.containerd.enabled,
          cri: sources.cri.enabled,
          memcg: sources.memcg.enabled,
          kernel_log: sources.kernel_log.enabled,
        },
        { docker: asksOthers, containerd: asksOthers, cri: asksOthers, memcg: true, kernel_log: asksOthers },
      );
      assert.deepEqual(
        service.pipelines.map(({ id, exporters }) => ({ id, exporters })),
        [
          { id: 'metrics', exporters: ['otlp_grpc'] },
          { id: 'logs', exporters: ['otlp_grpc'] },
        ],
      );
    });

    test(`gives the container in the tier ${tier} what that tier says, and nothing else`, () => {
      const manifests = renderChart({ tier });
      const { readOnlyRootFilesystem, ...privileges } = containerOf(manifests).securityContext;
      assert.equal(readOnlyRootFilesystem, true);
      assert.deepEqual(privileges, privilegesOf[tier]);
      const { securityContext, automountServiceAccountToken, ...pod } = podOf(manifests);
      assert.equal(securityContext.seccompProfile.type, 'RuntimeDefault');
      assert.equal(securityContext.runAsUser, tier === 'minimal' ? 65_532 : 0);
      assert.equal(securityContext.runAsNonRoot, tier === 'minimal' ? true : undefined);
      assert.equal(automountServiceAccountToken, true, 'for k8s_attributes');
      const { hostPID, hostIPC, hostNetwork, enableServiceLinks } = pod as unknown as Record<string, unknown>;
      assert.deepEqual([hostPID, hostIPC, hostNetwork, enableServiceLinks], [false, false, false, false]);
      assert.deepEqual(mountsOf(manifests), {
        '/etc/exit137': 'configMap ro',
        '/host/proc': '/proc ro',
        '/host/sys/fs/cgroup': '/sys/fs/cgroup ro',
        '/host/etc/machine-id': '/etc/machine-id ro',
        ...(tier === 'minimal'
          ? { '/var/lib/exit137': 'emptyDir' }
          : { '/var/lib/exit137': '/var/lib/exit137/observability/release-exit137', '/host/run': '/run ro' }),
      });
    });

    test(`tells after the install what the tier ${tier} is`, () => {
      const notes = renderNotes({ tier });
      assert.match(notes, new RegExp(`the tier "${tier}"`));
      assert.match(notes, tier === 'full' ? /nothing is lost/ : /lost against the tier/);
      assert.match(notes, /port 4317 of each pod's own node/);
    });
  }

  const privilegesOf = {
    // The API server refuses a privileged container that says allowPrivilegeEscalation: false.
    full: { privileged: true },
    standard: {
      privileged: false,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'], add: ['SYSLOG'] },
    },
    minimal: { privileged: false, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
  };

  test('lays the configuration of the values on that of the tier, as the service merges files', () => {
    const manifests = renderChart({
      config: {
        receivers: { container_lifecycle: { sources: { kernel_log: { enabled: false } } } },
        exporters: { otlp_grpc: { endpoint: '${env:GATEWAY}' }, debug: null },
        service: { pipelines: { logs: { exporters: ['otlp_grpc', 'debug'] } } },
      },
    });
    const { receivers, exporters, service } = configOf(manifests, { GATEWAY: 'gateway.observability.svc:4317' });
    const { sources, root_path } = receivers.get('container_lifecycle')!.config as ReceiverConfig;
    assert.deepEqual(
      { root_path, docker: sources.docker.enabled, kernel_log: sources.kernel_log.enabled },
      { root_path: '/host', docker: true, kernel_log: false },
    );
    const { endpoint, tls } = exporters.get('otlp_grpc')!.config as { endpoint: object; tls: { insecure: boolean } };
    assert.deepEqual(endpoint, { target: 'gateway.observability.svc:4317' });
    assert.equal(tls.insecure, true);
    assert.deepEqual(
      service.pipelines.map((pipeline) => pipeline.exporters),
      [['otlp_grpc'], ['otlp_grpc', 'debug']],
    );
  });

  test('needs no other configuration on nodes of IPv6', () => {
    const { exporters } = configOf(renderChart(), { HOST_IP: 'fd00::7', POD_IP: 'fd00:1::9' });
    const { endpoint } = exporters.get('otlp_grpc')!.config as { endpoint: object };
    assert.deepEqual(endpoint, { target: '[fd00::7]:4317' });
  });

  test('has in its test what the configuration may refer to', () => {
    const values = {
      extraVolumes: [{ name: 'token', secret: { secretName: 'token' } }],
      extraVolumeMounts: [{ name: 'token', mountPath: '/etc/token', readOnly: true }],
    };
    const { spec } = only<Manifest & { spec: PodSpec }>(renderChart(values), 'Pod');
    assert.deepEqual(spec.volumes.slice(1), values.extraVolumes);
    assert.deepEqual(spec.containers[0]!.volumeMounts.slice(1), values.extraVolumeMounts);
  });

  test('says after the install where everything goes', () => {
    const config = { exporters: { otlp_grpc: { endpoint: 'gateway:4317' } } };
    assert.match(renderNotes({ config }), /^Metrics and events go to gateway:4317\.$/m);
    assert.match(renderNotes({ config: { exporters: null } }), /^Metrics and events go to port 4317 of/m);
    const pipelines = { metrics: { exporters: ['otlp_http'] }, logs: { exporters: ['otlp_http'] } };
    assert.match(
      renderNotes({ config: { exporters: { otlp_http: { endpoint: 'https://a.example' } }, service: { pipelines } } }),
      /^Metrics and events go where the pipelines of `config` send them\.$/m,
    );
  });

  test('starts new pods when the configuration changes, and only then', () => {
    const checksumOf = (values: object) =>
      only<DaemonSet>(renderChart(values), 'DaemonSet').spec.template.metadata.annotations['checksum/config'];
    const before = checksumOf({});
    assert.equal(checksumOf({ podLabels: { team: 'a' } }), before);
    assert.notEqual(checksumOf({ config: { exporters: { otlp_grpc: { timeout: '7s' } } } }), before);
  });

  test('gives the service more time to end than it takes', () => {
    const shutdownTimeoutMs = Number(
      /shutdownTimeoutMs = ([\d_]+);/.exec(readFileSync('main.ts', 'utf8'))![1]!.replace('_', ''),
    );
    assert.ok(podOf(renderChart()).terminationGracePeriodSeconds * 1000 > shutdownTimeoutMs);
  });

  test('has the version of the program, and runs the image of it', () => {
    assert.match(
      readFileSync(join(chartFolder, 'Chart.yaml'), 'utf8'),
      new RegExp(`^appVersion: ${packageJson.version}$`, 'm'),
    );
    assert.match(readFileSync('Dockerfile', 'utf8'), new RegExp(`^ARG VERSION=${packageJson.version}$`, 'm'));
    assert.equal(containerOf(renderChart()).image, `exit137:${packageJson.version}`);
    const digest = `sha256:${'0'.repeat(64)}`;
    const image = { repository: 'registry.example/exit137', tag: 'x', digest };
    assert.equal(containerOf(renderChart({ image })).image, `registry.example/exit137@${digest}`);
  });

  test('runs on every node, whatever it is tainted with', () => {
    assert.deepEqual(podOf(renderChart()).tolerations, [{ operator: 'Exists' }]);
  });

  test('keeps the state in the pod where the node must not be written to', () => {
    assert.equal(mountsOf(renderChart({ persistence: { enabled: false } }))['/var/lib/exit137'], 'emptyDir');
    assert.equal(mountsOf(renderChart({ persistence: { hostPath: '/srv/state' } }))['/var/lib/exit137'], '/srv/state');
  });

  test('has labels and annotations of the user beside its own, each key once', () => {
    const own = { 'app.kubernetes.io/name': 'exit137', 'app.kubernetes.io/instance': 'release' };
    const manifests = renderChart({
      additionalLabels: { team: 'a', 'app.kubernetes.io/name': 'mine' },
      podLabels: { 'app.kubernetes.io/version': '1', team: 'b' },
      podAnnotations: { note: 'x' },
      annotations: { reload: 'auto' },
      podMonitor: { enabled: true, labels: { team: 'c', 'app.kubernetes.io/version': '2' } },
    });
    const daemonSet = only<Labelled<DaemonSet>>(manifests, 'DaemonSet');
    const { labels, annotations } = daemonSet.spec.template.metadata as Labelled<Manifest>['metadata'];
    assert.partialDeepStrictEqual(labels, {
      ...own,
      team: 'b',
      'app.kubernetes.io/version': '1',
      'exit137/tier': 'standard',
    });
    assert.deepEqual(Object.keys(annotations ?? {}).toSorted(), ['checksum/config', 'note']);
    assert.deepEqual(daemonSet.metadata.annotations, { reload: 'auto' });
    assert.partialDeepStrictEqual(only<Labelled<Manifest>>(manifests, 'PodMonitor').metadata.labels, {
      team: 'c',
      'app.kubernetes.io/version': '2',
    });
    for (const { metadata } of manifests.filter(({ kind }) => !['Pod', 'PodMonitor'].includes(kind))) {
      assert.partialDeepStrictEqual((metadata as Labelled<Manifest>['metadata']).labels, { ...own, team: 'a' });
    }
    // No Service may take the pod of the test for one of the DaemonSet's.
    const ofTest = { ...own, team: 'a', 'app.kubernetes.io/name': 'exit137-test' };
    assert.partialDeepStrictEqual(only<Labelled<Manifest>>(manifests, 'Pod').metadata.labels, ofTest);
  });

  test('keeps the state of each release in a folder of its own', () => {
    const folderOf = (...args: string[]) => mountsOf(renderChart({}, { args }))['/var/lib/exit137'];
    assert.equal(folderOf('--namespace', 'a-b'), '/var/lib/exit137/a-b/release-exit137');
    assert.equal(folderOf('--is-upgrade'), '/var/lib/exit137/observability/release-exit137');
    assert.equal(
      mountsOf(renderChart({ nameOverride: 'second' }))['/var/lib/exit137'],
      '/var/lib/exit137/observability/release-second',
    );
  });

  test('mounts each folder with sockets where the service looks for it, and takes part in what happens below', () => {
    const manifests = renderChart({ runtime: { socketFolders: ['/run', '/var/snap/microk8s/common/run'] } });
    const mounts = mountsOf(manifests);
    assert.equal(mounts['/host/run'], '/run ro');
    assert.equal(mounts['/host/var/snap/microk8s/common/run'], '/var/snap/microk8s/common/run ro');
    const { volumeMounts } = containerOf(manifests);
    assert.equal(volumeMounts.find(({ mountPath }) => mountPath === '/host/run')?.mountPropagation, 'HostToContainer');
  });

  test('makes what is mounted below /proc and cgroups read-only where the cluster can', () => {
    const recursive = (version: string) =>
      containerOf(renderChart({}, { args: ['--kube-version', version] })).volumeMounts.flatMap((mount) =>
        'recursiveReadOnly' in mount ? [mount.mountPath] : [],
      );
    assert.deepEqual(recursive('1.33.0'), ['/host/proc', '/host/sys/fs/cgroup']);
    assert.deepEqual(recursive('1.30.4-eks-036c24b'), []);
  });

  test('opens its own metrics to others where they are asked for', () => {
    const always = ['ClusterRole', 'ClusterRoleBinding', 'ConfigMap', 'DaemonSet', 'Pod', 'ServiceAccount'];
    const kinds = (values: object) => renderChart(values).map(({ kind }) => kind);
    assert.deepEqual(kinds({}).toSorted(), [...always].toSorted());
    const all = { service: { enabled: true }, podMonitor: { enabled: true } };
    assert.deepEqual(kinds(all).toSorted(), [...always, 'PodMonitor', 'Service'].toSorted());
    const hostOf = (values: object) => {
      const [reader] = configOf(renderChart(values)).service.telemetry.metrics.readers;
      return reader!.pull!.exporter.prometheus.host;
    };
    assert.equal(hostOf({}), 'localhost');
    assert.equal(hostOf({ service: { enabled: true } }), env.POD_IP);
  });

  test('has a token and a role only where the API server is watched, and may only read pods', () => {
    const manifests = renderChart();
    const { rules } = only<Manifest & { rules: object[] }>(manifests, 'ClusterRole');
    assert.deepEqual(rules, [{ apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] }]);
    assert.deepEqual(
      configOf(manifests).service.pipelines.map(({ processors }) => processors),
      [
        ['resource/node', 'k8s_attributes', 'batch'],
        ['resource/node', 'k8s_attributes'],
      ],
    );
    const clusterName = (fullnameOverride: string, namespace: string) =>
      only(renderChart({ fullnameOverride }, { args: ['--namespace', namespace] }), 'ClusterRole').metadata.name;
    assert.notEqual(clusterName('exit137-a', 'b'), clusterName('exit137', 'a-b'));
    const without = renderChart({ kubernetesApi: { enabled: false } });
    assert.ok(without.every(({ kind }) => !kind.startsWith('ClusterRole')));
    assert.equal(podOf(without).automountServiceAccountToken, false);
    assert.deepEqual(
      configOf(without).service.pipelines.map(({ processors }) => processors),
      [['resource/node', 'batch'], ['resource/node']],
    );
    const withoutRole = renderChart({ rbac: { create: false } });
    assert.ok(withoutRole.every(({ kind }) => !kind.startsWith('ClusterRole')));
  });

  const useful: [string, object][] = [
    ['an existing service account', { serviceAccount: { create: false, name: 'mine' } }],
    ['no service account of its own', { serviceAccount: { create: false }, rbac: { create: false } }],
    ['secrets of a registry', { imagePullSecrets: [{ name: 'registry' }] }],
    [
      'more of the environment',
      { extraEnv: [{ name: 'TOKEN', value: 'x' }], extraEnvFrom: [{ secretRef: { name: 's' } }] },
    ],
    [
      'certificates',
      {
        extraVolumes: [{ name: 'ca', secret: { secretName: 'ca' } }],
        extraVolumeMounts: [{ name: 'ca', mountPath: '/etc/ca', readOnly: true }],
        config: { exporters: { otlp_grpc: { tls: { insecure: false, ca_file: '/etc/ca/ca.crt' } } } },
      },
    ],
    ['SELinux', { seLinuxOptions: { type: 'spc_t' } }],
    ['some nodes only', { nodeSelector: { pool: 'a' }, tolerations: [], affinity: { nodeAffinity: {} } }],
    ['no priority class', { priorityClassName: '' }],
    ['no machine-id', { machineId: false }],
    ['labels and annotations', { podLabels: { a: 'b' }, podAnnotations: { c: 'd' } }],
    ['long names', { fullnameOverride: 'a'.repeat(50) }],
    ['an update by hand', { updateStrategy: { type: 'OnDelete', rollingUpdate: null } }],
    ['a processor with its defaults', { config: { processors: { batch: null } } }],
    [
      'keys with nothing below them',
      {
        config: null,
        podLabels: null,
        podAnnotations: null,
        additionalLabels: null,
        resources: null,
        tolerations: null,
      },
    ],
    ['values for all charts of a parent', { global: { anything: 1 } }],
  ];
  for (const [what, values] of useful) {
    for (const tier of tiers) {
      test(`takes ${what} in the tier ${tier}`, () => {
        const manifests = renderChart({ tier, ...values });
        configOf(manifests);
        const named = manifests.filter(({ kind }) => !kind.startsWith('ClusterRole'));
        assert.ok(named.every(({ metadata }) => metadata.name.length <= 63));
        assert.equal(renderNotes({ tier, ...values }).includes('<no value>'), false);
      });
    }
  }

  const wrong: [string, object, RegExp][] = [
    ['a key with nothing below it that cannot be empty', { rbac: null }, /missing property 'rbac'/],
    ['a tier that there is not', { tier: 'root' }, /at '\/tier': value must be one of 'full', 'standard', 'minimal'/],
    ['a key that there is not', { teir: 'full' }, /additional properties 'teir' not allowed/],
    [
      'a section that there is not',
      { config: { exporter: {} } },
      /at '\/config': additional properties 'exporter' not/,
    ],
    [
      'the root of the node for its state',
      { persistence: { hostPath: '/' } },
      /at '\/persistence\/hostPath': '\/' does/,
    ],
    [
      'another label by which the chart finds its pods',
      { podLabels: { 'app.kubernetes.io/name': 'mine' } },
      /podLabels cannot have "app.kubernetes.io\/name": the chart finds its pods by it/,
    ],
    [
      'another checksum',
      { podAnnotations: { 'checksum/config': '1' } },
      /podAnnotations cannot have "checksum\/config": by it, another configuration makes other pods/,
    ],
    [
      'another name for the node',
      { extraEnv: [{ name: 'K8S_NODE_NAME', value: 'a' }] },
      /extraEnv cannot have "K8S_NODE_NAME": the chart sets it/,
    ],
    [
      'a role for the service account of all pods that name none',
      { serviceAccount: { create: false } },
      /serviceAccount.name must be given where none is created/,
    ],
    ['a relative path for sockets', { runtime: { socketFolders: ['run'] } }, /at '\/runtime\/socketFolders\/0': 'run'/],
    ['a text for a switch', { service: { enabled: 'always' } }, /at '\/service\/enabled': got string, want boolean/],
    ['a number for a tag', { image: { tag: 1.2 } }, /at '\/image\/tag': got number, want string/],
    ['half a digest', { image: { digest: 'sha256:12' } }, /at '\/image\/digest': 'sha256:12' does not match pattern/],
    ['no image', { image: { repository: '' } }, /at '\/image\/repository': minLength: got 0, want 1/],
    ['less time to end than it takes', { terminationGracePeriodSeconds: 5 }, /minimum: got 5, want 11/],
    [
      'two at a time on a node',
      { updateStrategy: { rollingUpdate: { maxSurge: 1 } } },
      /at '\/updateStrategy\/rollingUpdate': additional properties 'maxSurge' not allowed/,
    ],
    ['a port of root', { ports: { health: 80 } }, /at '\/ports\/health': minimum: got 80, want 1,?024/],
    ['a name that is too long', { fullnameOverride: 'a'.repeat(51) }, /maxLength: got 51, want 50/],
    ['the second of several', { tier: 1, machineId: 2 }, /at '\/machineId': got number, want boolean/],
  ];
  for (const [what, values, message] of wrong) {
    test(`refuses ${what}, and says where`, () => {
      assert.throws(
        () => renderChart(values),
        ({ message: said }: Error) => message.test(said) || assert.fail(said),
      );
    });
  }

  test('explains each value beside it', () => {
    const text = readFileSync(join(chartFolder, 'values.yaml'), 'utf8');
    assert.deepEqual(only<ConfigMap>(renderChart(), 'ConfigMap').data['config.yaml'], undefined);
    const schema = JSON.parse(readFileSync(join(chartFolder, 'values.schema.json'), 'utf8')) as { properties: object };
    for (const key of Object.keys(schema.properties).filter((name) => name !== 'global')) {
      assert.match(text, new RegExp(`^${key}:`, 'm'));
    }
  });
});

/** What Helm prints after an install. `helm template` leaves it out, so here it is put into an object. */
function renderNotes(values: object): string {
  const folder = mkdtempSync(join(tmpdir(), 'exit137-chart-'));
  try {
    cpSync(chartFolder, folder, { recursive: true });
    const notes = readFileSync(join(chartFolder, 'templates/NOTES.txt'), 'utf8');
    writeFileSync(
      join(folder, 'templates/notes.yaml'),
      `{{ define "notes" }}${notes}{{ end }}{kind: Notes, metadata: {name: {{ include "notes" . | quote }}}}`,
    );
    return only(renderChart(values, { chart: folder, args: ['--show-only', 'templates/notes.yaml'] }), 'Notes').metadata
      .name;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
