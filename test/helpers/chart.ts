import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import { helmBinary } from './helm-binary.ts';

/** The chart that users install. */
export const chartFolder = join(import.meta.dirname, '../../helm');

/** The privilege tiers, most first. */
export const tiers = ['full', 'standard', 'minimal'] as const;
export type Tier = (typeof tiers)[number];

/** What of a rendered object the tests look at. */
export interface Manifest {
  kind: string;
  metadata: { name: string; annotations?: Record<string, string> };
}

export interface SecurityContext {
  privileged?: boolean;
  readOnlyRootFilesystem?: boolean;
  allowPrivilegeEscalation?: boolean;
  capabilities?: { drop?: string[]; add?: string[] };
}

export interface Container {
  image: string;
  args: string[];
  env: { name: string }[];
  securityContext: SecurityContext;
  volumeMounts: { name: string; mountPath: string; readOnly?: boolean; mountPropagation?: string }[];
  resources: { limits?: Record<string, string> };
}

export interface PodSpec {
  automountServiceAccountToken: boolean;
  terminationGracePeriodSeconds: number;
  tolerations: unknown[];
  securityContext: {
    runAsUser: number;
    runAsGroup: number;
    runAsNonRoot?: boolean;
    seccompProfile: { type: string };
  };
  containers: Container[];
  volumes: { name: string; hostPath?: { path: string }; emptyDir?: object; configMap?: { name: string } }[];
}

export interface DaemonSet extends Manifest {
  spec: { template: { metadata: { annotations: Record<string, string> }; spec: PodSpec } };
}

export interface ConfigMap extends Manifest {
  data: Record<string, string>;
}

/** What Helm says; `status` is its exit code. */
export function runHelm(
  args: readonly string[],
  input = '',
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(helmBinary(), args, { encoding: 'utf8', input, timeout: 60_000 });
}

/** `helm template` with these values. Throws what Helm says where it refuses them. */
export function renderChart(
  values: object = {},
  { args = [] as readonly string[], chart = chartFolder } = {},
): Manifest[] {
  const all = ['template', 'release', chart, '--namespace', 'observability', '--values', '-', ...args];
  const { status, stdout, stderr } = runHelm(all, stringify(values));
  if (status !== 0) throw new Error(stderr);
  return parseAllDocuments(stdout).flatMap((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0];
    return document.contents === null ? [] : [document.toJS() as Manifest];
  });
}

/** The only one of a kind. */
export function only<T extends Manifest>(manifests: readonly Manifest[], kind: T['kind']): T {
  const found = manifests.filter((manifest) => manifest.kind === kind);
  if (found.length !== 1) throw new Error(`expected one ${kind}, got ${found.length}`);
  return found[0] as T;
}

/** Of the DaemonSet. */
export function podOf(manifests: readonly Manifest[]): PodSpec {
  return only<DaemonSet>(manifests, 'DaemonSet').spec.template.spec;
}
