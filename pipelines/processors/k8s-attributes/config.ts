import * as z from 'zod';
import { nearest } from '../../config-issues.ts';
import { section } from '../../exporters/sending/config.ts';
import { duration } from '../../units.ts';
import { selectionShape } from './selection.ts';

/** What `extract::metadata` can name, and whether it is given by default. */
const metadataNames = {
  'k8s.namespace.name': true,
  'k8s.node.name': true,
  'k8s.node.uid': true,
  'k8s.pod.name': true,
  'k8s.pod.uid': true,
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
  'k8s.container.name': false,
  'container.id': false,
  'container.image.name': false,
  'container.image.tag': false,
  'service.namespace': false,
  'service.name': false,
  'service.version': false,
  'service.instance.id': false,
} as const;

/** An attribute that `extract::metadata` can name. */
export type MetadataName = keyof typeof metadataNames;

/** What the Collector's processor has too and this one does without, and why. */
const elsewhere: Record<string, string> = {
  'k8s.deployment.uid': 'it would take access to replicasets; write k8s.deployment.name, which is known without',
  'k8s.cronjob.uid': 'it would take access to jobs; write k8s.cronjob.name, which is known without',
  'k8s.cluster.uid': 'it would take access to namespaces; have the processor resource insert it',
  'container.image.repo_digests': 'write container.image.name and container.image.tag, which runtimes tell',
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
    from: z.literal('pod', 'expected pod: to read other objects would take access to more than pods').default('pod'),
  })
  .refine(
    ({ key, key_regex }) => (key === undefined) !== (key_regex === undefined),
    'expected either key or key_regex',
  );

/** A label or an annotation, or several, that become attributes. */
export type ExtractionRule = z.infer<typeof rule>;

const association = z.strictObject({
  sources: z
    .array(z.strictObject({ from: z.enum(['resource_attribute', 'connection']), name: z.string().optional() }))
    .min(1)
    .max(4),
});

/** The receiver gives these to what it tells of a pod; whatever else rules may name finds no other pod than they do. */
const associable = new Set(['k8s.pod.uid', 'container.id']);

const associations = z
  .array(association)
  .refine(
    (rules) =>
      rules.length === 0 || rules.some(({ sources }) => sources.every(({ name = '' }) => associable.has(name))),
    'pods are found by k8s.pod.uid: name it as a resource_attribute, or leave this out',
  );

/** Nothing that would be left out unsaid: a proxy's path, say. */
function isOrigin(url: string): boolean {
  return !URL.canParse(url) || new URL(url).href === `${new URL(url).origin}/`;
}

const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

export const configSchema = z
  .strictObject({
    /** serviceAccount: with the token of the pod that this runs in; none: without a token. */
    auth_type: z.enum(['serviceAccount', 'none']).default('serviceAccount'),
    /** The API server; by default where KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT say. */
    endpoint: z
      .url({ protocol: /^https?$/, error: 'expected a URL, as in https://10.96.0.1:443' })
      .refine(isOrigin, 'expected no more than a host and a port, as in https://10.96.0.1:443')
      .optional(),
    ca_file: z.string().default(`${serviceAccountFolder}/ca.crt`),
    token_file: z.string().default(`${serviceAccountFolder}/token`),
    filter: section(
      z.strictObject({
        /** Name of the node whose pods are watched. */
        node: z.string().min(1).optional(),
        /** … or the environment variable that has it. */
        node_from_env_var: z.string().min(1).default('K8S_NODE_NAME'),
        ...selectionShape,
      }),
    ),
    extract: section(
      z.strictObject({
        metadata: z.array(metadataName).default(defaultMetadata()),
        labels: z.array(rule).default([]),
        annotations: z.array(rule).default([]),
        /** Annotations that begin with `resource.opentelemetry.io/` become attributes, named as what follows. */
        otel_annotations: z.boolean().default(false),
        /** There is no other way here. */
        deployment_name_from_replicaset: z.boolean().default(true),
      }),
    ),
    /** As the Collector's rules; pods are found by `k8s.pod.uid` in any case. */
    pod_association: associations.default([]),
    exclude: section(
      z.strictObject({
        /** Regular expressions that match the names of pods as a whole: nothing is added to what is of these. */
        pods: z.array(z.strictObject({ name: keyRegex })).default([]),
      }),
    ),
    /** There is nothing to pass on: leave the processor out. */
    passthrough: z.literal(false, 'expected false: to add nothing, leave the processor out').default(false),
    /** The service starts no receiver before the pods are known, and ends where they are not in time. */
    wait_for_metadata: z.boolean().default(false),
    wait_for_metadata_timeout: duration.default(10_000),
    /** How long a log record of a pod that is not known yet waits for it. */
    wait_for_pod: duration.default(2_000),
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
