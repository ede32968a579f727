import type { ApiServerConfig } from './api-server.ts';
import type { K8sAttributesConfig } from './config.ts';
import { selectPods, type PodSelection } from './selection.ts';

/** Whose pods are watched, and where. */
export interface Cluster {
  /** The name that the API has for this node. */
  node: string;
  pods: PodSelection;
  server: Omit<ApiServerConfig, 'userAgent'>;
}

/** What the configuration says, else the environment of a pod. Throws where neither tells which node this is, or where. */
export function findCluster(config: K8sAttributesConfig, env: NodeJS.ProcessEnv): Cluster {
  const { auth_type, ca_file, token_file } = config;
  const tokenFile = auth_type === 'serviceAccount' ? token_file : undefined;
  const node = nodeName(config, env);
  const pods = selectPods(node, config.filter);
  return { node, pods, server: { url: serverUrl(config, env), caFile: ca_file, tokenFile } };
}

/** Throws where nothing says which node this is. */
function nodeName({ filter: { node, node_from_env_var } }: K8sAttributesConfig, env: NodeJS.ProcessEnv): string {
  const name = node ?? env[node_from_env_var];
  if (name !== undefined && name !== '') return name;
  throw new Error(
    `cannot tell which node this is: the environment variable ${node_from_env_var} is not set, nor is filter::node`,
  );
}

/** Throws where nothing says where the API server is. */
function serverUrl({ endpoint }: K8sAttributesConfig, env: NodeJS.ProcessEnv): string {
  if (endpoint !== undefined) return new URL(endpoint).origin;
  const host = env['KUBERNETES_SERVICE_HOST'];
  const port = env['KUBERNETES_SERVICE_PORT'];
  if (host === undefined || port === undefined || host === '' || port === '') {
    throw new Error(
      'cannot find the API server: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, nor is endpoint',
    );
  }
  return `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
