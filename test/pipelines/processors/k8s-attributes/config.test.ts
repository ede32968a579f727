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

suite('the configuration of k8s_attributes', () => {
  for (const section of [
    '',
    '{ extract: , filter: }',
    '{ extract: { metadata: [k8s.pod.start_time], labels: [{ key: app }] } }',
    '{ auth_type: none, endpoint: "http://127.0.0.1:8001" }',
  ]) {
    test(`takes ${section || 'nothing'}`, () => assert.deepEqual(problemsOf(section), []));
  }

  for (const [section, problem] of [
    [
      '{ extract: { metadata: [k8s.deployment.uid] } }',
      'extract::metadata::0: cannot add "k8s.deployment.uid": it would take access to replicasets; k8s.deployment.name is known without',
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
      'extract::labels::0::from: expected pod, got "namespace"',
    ],
    ['{ pod_association: [] }', 'pod_association: unknown key'],
    ['{ auth_type: kubeConfig }', 'auth_type: expected serviceAccount or none, got "kubeConfig"'],
    ['{ endpoint: 10.0.0.1 }', 'endpoint: expected a URL, as in https://10.96.0.1:443, got "10.0.0.1"'],
    [
      '{ endpoint: "http://10.0.0.1" }',
      'endpoint: would send the token in clear text: expected https, got "http://10.0.0.1"',
    ],
  ] as const) {
    test(`refuses ${section}`, () => assert.deepEqual(problemsOf(section), [problem]));
  }
});
