import type { Finding } from '../../component.ts';
import { describeError } from '../../errors.ts';
import { ApiError, ApiServer } from './api-server.ts';
import { findCluster, type Cluster } from './cluster.ts';
import type { K8sAttributesConfig } from './config.ts';
import { PodTable } from './pod-table.ts';
import { PodWatch } from './pod-watch.ts';

const what = 'Kubernetes API';
const lost = 'what owns a pod, its labels and annotations; without a runtime, names as well';

/** A person waits for this. */
const patienceMs = 5_000;

/** Whether the node's pods can be watched: begins the very watch that a processor with this configuration would. */
export async function probe(config: K8sAttributesConfig, env: NodeJS.ProcessEnv): Promise<Finding> {
  let cluster: Cluster;
  try {
    cluster = findCluster(config, env);
  } catch (error) {
    const { node_from_env_var } = config.filter;
    const grant = `in the pod, set ${node_from_env_var} from the field spec.nodeName; elsewhere, set filter::node and endpoint`;
    return { what, state: 'missing', detail: describeError(error), lost, grant };
  }
  const { node, server } = cluster;
  try {
    const pods = await countPods(cluster);
    if (pods > 0)
      return {
        what,
        state: 'found',
        detail: `${pods === 1 ? '1 pod' : `${pods} pods`} of node "${node}" at ${server.url}`,
      };
    const grant = `give the node its name in the API: kubectl get nodes`;
    return { what, state: 'missing', detail: `${server.url} knows no pod on node "${node}"`, lost, grant };
  } catch (error) {
    const detail = `cannot watch pods at ${server.url}: ${describeError(error)}`;
    return { what, state: 'missing', detail, lost, grant: grantFor(error, cluster) };
  }
}

/** Resolves once the watch has begun; rejects with what it fails at first, or where nothing comes for too long. */
async function countPods({ pods, server }: Cluster): Promise<number> {
  const api = new ApiServer({ ...server, userAgent: 'exit137-doctor' });
  const table = new PodTable(() => ({}));
  const began = Promise.withResolvers<void>();
  const watcher = { listing: () => {}, unusable: () => {}, up: began.resolve, down: began.reject };
  const stop = new AbortController();
  const timer = setTimeout(() => began.reject(new Error(`no answer within ${patienceMs / 1_000} s`)), patienceMs);
  const running = new PodWatch(api, pods, table, watcher).run(stop.signal);
  try {
    await began.promise;
    return table.size;
  } finally {
    clearTimeout(timer);
    stop.abort();
    await api.close();
    await running;
  }
}

/**
 * The server says which verb it refuses: `pods is forbidden: User "system:serviceaccount:shop:exit137" cannot watch
 * resource "pods" in API group "" at the cluster scope` (v1.33)
 */
function grantFor(error: unknown, { server }: Cluster): string {
  if (!(error instanceof ApiError)) {
    return server.tokenFile === undefined
      ? 'let this reach the API server: see endpoint, ca_file and the network policies'
      : 'let this reach the API server: see endpoint, ca_file, token_file and the network policies; a pod has the files where automountServiceAccountToken is not false';
  }
  if (error.code === 401)
    return 'give it a token of this cluster: see token_file, endpoint and whether the service account is still there';
  if (error.code !== 403) return "see the API server's own log";
  const verb = / cannot (\w+) resource /.exec(error.message)?.[1];
  const missing = verb === undefined ? '' : `the verb ${verb} is missing: `;
  return `${missing}bind a ClusterRole with get, list and watch on pods to that user (the chart does with rbac.create)`;
}
