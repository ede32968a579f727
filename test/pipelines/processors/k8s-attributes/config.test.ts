import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { factories } from '../../../../command/components.ts';
import { loadConfig, validateConfig } from '../../../../pipelines/config.ts';
import { ConfigError } from '../../../../pipelines/errors.ts';

function problemsOf(section: string): readonly string[] {
  const text = `
processors: { k8s_attributes: ${section} }
receivers: { container_lifecycle: }
exporters: { debug: }
service: { pipelines: { logs: { receivers: [container_lifecycle], processors: [k8s_attributes], exporters: [debug] } } }`;
  try {
    validateConfig(loadConfig({ locations: [{ name: 'test', text }], env: {} }), factories);
    return [];
  } catch (error) {
    if (error instanceof ConfigError)
      return error.problems.map((problem) => problem.replace(/^.*k8s_attributes(::)?/, ''));
    throw error;
  }
}

/** What a Collector's processor of a DaemonSet has, as far as it is of pods. */
const collectors = `{ auth_type: serviceAccount, passthrough: false,
  filter: { node_from_env_var: KUBE_NODE_NAME, namespace: shop,
    fields: [{ key: status.phase, value: Running, op: equals }],
    labels: [{ key: app, value: web, op: equals }, { key: monitoring, op: exists }] },
  extract: {
    metadata: [k8s.namespace.name, k8s.pod.name, k8s.pod.uid, k8s.pod.hostname, k8s.pod.ip, k8s.pod.start_time,
      k8s.deployment.name, k8s.replicaset.name, k8s.replicaset.uid, k8s.daemonset.name, k8s.daemonset.uid,
      k8s.statefulset.name, k8s.statefulset.uid, k8s.job.name, k8s.job.uid, k8s.cronjob.name, k8s.node.name, k8s.node.uid,
      k8s.container.name, container.id, container.image.name, container.image.tag,
      service.namespace, service.name, service.version, service.instance.id],
    labels: [{ tag_name: $$1, key_regex: app\\.kubernetes\\.io/(.*), from: pod }],
    annotations: [{ tag_name: team, key: example.com/team }],
    otel_annotations: true, deployment_name_from_replicaset: true },
  pod_association: [
    { sources: [{ from: resource_attribute, name: k8s.pod.ip }] },
    { sources: [{ from: resource_attribute, name: k8s.pod.uid }] },
    { sources: [{ from: connection }] }],
  exclude: { pods: [{ name: jaeger-agent }] },
  wait_for_metadata: true, wait_for_metadata_timeout: 10s }`;

suite('the configuration of k8s_attributes', () => {
  for (const section of [
    '',
    '{ extract: , filter: }',
    '{ extract: { metadata: [k8s.pod.start_time], labels: [{ key: app }] } }',
    '{ auth_type: none, endpoint: "http://127.0.0.1:8001" }',
    '{ endpoint: "https://[2001:db8::1]:6443/" }',
    '{ pod_association: [] }',
    collectors,
  ]) {
    test(`takes ${section.split('\n', 1)[0] || 'nothing'}`, () => assert.deepEqual(problemsOf(section), []));
  }

  for (const [section, ...problems] of [
    [
      '{ extract: { metadata: [k8s.deployment.uid] } }',
      'extract::metadata::0: cannot add "k8s.deployment.uid": it would take access to replicasets; write k8s.deployment.name, which is known without',
    ],
    [
      '{ extract: { metadata: [k8s.cronjob.uid, k8s.cluster.uid, container.image.repo_digests] } }',
      'extract::metadata::0: cannot add "k8s.cronjob.uid": it would take access to jobs; write k8s.cronjob.name, which is known without',
      'extract::metadata::1: cannot add "k8s.cluster.uid": it would take access to namespaces; have the processor resource insert it',
      'extract::metadata::2: cannot add "container.image.repo_digests": write container.image.name and container.image.tag, which runtimes tell',
    ],
    [
      '{ extract: { metadata: [k8s.deploment.name] } }',
      'extract::metadata::0: unknown metadata "k8s.deploment.name"; did you mean "k8s.deployment.name"?',
    ],
    ['{ extract: { labels: [{ tag_name: a }] } }', 'extract::labels::0: expected either key or key_regex'],
    ['{ extract: { labels: [{ key: a, key_regex: b }] } }', 'extract::labels::0: expected either key or key_regex'],
    [
      '{ extract: { labels: [{ key_regex: "(" }] } }',
      'extract::labels::0::key_regex: cannot read "(" as a regular expression',
    ],
    [
      '{ extract: { labels: [{ key: a, from: namespace }] } }',
      'extract::labels::0::from: expected pod: to read other objects would take access to more than pods, got "namespace"',
    ],
    [
      '{ pod_association: [{ sources: [{ from: connection }] }] }',
      'pod_association: pods are found by k8s.pod.uid: name it as a resource_attribute, or leave this out',
    ],
    ['{ passthrough: true }', 'passthrough: expected false: to add nothing, leave the processor out, got true'],
    ['{ auth_type: kubeConfig }', 'auth_type: expected serviceAccount or none, got "kubeConfig"'],
    [
      '{ endpoint: "https://proxy.example/k8s/clusters/a" }',
      'endpoint: expected no more than a host and a port, as in https://10.96.0.1:443, got "https://proxy.example/k8s/clusters/a"',
    ],
    ['{ endpoint: 10.0.0.1 }', 'endpoint: expected a URL, as in https://10.96.0.1:443, got "10.0.0.1"'],
    [
      '{ endpoint: "http://10.0.0.1" }',
      'endpoint: would send the token in clear text: expected https, got "http://10.0.0.1"',
    ],
  ] as const) {
    test(`refuses ${section}`, () => assert.deepEqual(problemsOf(section), problems));
  }
});
