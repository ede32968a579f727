import { readFileSync } from 'node:fs';
import type * as z from 'zod';
import type { Factories, SignalKind } from './component.ts';
import { expandTree, resolveReference, type ExpandedTree } from './config-expand.ts';
import {
  emptyTree,
  findOrigin,
  inOrderOfPlace,
  isMapValue,
  mergeTrees,
  parseSetting,
  parseTree,
  pathOf,
  type ConfigMap,
  type ConfigTree,
  type ConfigValue,
} from './config-tree.ts';
import { ConfigError, describeError } from './errors.ts';
import { nearest, showValue } from './config-issues.ts';
import { parseSection } from './config-section.ts';
import { telemetrySchema, type TelemetryConfig } from './telemetry-config.ts';

/** One component that is configured, with its section parsed by its own schema. */
export interface ConfiguredComponent<F> {
  /** `type` or `type/name`, as configured. */
  id: string;
  factory: F;
  config: unknown;
  /** Id of the extension that it keeps state in. */
  storage?: string;
}

/** One pipeline: ids in the order of the configuration. */
export interface PipelineConfig {
  /** `metrics`, `logs/audit`. */
  id: string;
  signal: SignalKind;
  receivers: readonly string[];
  processors: readonly string[];
  exporters: readonly string[];
}

/** A configuration that holds together: every id that is used is configured. */
export interface ServiceConfig {
  receivers: ReadonlyMap<string, ConfiguredComponent<Factories['receivers'][number]>>;
  processors: ReadonlyMap<string, ConfiguredComponent<Factories['processors'][number]>>;
  exporters: ReadonlyMap<string, ConfiguredComponent<Factories['exporters'][number]>>;
  extensions: ReadonlyMap<string, ConfiguredComponent<Factories['extensions'][number]>>;
  service: { extensions: readonly string[]; pipelines: readonly PipelineConfig[]; telemetry: TelemetryConfig };
}

/** A configuration that does not stand in a file. */
export interface NamedText {
  /** Whom problems are told of. */
  name: string;
  text: string;
  /** What to tell them of instead, by the path of what comes from there: the name of an environment variable. */
  origins?: Readonly<Record<string, string>>;
}

/** Where a configuration comes from. */
export interface ConfigSources {
  /** Files, `file:`, `env:` and `yaml:` URIs, or texts; later ones are laid on earlier ones. */
  locations: readonly (string | NamedText)[];
  /** `--set` arguments, laid on all of them. */
  settings?: readonly string[];
  env: NodeJS.ProcessEnv;
}

/** Reads, merges and expands a configuration. Throws a `ConfigError` with every problem. */
export function loadConfig({ locations, settings = [], env }: ConfigSources): ExpandedTree {
  const problems: string[] = [];
  const trees = [
    ...locations.map((location) => readLocation(location, env, problems)),
    ...settings.map((setting) => parseSetting(setting, problems)),
  ];
  const inReferences: string[] = [];
  const expanded = expandTree(trees.reduce(mergeTrees, emptyTree()), env, inReferences);
  problems.push(...inOrderOfPlace(inReferences, expanded));
  if (problems.length > 0) throw new ConfigError(problems);
  return expanded;
}

/** Checks a configuration against what is built in. Throws a `ConfigError` with every problem. */
export function validateConfig(tree: ExpandedTree, factories: Factories): ServiceConfig {
  return new Validation(tree, factories).run();
}

function readLocation(location: string | NamedText, env: NodeJS.ProcessEnv, problems: string[]): ConfigTree {
  if (typeof location !== 'string') return readText(location, problems);
  const { scheme = 'file', rest = '' } = /^(?:(?<scheme>env|yaml|file):)?(?<rest>.*)$/s.exec(location)?.groups ?? {};
  if (scheme === 'yaml') return parseTree(rest, 'yaml', problems);
  try {
    const text = scheme === 'file' ? readFileSync(rest, 'utf8') : resolveReference(location, env);
    if (text === undefined) throw new Error('the environment variable is not set');
    return parseTree(text, scheme === 'file' ? rest : location, problems);
  } catch (error) {
    problems.push(`cannot read configuration "${location}": ${describeError(error)}`);
    return emptyTree();
  }
}

function readText({ text, name, origins = {} }: NamedText, problems: string[]): ConfigTree {
  const tree = parseTree(text, name, problems);
  for (const path of tree.origins.keys()) {
    const above = Object.keys(origins).filter((from) => path === from || path.startsWith(`${from}::`));
    const closest = above.toSorted((a, b) => b.length - a.length)[0];
    if (closest !== undefined) tree.origins.set(path, origins[closest]!);
  }
  return tree;
}

type ComponentKind = 'receivers' | 'processors' | 'exporters' | 'extensions';
const componentKinds = ['receivers', 'processors', 'exporters', 'extensions'] as const;
const signals: readonly string[] = ['metrics', 'logs'] satisfies SignalKind[];

/** One check of one configuration, which gathers problems instead of stopping at the first. */
class Validation {
  readonly #tree: ExpandedTree;
  readonly #factories: Factories;
  readonly #problems: string[] = [];

  constructor(tree: ExpandedTree, factories: Factories) {
    this.#tree = tree;
    this.#factories = factories;
  }

  run(): ServiceConfig {
    this.#checkKeys([], [...componentKinds, 'service']);
    const config: ServiceConfig = {
      receivers: this.#components('receivers', this.#factories.receivers),
      processors: this.#components('processors', this.#factories.processors),
      exporters: this.#components('exporters', this.#factories.exporters),
      extensions: this.#components('extensions', this.#factories.extensions),
      service: { extensions: [], pipelines: [], telemetry: this.#telemetry() },
    };
    this.#checkKeys(['service'], ['extensions', 'pipelines', 'telemetry']);
    config.service.extensions = this.#references(['service', 'extensions'], 'extension', config.extensions);
    this.#storages(config);
    config.service.pipelines = this.#pipelines(config);
    if (this.#problems.length > 0) throw new ConfigError(inOrderOfPlace(this.#problems, this.#tree));
    return config;
  }

  #components<F extends Factories[ComponentKind][number]>(
    kind: ComponentKind,
    factories: readonly F[],
  ): Map<string, ConfiguredComponent<F>> {
    const found = new Map<string, ConfiguredComponent<F>>();
    for (const [id, section] of Object.entries(this.#mapAt([kind]))) {
      const type = id.split('/', 1)[0]!;
      const factory = factories.find((built) => built.type === type || built.aliases?.includes(type));
      if (factory === undefined) {
        const types = factories.map((built) => built.type);
        const near = nearest(type, [...types, ...factories.flatMap(({ aliases }) => aliases ?? [])]);
        this.#problem([kind, id], `unknown type "${type}" for ${kind}${near} (built in: ${types.join(', ')})`);
        continue;
      }
      if (/\/\s*$/.test(id)) this.#problem([kind, id], 'expected type or type/name, got no name after the slash');
      const config = this.#parse(factory.configSchema, section, [kind, id]);
      found.set(id, { id, factory, config });
    }
    return found;
  }

  /** Notes the storage that each component names. */
  #storages({ extensions, service, ...kinds }: ServiceConfig): void {
    for (const kind of ['receivers', 'processors', 'exporters'] as const) {
      for (const component of kinds[kind].values()) {
        const { storageKey } = component.factory;
        const keys = [kind, component.id, ...(storageKey ?? [])];
        const id = storageKey === undefined ? undefined : this.#valueAt(keys);
        if (typeof id !== 'string') continue;
        const wrong = this.#whyNoStorage(id, extensions, service.extensions);
        if (wrong === undefined) component.storage = id;
        else this.#problem(keys, `references extension "${id}" which ${wrong}`);
      }
    }
  }

  #whyNoStorage(id: string, extensions: ServiceConfig['extensions'], running: readonly string[]): string | undefined {
    const configured = Object.keys(this.#mapAt(['extensions']));
    if (!configured.includes(id)) return `is not configured${nearest(id, configured)}`;
    const factory = extensions.get(id)?.factory;
    if (factory !== undefined && factory.isStorage !== true) return 'keeps no state';
    return running.includes(id) ? undefined : 'is not in service::extensions';
  }

  #telemetry(): TelemetryConfig {
    const section = this.#mapAt(['service'])['telemetry'];
    return this.#parse(telemetrySchema, section ?? {}, ['service', 'telemetry']) ?? telemetrySchema.parse({});
  }

  #pipelines(config: ServiceConfig): PipelineConfig[] {
    const pipelines = this.#mapAt(['service', 'pipelines']);
    if (Object.keys(pipelines).length === 0) {
      this.#problem(['service', 'pipelines'], 'must have at least one pipeline');
    }
    return Object.keys(pipelines).flatMap((id) => {
      const keys = ['service', 'pipelines', id];
      const signal = id.split('/', 1)[0]!;
      if (!signals.includes(signal)) {
        this.#problem(keys, `unknown signal "${signal}": pipelines carry ${signals.join(' or ')}`);
        return [];
      }
      this.#checkKeys(keys, ['receivers', 'processors', 'exporters']);
      return {
        id,
        signal: signal as SignalKind,
        receivers: this.#references([...keys, 'receivers'], 'receiver', config.receivers, true),
        processors: this.#references([...keys, 'processors'], 'processor', config.processors),
        exporters: this.#references([...keys, 'exporters'], 'exporter', config.exporters, true),
      };
    });
  }

  /** Ids that must be configured in `defined`. */
  #references(
    keys: string[],
    noun: string,
    defined: ReadonlyMap<string, unknown>,
    needsOne: boolean = false,
  ): readonly string[] {
    const value = this.#valueAt(keys) ?? [];
    if (!Array.isArray(value)) {
      this.#problem(keys, `expected a list of ${noun}s, got ${showValue(value)}`);
      return [];
    }
    if (needsOne && value.length === 0) this.#problem(keys.slice(0, -1), `must have at least one ${noun}`);
    const configured = Object.keys(this.#mapAt([`${noun}s`]));
    const at = noun === 'extension' ? keys : keys.slice(0, -1);
    const ids = value.map((item) => (typeof item === 'string' ? item : showValue(item)));
    for (const [index, id] of ids.entries()) {
      if (!configured.includes(id)) {
        const near = nearest(id, configured);
        this.#problem(at, `references ${noun} "${id}" which is not configured${near}`, [...keys, index]);
      } else if (ids.indexOf(id) !== index) {
        this.#problem(at, `references ${noun} "${id}" twice`, [...keys, index]);
      }
    }
    // A section with problems of its own is configured all the same.
    return ids.filter((id) => defined.has(id));
  }

  #parse<T>(schema: z.ZodType<T>, section: ConfigValue, keys: string[]): T | undefined {
    const { config, problems = [] } = parseSection(schema, section, keys, this.#tree.texts);
    for (const { path, message } of problems) this.#problem([...keys, ...path], message);
    return config;
  }

  #checkKeys(keys: string[], allowed: readonly string[]): void {
    for (const key of Object.keys(this.#mapAt(keys))) {
      if (!allowed.includes(key)) this.#problem([...keys, key], `unknown key${nearest(key, allowed)}`);
    }
  }

  /** The map at a path, empty where it is absent or null; anything else is a problem. */
  #mapAt(keys: string[]): ConfigMap {
    const value = this.#valueAt(keys) ?? {};
    if (isMapValue(value)) return value;
    this.#problem(keys, `expected a map, got ${showValue(value)}`);
    return {};
  }

  #valueAt(keys: string[]): ConfigValue | undefined {
    let value: ConfigValue | undefined = this.#tree.value;
    for (const key of keys) value = isMapValue(value) ? value[key] : undefined;
    return value;
  }

  #problem(keys: readonly PropertyKey[], message: string, originKeys: readonly PropertyKey[] = keys): void {
    const origin = findOrigin(this.#tree, originKeys);
    const problem = [
      ...(origin === undefined ? [] : [origin]),
      ...(keys.length === 0 ? [] : [pathOf(keys)]),
      message,
    ].join(': ');
    if (!this.#problems.includes(problem)) this.#problems.push(problem);
  }
}
