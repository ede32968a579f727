import * as z from 'zod';

const operator = ['equals', 'not-equals'] as const;

/** Which pods, besides those of the node: as the Collector's filter. */
export const selectionShape = {
  /** Only those of one namespace: a role in that is enough then. */
  namespace: z.string().min(1).optional(),
  /** Only those with these labels. */
  labels: z
    .array(
      z.strictObject({
        key: z.string().min(1),
        value: z.string().default(''),
        op: z.enum([...operator, 'exists', 'does-not-exist']).default('equals'),
      }),
    )
    .default([]),
  /** Only those with these fields, of the few by which the API server can select. */
  fields: z
    .array(
      z.strictObject({
        key: z.string().min(1),
        value: z.string().default(''),
        op: z.enum(operator).default('equals'),
      }),
    )
    .default([]),
};

type Filter = z.infer<z.ZodObject<typeof selectionShape>>;

/** Which pods the API server is asked for. */
export interface PodSelection {
  path: string;
  /** Of each list and each watch. */
  query: { fieldSelector: string; labelSelector?: string };
}

/** The pods of a node that `filter` takes. */
export function selectPods(node: string, { namespace, labels, fields }: Filter): PodSelection {
  const path = namespace === undefined ? '/api/v1/pods' : `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`;
  const fieldSelector = [{ key: 'spec.nodeName', value: node, op: 'equals' as const }, ...fields]
    .map(requirement)
    .join();
  const labelSelector = labels.map(requirement).join();
  return { path, query: { fieldSelector, ...(labelSelector !== '' && { labelSelector }) } };
}

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors */
function requirement({ key, value, op }: Filter['labels'][number]): string {
  switch (op) {
    case 'equals':
      return `${key}=${value}`;
    case 'not-equals':
      return `${key}!=${value}`;
    case 'exists':
      return key;
    case 'does-not-exist':
      return `!${key}`;
  }
}
