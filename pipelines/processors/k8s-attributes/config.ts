import * as z from 'zod';
import { nearest } from '../../config-issues.ts';
import { section } from '../../exporters/sending/config.ts';
import { duration } from '../../units.ts';

/** Attributes of a pod that can be had from the pod alone, and whether they are given by default. */
const metadataNames = {
  'k8s.namespace.name': true,
  'k8s.node.name': true,
  'k8s.node.uid': true,
  'k8s.pod.name': true,
  'k8s.pod.hostname': false,
  'k8s.pod.ip': false,
  'k8s.pod.start_time': false,
  'k8s.deployment.name': true,
  'k8s.replicaset.name': true,
  'k8s.replicaset.uid': true,
  'k8s.statefulset.name': true,
  'k8s.statefulset.uid': true,
  'k8s.daemonset.name': true,
  'k8s.daemonset.uid': true,
  'k8s.job.name': true,
  'k8s.job.uid': true,
  'k8s.cronjob.name': true,
} as const;

/** An attribute that `extract::metadata` can name. */
export type MetadataName = keyof typeof metadataNames;

/** What the Collector's processor has too and this one does without, and why. */
const elsewhere: Record<string, string> = {
  'k8s.pod.uid': 'pods are found by it, so it is there already',
  'k8s.deployment.uid': 'it would take access to replicasets; k8s.deployment.name is known without',
  'k8s.cronjob.uid': 'it would take access to jobs; k8s.cronjob.name is known without',
  'k8s.cluster.uid': 'it would take access to namespaces; the resource processor sets k8s.cluster.name',
  'k8s.container.name': 'the receiver gives it',
  'container.id': 'the receiver gives it',
  'container.image.name': 'the receiver gives it',
  'container.image.tag': 'the receiver gives it',
};

const metadataName = z.string().check((context) => {
  const { value } = context;
  if (Object.hasOwn(metadataNames, value)) return;
  const reason = elsewhere[value];
  const message =
    reason === undefined
      ? `unknown metadata "${value}"${nearest(value, Object.keys(metadataNames))}`
      : `cannot add "${value}": ${reason}`;
  context.issues.push({ code: 'custom', input: value, message });
}) as z.ZodType<MetadataName>;

const keyRegex = z.string().check((context) => {
  const { value } = context;
  try {
    wholeKey(value);
  } catch (error) {
    context.issues.push({ code: 'custom', input: value, message: (error as Error).message });
  }
});

/** Matches keys as a whole, as the Collector does. Throws where it is no regular expression. */
export function wholeKey(pattern: string): RegExp {
  try {
    return new RegExp(`^(?:${pattern})$`, 'u');
  } catch (error) {
    throw new Error(`cannot read "${pattern}" as a regular expression`, { cause: error });
  }
}

const rule = z
  .strictObject({
    /** Name of the attribute; by default `k8s.pod.label.<key>` or `k8s.pod.annotation.<key>`. With `key_regex`, `$1` is its first group. */
    tag_name: z.string().min(1).optional(),
    key: z.string().min(1).optional(),
    /** Matches whole keys. */
    key_regex: keyRegex.optional(),
    from: z.literal('pod').default('pod'),
  })
  .refine(
    ({ key, key_regex }) => (key === undefined) !== (key_regex === undefined),
    'expected either key or key_regex',
  );

/** A label or an annotation, or several, that become attributes. */
export type ExtractionRule = z.infer<typeof rule>;

const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

export const configSchema = z
  .strictObject({
    /** serviceAccount: with the token of the pod that this runs in; none: without a token. */
    auth_type: z.enum(['serviceAccount', 'none']).default('serviceAccount'),
    /** The API server; by default where KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT say. */
    endpoint: z.url({ protocol: /^https?$/, error: 'expected a URL, as in https://10.96.0.1:443' }).optional(),
    ca_file: z.string().default(`${serviceAccountFolder}/ca.crt`),
    token_file: z.string().default(`${serviceAccountFolder}/token`),
    filter: section(
      z.strictObject({
        /** Name of the node whose pods are watched. */
        node: z.string().min(1).optional(),
        /** … or the environment variable that has it. */
        node_from_env_var: z.string().min(1).default('K8S_NODE_NAME'),
      }),
    ),
    extract: section(
      z.strictObject({
        metadata: z.array(metadataName).default(defaultMetadata()),
        labels: z.array(rule).default([]),
        annotations: z.array(rule).default([]),
      }),
    ),
    /** Log records of a pod that is not known yet wait for it. */
    wait_for_metadata: z.boolean().default(true),
    /** … for so long. */
    wait_for_metadata_timeout: duration.default(2_000),
  })
  .check((context) => {
    const { auth_type, endpoint } = context.value;
    if (auth_type === 'none' || endpoint?.startsWith('http:') !== true) return;
    const message = 'would send the token in clear text: expected https';
    context.issues.push({ code: 'custom', input: endpoint, path: ['endpoint'], message });
  });

/** The section `k8s_attributes`. Durations in milliseconds. */
export type K8sAttributesConfig = z.infer<typeof configSchema>;

function defaultMetadata(): MetadataName[] {
  return Object.entries(metadataNames).flatMap(([name, isDefault]) => (isDefault ? [name as MetadataName] : []));
}
