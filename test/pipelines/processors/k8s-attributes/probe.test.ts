import assert from 'node:assert/strict';
import { suite, test, type TestContext } from 'node:test';
import type { Finding } from '../../../../pipelines/component.ts';
import { configSchema } from '../../../../pipelines/processors/k8s-attributes/config.ts';
import { probe } from '../../../../pipelines/processors/k8s-attributes/probe.ts';
import { answerPods, list, refuse, watch } from './api-at-the-wire.ts';
import { makePodObject } from './make-pod.ts';

const env = { K8S_NODE_NAME: 'node-1' };

async function find(
  context: TestContext,
  ...answers: Parameters<typeof answerPods>
): Promise<Finding & { at: string }> {
  const api = await answerPods(...answers);
  context.after(() => api.close());
  const finding = await probe(configSchema.parse({ auth_type: 'none', endpoint: api.endpoint }), env);
  return { at: api.endpoint, ...finding };
}

suite('what the doctor finds of the API server', () => {
  test('is the number of pods that it may watch', async (context) => {
    const { at, ...finding } = await find(context, list([makePodObject()]), watch());
    assert.deepEqual(finding, { what: 'Kubernetes API', state: 'found', detail: `1 pod of node "node-1" at ${at}` });
  });

  test('is the verb that is missing', async (context) => {
    // kube-apiserver 1.33.
    const forbidden = (verb: string) =>
      `pods is forbidden: User "system:serviceaccount:shop:exit137" cannot ${verb} resource "pods" in API group "" at the cluster scope`;
    const unlisted = await find(context, refuse(403, forbidden('list')));
    assert.equal(unlisted.state, 'missing');
    assert.ok(unlisted.detail.includes(`cannot watch pods at ${unlisted.at}: HTTP 403: ${forbidden('list')}`));
    assert.match(unlisted.grant ?? '', /^the verb list is missing: bind a ClusterRole/);
    const unwatched = await find(context, list([makePodObject()]), refuse(403, forbidden('watch')));
    assert.match(unwatched.grant ?? '', /^the verb watch is missing: bind a ClusterRole/);
  });

  test('is a token that is not good', async (context) => {
    const { detail, grant } = await find(context, refuse(401, 'Unauthorized'));
    assert.match(detail, /HTTP 401: Unauthorized$/);
    assert.match(grant ?? '', /token_file/);
  });

  test('is a node of another name', async (context) => {
    const { at, state, detail, grant } = await find(context, list([]), watch());
    assert.deepEqual([state, detail], ['missing', `${at} knows no pod on node "node-1"`]);
    assert.match(grant ?? '', /kubectl get nodes/);
  });

  test('is that nobody is there, or nobody answers', async (context) => {
    const api = await answerPods(list([]));
    await api.close();
    const away = await probe(configSchema.parse({ auth_type: 'none', endpoint: api.endpoint }), env);
    assert.equal(away.state, 'missing');
    assert.match(away.detail, /^cannot watch pods at .*ECONNREFUSED/);
    const silent = await find(context, () => {});
    assert.match(silent.detail, /no answer within 5 s$/);
  });

  test('is what of its surroundings it lacks', async () => {
    const server = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: '1' };
    const [nameless, outside, tokenless] = await Promise.all([
      probe(configSchema.parse({}), server),
      probe(configSchema.parse({}), env),
      probe(configSchema.parse({ token_file: '/none/token' }), { ...env, ...server }),
    ]);
    assert.match(nameless.detail, /^cannot tell which node this is: .*K8S_NODE_NAME is not set/);
    assert.match(nameless.grant ?? '', /spec\.nodeName/);
    assert.match(outside.detail, /^cannot find the API server: KUBERNETES_SERVICE_HOST/);
    assert.match(tokenless.detail, /cannot read token_file "\/none\/token": ENOENT/);
    assert.match(tokenless.grant ?? '', /automountServiceAccountToken/);
  });
});
