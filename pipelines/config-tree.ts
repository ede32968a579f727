import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Document, type Node } from 'yaml';

/** Plain data of a configuration, as YAML gives it. */
export type ConfigValue = string | number | boolean | null | ConfigValue[] | ConfigMap;
export interface ConfigMap {
  [key: string]: ConfigValue;
}

/** A configuration and where each of its keys stands. */
export interface ConfigTree {
  value: ConfigMap;
  /** `file:line`, or what else named it, by the key's full path, as in `exporters::otlp_grpc::endpoint`. */
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
  const document = parseYaml(text, lines);
  const originOf = (offset: number): string => `${name}:${lines.linePos(offset).line || 1}`;
  const firstProblem = document.errors[0];
  if (firstProblem !== undefined) {
    // What follows a syntax error is mostly its consequence; a key that stands twice is no syntax error.
    const told = document.errors.filter((error) => error === firstProblem || error.code === 'DUPLICATE_KEY');
    for (const error of told) problems.push(`${originOf(error.pos[0])}: ${describeYamlError(error, text)}`);
    return emptyTree();
  }
  const { contents } = document;
  if (contents === null || (isScalar(contents) && contents.value === null)) return emptyTree();
  if (!isMap(contents)) {
    problems.push(`${originOf(contents.range?.[0] ?? 0)}: expected a map with receivers, exporters and service`);
    return emptyTree();
  }
  try {
    const value = toPlain(document) as ConfigMap;
    const origins = new Map<string, string>();
    noteOrigins(contents, [], originOf, origins);
    return { value, origins };
  } catch (error) {
    problems.push(`${name}: cannot use this YAML: ${(error as Error).message}`);
    return emptyTree();
  }
}

/** The value of a text that is YAML; text that is none is a string. */
export function readYamlValue(text: string): ConfigValue {
  try {
    const document = parseYaml(text);
    return document.errors.length > 0 ? text : toPlain(document);
  } catch {
    return text;
  }
}

/** Lays `over` on `under`: maps are merged, everything else is replaced, null included. */
export function mergeTrees(under: ConfigTree, over: ConfigTree): ConfigTree {
  const stillUnder = [...under.origins].filter(([path]) => !over.origins.has(path));
  return { value: mergeMaps(under.value, over.value), origins: new Map([...stillUnder, ...over.origins]) };
}

/**
 * The tree of one `--set` argument, `a.b=value` or, where a key has dots itself, `a::b.c=value`; the value is YAML.
 * Pushes a problem where it is none. The value may be a secret: it stands in no message.
 */
export function parseSetting(setting: string, problems: string[]): ConfigTree {
  const equals = setting.indexOf('=');
  const path = setting.slice(0, Math.max(equals, 0));
  const keys = path.split(path.includes('::') ? '::' : '.');
  if (equals < 1 || keys.includes('')) {
    problems.push(`--set: expected key.key=value, got "${equals < 0 ? setting : `${path}=…`}"`);
    return emptyTree();
  }
  const origin = '--set';
  let value: ConfigValue = null;
  try {
    const document = parseYaml(setting.slice(equals + 1));
    if (document.errors[0] !== undefined) throw document.errors[0];
    value = toPlain(document);
  } catch (error) {
    problems.push(`${origin}: ${pathOf(keys)}: cannot use the value: ${(error as Error).message}`);
  }
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

/** Problems by file, in the order in which files were given, and line; those that stand in no file are last. */
export function inOrderOfPlace(problems: readonly string[], { origins }: ConfigTree): string[] {
  const files = [...new Set(Array.from(origins.values(), (origin) => origin.replace(/:\d+$/, '')))];
  const placed = problems.map((problem) => {
    const file = files.findIndex((name) => problem.startsWith(`${name}:`));
    const line = file < 0 ? undefined : /^:(\d+): /.exec(problem.slice(files[file]!.length))?.[1];
    return line === undefined ? { problem, file: files.length, line: 0 } : { problem, file, line: Number(line) };
  });
  return placed.toSorted((a, b) => a.file - b.file || a.line - b.line).map(({ problem }) => problem);
}

/** A configuration that says nothing. */
export function emptyTree(): ConfigTree {
  return { value: {}, origins: new Map() };
}

/** Whether a value is a map, as opposed to a list, a scalar or nothing. */
export function isMapValue(value: ConfigValue | undefined): value is ConfigMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function mergeMaps(under: ConfigMap, over: ConfigMap): ConfigMap {
  const merged = new Map(Object.entries(under));
  for (const [key, value] of Object.entries(over)) {
    const below = merged.get(key);
    merged.set(key, isMapValue(value) && isMapValue(below) ? mergeMaps(below, value) : value);
  }
  return Object.fromEntries(merged);
}

/** Merge keys (`<<`) are no part of YAML 1.2, but the Collector knows them. */
function parseYaml(text: string, lineCounter = new LineCounter()): Document.Parsed {
  return parseDocument(text, { lineCounter, merge: true, prettyErrors: false, logLevel: 'error' });
}

/** Throws where an alias is unknown, or contains itself. */
function toPlain(document: Document): ConfigValue {
  const value = document.toJS() as ConfigValue;
  JSON.stringify(value);
  return value;
}

function describeYamlError({ code, message, pos }: Document['errors'][number], text: string): string {
  if (code === 'DUPLICATE_KEY') {
    const key = /^(?:"[^"\n]*"|'[^'\n]*'|[^\n:]*)/.exec(text.slice(pos[0]))?.[0].trim() ?? '';
    return `the key ${key} stands twice in one map`;
  }
  if (code === 'MULTIPLE_DOCS') return 'expected one YAML document, got several';
  return message;
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
      const path = [...keys, isScalar<string | number | boolean | null>(key) ? String(key.value ?? '') : String(key)];
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
