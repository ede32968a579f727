import type { Attributes } from '@opentelemetry/api';
import { resourceFromAttributes, type Resource } from '@opentelemetry/resources';
import type { MetadataName } from './config.ts';
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
  readonly #metadata: ReadonlySet<MetadataName>;
  readonly #made = new WeakMap<Resource, Enriched>();

  /** `metadata` is what is asked for. */
  constructor(table: PodTable, metadata: readonly MetadataName[]) {
    this.#table = table;
    this.#metadata = new Set(metadata);
  }

  /** What a resource has already is left as it is. */
  enrich(original: Resource): Resource {
    const uid = podUidOf(original);
    if (uid === undefined) return original;
    const made = this.#made.get(original);
    const attributes = this.#table.get(uid)?.attributes;
    if (attributes === undefined) return made?.resource ?? original;
    const nodeUid = this.#metadata.has('k8s.node.uid') ? this.#table.nodeUid : undefined;
    if (made?.attributes === attributes && made.nodeUid === nodeUid) return made.resource;
    const known = { ...attributes, ...(nodeUid !== undefined && { 'k8s.node.uid': nodeUid }), ...original.attributes };
    const resource = resourceFromAttributes({ ...this.#serviceOf(known), ...known }, { schemaUrl: original.schemaUrl });
    this.#made.set(original, { attributes, nodeUid, resource });
    return resource;
  }

  /**
   * What of its service only the container tells:
   * https://opentelemetry.io/docs/specs/semconv/non-normative/k8s-attributes/
   */
  #serviceOf(known: Attributes): Attributes {
    const service: Attributes = {};
    const tag = known['container.image.tag'];
    if (this.#metadata.has('service.version') && tag !== undefined) service['service.version'] = tag;
    const names = ['k8s.namespace.name', 'k8s.pod.name', 'k8s.container.name'].map((name) => known[name]);
    if (this.#metadata.has('service.instance.id') && names.every((name) => typeof name === 'string')) {
      service['service.instance.id'] = names.join('.');
    }
    return service;
  }
}
