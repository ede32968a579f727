import type { Attributes } from '@opentelemetry/api';
import { resourceFromAttributes, type Resource } from '@opentelemetry/resources';
import type { PodTable } from './pod-table.ts';

interface Enriched {
  readonly attributes: Attributes;
  readonly nodeUid: string | undefined;
  readonly resource: Resource;
}

/** The attribute that a resource and its pod have in common. */
export function podUidOf({ attributes }: Resource): string | undefined {
  const uid = attributes['k8s.pod.uid'];
  return typeof uid === 'string' ? uid : undefined;
}

/**
 * Adds to resources what is known of their pods. One resource becomes one other, as long as its pod does not change:
 * serializers group by identity. It stays what it was when its pod is forgotten.
 */
export class Enrichment {
  readonly #table: PodTable;
  readonly #withNodeUid: boolean;
  readonly #made = new WeakMap<Resource, Enriched>();

  constructor(table: PodTable, withNodeUid: boolean) {
    this.#table = table;
    this.#withNodeUid = withNodeUid;
  }

  /** What a resource has already is left as it is. */
  enrich(original: Resource): Resource {
    const uid = podUidOf(original);
    if (uid === undefined) return original;
    const made = this.#made.get(original);
    const attributes = this.#table.get(uid)?.attributes;
    if (attributes === undefined) return made?.resource ?? original;
    const nodeUid = this.#withNodeUid ? this.#table.nodeUid : undefined;
    if (made?.attributes === attributes && made.nodeUid === nodeUid) return made.resource;
    const resource = resourceFromAttributes(
      { ...attributes, ...(nodeUid !== undefined && { 'k8s.node.uid': nodeUid }), ...original.attributes },
      { schemaUrl: original.schemaUrl },
    );
    this.#made.set(original, { attributes, nodeUid, resource });
    return resource;
  }
}
