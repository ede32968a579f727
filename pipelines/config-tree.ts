import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Node } from 'yaml';

/** Plain data of a configuration, as YAML gives it. */
export type ConfigValue = string | number | boolean | null | ConfigValue[] | ConfigMap;
export interface ConfigMap {
  [key: string]: ConfigValue;
}

/** A configuration and where each of its keys stands. */
export interface ConfigTree {
  value: ConfigMap;
  /** `file:line` by the key's full path, as in `exporters::otlp_grpc::endpoint`. */
  origins: Map<string, string>;
}

/** Joins the keys of a path as the Collector writes them. */
export function pathOf(keys: readonly PropertyKey[]): string {
  return keys.map(String).join('::');
}

/**
 * Parses one YAML document; `name` is its file in messages. Problems are pushed, each with its line: a syntax error, a
 * key that stands twice, a document that is no map.
 */
export function parseTree(text: string, name: string, problems: string[]): ConfigTree {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false });
  const originOf = (offset: number): string => `${name}:${lines.linePos(offset).line}`;
  for (const error of document.errors) problems.push(`${originOf(error.pos[0])}: ${error.message}`);
  if (document.errors.length > 0 || document.contents === null) return emptyTree();
  if (!isMap(document.contents)) {
    problems.push(`${originOf(0)}: expected a map with receivers, exporters and service, got something else`);
    return emptyTree();
  }
  const origins = new Map<string, string>();
  noteOrigins(document.contents, [], originOf, origins);
  return { value: document.toJS() as ConfigMap, origins };
}

/** Lays `over` on `under`: maps are merged, everything else is replaced. */
export function mergeTrees(under: ConfigTree, over: ConfigTree): ConfigTree {
  return { value: mergeMaps(under.value, over.value), origins: new Map([...under.origins, ...over.origins]) };
}

/**
 * The tree of one `--set` argument, `a.b=value` or `a::b=value`; the value is YAML. Pushes a problem where it is none.
 */
export function parseSetting(setting: string, problems: string[]): ConfigTree {
  const equals = setting.indexOf('=');
  const keys = setting.slice(0, Math.max(equals, 0)).split(/::|\./);
  if (equals < 1 || keys.includes('')) {
    problems.push(`--set: expected key.key=value, got "${setting}"`);
    return emptyTree();
  }
  const origin = '--set';
  const document = parseDocument(setting.slice(equals + 1));
  if (document.errors[0] !== undefined) problems.push(`${origin}: ${document.errors[0].message}`);
  let value = document.errors.length > 0 ? null : (document.toJS() as ConfigValue);
  const origins = new Map<string, string>();
  for (let depth = keys.length; depth > 0; depth--) {
    origins.set(pathOf(keys.slice(0, depth)), origin);
    value = { [keys[depth - 1]!]: value };
  }
  return { value: value as ConfigMap, origins };
}

/** Where a key stands, or the nearest one above it that stands anywhere. */
export function findOrigin({ origins }: ConfigTree, keys: readonly PropertyKey[]): string | undefined {
  for (let depth = keys.length; depth > 0; depth--) {
    const origin = origins.get(pathOf(keys.slice(0, depth)));
    if (origin !== undefined) return origin;
  }
  return undefined;
}

export function emptyTree(): ConfigTree {
  return { value: {}, origins: new Map() };
}

export function isMapValue(value: ConfigValue | undefined): value is ConfigMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function mergeMaps(under: ConfigMap, over: ConfigMap): ConfigMap {
  const merged: ConfigMap = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    // A null section means "with its defaults": it does not wipe out what another file says.
    if (value === null && isMapValue(below)) continue;
    merged[key] = isMapValue(value) && isMapValue(below) ? mergeMaps(below, value) : value;
  }
  return merged;
}

function noteOrigins(
  node: Node | null,
  keys: PropertyKey[],
  originOf: (offset: number) => string,
  origins: Map<string, string>,
): void {
  if (isAlias(node) || node === null) return;
  if (isMap<Node, Node | null>(node)) {
    for (const { key, value } of node.items) {
      const path = [...keys, isScalar(key) ? String(key.value) : String(key)];
      origins.set(pathOf(path), originOf(key.range?.[0] ?? 0));
      noteOrigins(value, path, originOf, origins);
    }
  } else if (isSeq<Node>(node)) {
    for (const [index, item] of node.items.entries()) {
      origins.set(pathOf([...keys, index]), originOf(item.range?.[0] ?? 0));
      noteOrigins(item, [...keys, index], originOf, origins);
    }
  }
}
