import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { describeError } from './errors.ts';
import { findOrigin, isMapValue, pathOf, type ConfigMap, type ConfigTree, type ConfigValue } from './config-tree.ts';

/** A tree whose references are replaced, with the texts that stood behind values which YAML reads as other types. */
export interface ExpandedTree extends ConfigTree {
  /**
   * The original text by path, where a value came from a reference: `0123` is the number 83 to YAML, but a string
   * field wants the text.
   */
  texts: Map<string, string>;
}

/**
 * Replaces references in all strings: `${env:NAME}`, `${env:NAME:-default}`, `${NAME}`, `${file:/path}`; `$$` is one
 * dollar sign. A string that is one reference takes the value's YAML type; in a longer string the text is put in.
 * A variable that is not set and has no default is null, as in the Collector. Pushes a problem for each reference that
 * cannot be followed.
 */
export function expandTree(tree: ConfigTree, env: NodeJS.ProcessEnv, problems: string[]): ExpandedTree {
  const texts = new Map<string, string>();

  const expand = (value: ConfigValue, keys: PropertyKey[]): ConfigValue => {
    if (typeof value === 'string') return expandText(value, keys);
    if (Array.isArray(value)) return value.map((item, index) => expand(item, [...keys, index]));
    return isMapValue(value) ? expandMap(value, keys) : value;
  };

  const expandMap = (map: ConfigMap, keys: PropertyKey[]): ConfigMap =>
    Object.fromEntries(Object.entries(map).map(([key, value]) => [key, expand(value, [...keys, key])]));

  const expandText = (text: string, keys: PropertyKey[]): ConfigValue => {
    const whole = /^\$\{([^{}]*)\}$/.exec(text)?.[1];
    if (whole === undefined) {
      return text.replaceAll(/\$\$|\$\{([^{}]*)\}/g, (match, reference: string | undefined) =>
        reference === undefined ? (match === '$$' ? '$' : match) : (follow(reference, keys) ?? ''),
      );
    }
    const found = follow(whole, keys);
    if (found === undefined) return null;
    texts.set(pathOf(keys), found);
    return readYaml(found);
  };

  const follow = (reference: string, keys: PropertyKey[]): string | undefined => {
    try {
      return resolveReference(reference, env);
    } catch (error) {
      problems.push(`${findOrigin(tree, keys) ?? ''}: ${pathOf(keys)}: ${describeError(error)}`);
      return undefined;
    }
  };

  return { value: expandMap(tree.value, []), origins: tree.origins, texts };
}

/** The text behind a reference; undefined for a variable that is not set. Throws where it cannot be followed. */
export function resolveReference(reference: string, env: NodeJS.ProcessEnv): string | undefined {
  const { scheme = 'env', rest = '' } = /^(?:(?<scheme>[a-zA-Z]\w+):(?!-))?(?<rest>.*)$/s.exec(reference)?.groups ?? {};
  if (scheme === 'file') return readFile(rest);
  if (scheme === 'yaml') return rest;
  if (scheme !== 'env') throw new Error(`cannot expand "\${${reference}}": expected env:, file: or yaml:`);
  const { name = '', fallback } = /^(?<name>[^:]*)(?::-(?<fallback>.*))?$/s.exec(rest)?.groups ?? {};
  if (!/^[A-Za-z_]\w*$/.test(name)) {
    throw new Error(`cannot expand "\${${reference}}": "${rest}" is no name of an environment variable`);
  }
  return env[name] ?? fallback;
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8').trimEnd();
  } catch (error) {
    throw new Error(`cannot read file "${path}"`, { cause: error });
  }
}

/** Text that is no YAML is a string. */
function readYaml(text: string): ConfigValue {
  try {
    return parse(text) as ConfigValue;
  } catch {
    return text;
  }
}
