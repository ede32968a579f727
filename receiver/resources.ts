import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { resourceFromAttributes, type Resource } from '@opentelemetry/resources';
import type { Config } from './config.ts';
import type { Container } from './container-table.ts';
import { resourceAttributes, type ResourceAttributeName } from './metadata.ts';

type ResourceFacts = Partial<Record<ResourceAttributeName, string>>;

/**
 * Makes the resources of what we send, one object for each identity as long as its facts stay the same: serializers
 * group log records by identity of the resource.
 */
export class Resources {
  readonly #host: ResourceFacts;
  readonly #enabled: ReadonlySet<string>;
  /** The node itself: host.name, host.id, os.type. */
  readonly node: Resource;
  readonly #made = new WeakMap<Container, { factsVersion: number; metrics: Resource; logs: Resource }>();

  constructor(config: Config, host: ResourceFacts) {
    this.#host = host;
    this.#enabled = enabledAttributes(config);
    this.node = this.#make(host);
  }

  /** Of a container's metrics. */
  ofMetrics(container: Container): Resource {
    return this.#of(container).metrics;
  }

  /** Of a container's log records, which name the node as well. */
  ofLogs(container: Container): Resource {
    return this.#of(container).logs;
  }

  #of(container: Container): { metrics: Resource; logs: Resource } {
    const known = this.#made.get(container);
    if (known?.factsVersion === container.factsVersion) return known;
    const facts = containerFacts(container);
    const made = {
      factsVersion: container.factsVersion,
      metrics: this.#make(facts),
      logs: this.#make({ ...facts, ...this.#host }),
    };
    this.#made.set(container, made);
    return made;
  }

  #make(facts: ResourceFacts): Resource {
    const kept = Object.entries(facts).filter(([name, value]) => value !== undefined && this.#enabled.has(name));
    return resourceFromAttributes(Object.fromEntries(kept));
  }
}

/** What identifies the machine whose root file system is at `rootPath`. */
export function readHost(rootPath: string): ResourceFacts {
  // Inside a container our own host name is the container's.
  const name = rootPath === '/' ? undefined : readLine(join(rootPath, 'etc/hostname'));
  return { 'host.name': name ?? hostname(), 'host.id': readLine(join(rootPath, 'etc/machine-id')), 'os.type': 'linux' };
}

function containerFacts({ id, name, image, runtime }: Container): ResourceFacts {
  const reference = image === undefined ? undefined : splitImage(image);
  return {
    'container.id': id,
    'container.name': name,
    'container.image.name': reference?.name,
    'container.image.tag': reference?.tag,
    'container.runtime': runtime,
  };
}

/**
 * Splits an image reference: `registry:5000/team/app:1.2@sha256:…` is `registry:5000/team/app` and `1.2`. A bare image
 * id has neither name nor tag. Grammar: distribution/reference.
 */
export function splitImage(reference: string): { name: string; tag?: string } | undefined {
  if (/^(sha256:)?[0-9a-f]{64}$/.test(reference)) return undefined;
  const withoutDigest = reference.split('@', 1)[0] ?? '';
  const colon = withoutDigest.lastIndexOf(':');
  if (colon <= withoutDigest.lastIndexOf('/')) return { name: withoutDigest };
  return { name: withoutDigest.slice(0, colon), tag: withoutDigest.slice(colon + 1) };
}

function enabledAttributes({ resource_attributes: switches }: Config): ReadonlySet<string> {
  const enabled = Object.entries(resourceAttributes).filter(
    ([name, definition]) => switches[name]?.enabled ?? definition.enabled,
  );
  return new Set(enabled.map(([name]) => name));
}

function readLine(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim() || undefined;
  } catch {
    return undefined;
  }
}
