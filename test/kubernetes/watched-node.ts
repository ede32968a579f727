import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Attributes } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { SharedProcessor } from '../../pipelines/component.ts';
import { k8sAttributes } from '../../pipelines/processors/k8s-attributes.ts';
import { makeSettings, type TestSettings } from '../helpers/component-settings.ts';
import { makeLog } from '../helpers/telemetry.ts';
import type { ApiObject, KubernetesApi } from './api-server.ts';

/** A namespace with an account that may read pods, and the pods of one node in it. */
export interface WatchedNode {
  namespace: string;
  nodeName: string;
  /** Makes a pod that runs on the node; nobody runs it. */
  createPod(name: string, pod?: { metadata?: object; spec?: object }): Promise<ApiObject>;
  /** As `kubectl delete --now`. */
  deletePod(name: string): Promise<void>;
  /** Adds to its labels. */
  label(name: string, labels: Record<string, string>): Promise<void>;
  /** Lets the account read pods. */
  grant(): Promise<void>;
  /** Takes that back. */
  revoke(): Promise<void>;
  /** A token of the account, which is good as long as a secret of that name exists where one is given. */
  makeToken(boundTo?: string): Promise<string>;
}

/** What the chart's role may do, and no more. */
const rules = [{ apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] }];

/** `name` tells it apart from others of the same server. */
export async function makeNode(api: KubernetesApi, name: string): Promise<WatchedNode> {
  const nodeName = `node-${name}`;
  const pods = `/api/v1/namespaces/${name}/pods`;
  const accounts = `/api/v1/namespaces/${name}/serviceaccounts`;
  const rbac = '/apis/rbac.authorization.k8s.io/v1';
  await api.request('POST', '/api/v1/namespaces', { metadata: { name } });
  await api.request('POST', accounts, { metadata: { name: 'exit137' } });
  await api.request('POST', `${rbac}/clusterroles`, { metadata: { name }, rules });

  const grant = async (): Promise<void> => {
    await api.request('POST', `${rbac}/clusterrolebindings`, {
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
      subjects: [{ kind: 'ServiceAccount', name: 'exit137', namespace: name }],
    });
  };
  await grant();
  return {
    namespace: name,
    nodeName,
    createPod: (podName, { metadata, spec } = {}) =>
      api.request('POST', pods, {
        metadata: { name: podName, ...metadata },
        spec: { nodeName, containers: [{ name: 'main', image: 'localhost/none' }], ...spec },
      }),
    deletePod: async (podName) => void (await api.request('DELETE', `${pods}/${podName}?gracePeriodSeconds=0`)),
    label: async (podName, labels) => {
      const pod = await api.request('GET', `${pods}/${podName}`);
      const metadata = { ...pod.metadata, labels: { ...(pod.metadata['labels'] as object | undefined), ...labels } };
      await api.request('PUT', `${pods}/${podName}`, { ...pod, metadata });
    },
    grant,
    revoke: async () => void (await api.request('DELETE', `${rbac}/clusterrolebindings/${name}`)),
    makeToken: async (boundTo) => {
      const boundObjectRef = { kind: 'Secret', apiVersion: 'v1', name: boundTo };
      const spec = { expirationSeconds: 3600, ...(boundTo !== undefined && { boundObjectRef }) };
      const made = await api.request('POST', `${accounts}/exit137/token`, { spec });
      return (made['status'] as { token: string }).token;
    },
  };
}

/** The processor at work, and what it makes of resources. */
export interface RunningProcessor {
  settings: TestSettings;
  processor: SharedProcessor;
  /** What a log record's resource has that is of this pod. */
  attributesOf(uid: string): Promise<Attributes>;
  tokenFile: string;
  /** What is in the file of the account's token from now on. */
  setToken(token: string): void;
  stop(): Promise<void>;
}

/** Starts the processor with a token of the node's account. */
export async function startProcessor(
  api: KubernetesApi,
  node: WatchedNode,
  config: { [key: string]: unknown; token?: string } = {},
): Promise<RunningProcessor> {
  const folder = mkdtempSync(join(tmpdir(), 'exit137-account-'));
  const tokenFile = join(folder, 'token');
  const { token = await node.makeToken(), ...rest } = config;
  writeFileSync(tokenFile, token);
  const settings = makeSettings('k8s_attributes');
  const parsed = k8sAttributes.configSchema.parse({
    endpoint: api.url,
    ca_file: api.caFile,
    token_file: tokenFile,
    filter: { node: node.nodeName },
    ...rest,
  });
  const processor = k8sAttributes.createShared(parsed, settings);
  await processor.start();
  return {
    settings,
    processor,
    tokenFile,
    attributesOf: async (uid) => {
      const { promise, resolve } = Promise.withResolvers<Attributes>();
      const logs = processor.createLogs({ consumeLogs: async ([record]) => resolve(record!.resource.attributes) });
      await logs.consumeLogs([makeLog({ resource: resourceFromAttributes({ 'k8s.pod.uid': uid }) })]);
      return promise;
    },
    setToken: (changed) => writeFileSync(tokenFile, changed),
    stop: async () => {
      await processor.shutdown(AbortSignal.timeout(5_000));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
