import { readFileSync } from 'node:fs';
import { describeError } from './errors.ts';
import {
  findOrigin,
  isMapValue,
  pathOf,
  readYamlValue,
  type ConfigMap,
  type ConfigTree,
  type ConfigValue,
} from './config-tree.ts';

/** A tree whose references are replaced, with the texts that stood behind values which YAML reads as other types. */
export interface ExpandedTree extends ConfigTree {
  /**
   * The original text by path, where a value came from a reference: `0123` is the number 123 to YAML, but a string
   * field wants the text.
   */
  texts: Map<string, string>;
  /** What is probably not meant so, one line each: variables that are not set. */
  warnings: readonly string[];
}

/** A file can name itself: more references than this are no configuration. */
const MAX_REFERENCES = 1000;

/**
 * Replaces references in all strings: `${env:NAME}`, `${env:NAME:-default}`, `${NAME}`, `${file:/path}`,
 * `${yaml:text}`; one may stand inside another, and `$$` is one dollar sign. A string that is one reference takes the
 * value's YAML type; in a longer string the text is put in. References are replaced in maps and lists that come from a
 * reference, but not in other texts: a `$` in a password is one.
 *
 * A variable that is not set and has no default is null, or empty in a longer string, and a warning, as in the
 * Collector. Pushes a problem for each reference that cannot be followed.
 */
export function expandTree(tree: ConfigTree, env: NodeJS.ProcessEnv, problems: string[]): ExpandedTree {
  return new Expansion(tree, env, problems).run();
}

class Expansion {
  readonly #tree: ConfigTree;
  readonly #env: NodeJS.ProcessEnv;
  readonly #problems: string[];
  readonly #texts = new Map<string, string>();
  readonly #warnings = new Set<string>();
  #references = 0;

  constructor(tree: ConfigTree, env: NodeJS.ProcessEnv, problems: string[]) {
    this.#tree = tree;
    this.#env = env;
    this.#problems = problems;
  }

  run(): ExpandedTree {
    const value = this.#expandMap(this.#tree.value, []);
    if (this.#references > MAX_REFERENCES) {
      this.#problems.push(`the configuration has more than ${MAX_REFERENCES} references: does a file name itself?`);
    }
    return { value, origins: this.#tree.origins, texts: this.#texts, warnings: [...this.#warnings] };
  }

  #expand(value: ConfigValue, keys: PropertyKey[]): ConfigValue {
    if (typeof value === 'string') return this.#expandText(value, keys);
    if (Array.isArray(value)) return value.map((item, index) => this.#expand(item, [...keys, index]));
    return isMapValue(value) ? this.#expandMap(value, keys) : value;
  }

  #expandMap(map: ConfigMap, keys: PropertyKey[]): ConfigMap {
    return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, this.#expand(value, [...keys, key])]));
  }

  #expandText(text: string, keys: PropertyKey[]): ConfigValue {
    const { replaced, isOneReference } = replaceReferences(text, (reference) => this.#follow(reference, keys));
    if (replaced === undefined) return null;
    if (!isOneReference) return replaced;
    this.#texts.set(pathOf(keys), replaced);
    const value = readYamlValue(replaced);
    return typeof value === 'object' ? this.#expand(value, keys) : value;
  }

  #follow(reference: string, keys: PropertyKey[]): string | undefined {
    if (++this.#references > MAX_REFERENCES) return undefined;
    const at = (message: string): string => {
      const origin = findOrigin(this.#tree, keys);
      return [...(origin === undefined ? [] : [origin]), pathOf(keys), message].join(': ');
    };
    try {
      const text = resolveReference(reference, this.#env);
      if (text === undefined) {
        const name = reference.replace(/^env:/, '');
        this.#warnings.add(at(`the environment variable "${name}" is not set and has no default`));
      }
      return text;
    } catch (error) {
      this.#problems.push(at(describeError(error)));
      return undefined;
    }
  }
}

/**
 * Replaces each `${reference}` by what `follow` makes of it, inner ones first, and `$$` by `$`. What is not closed is
 * text. `replaced` is undefined where the whole text is one reference that leads nowhere.
 */
function replaceReferences(
  text: string,
  follow: (reference: string) => string | undefined,
): { replaced: string | undefined; isOneReference: boolean } {
  /** What was read so far of the text, and of each reference that is open. */
  const open = [''];
  let last: string | undefined;
  let firstEnd: number | undefined;
  for (const { 0: token, index } of text.matchAll(/\$\$|\$\{|\}|[^$}]+|\$/g)) {
    if (token === '${') {
      open.push('');
    } else if (token === '}' && open.length > 1) {
      last = follow(open.pop()!);
      open[open.length - 1] += last ?? '';
      if (open.length === 1) firstEnd ??= index + 1;
    } else {
      open[open.length - 1] += token === '$$' ? '$' : token;
    }
  }
  const isOneReference = text.startsWith('${') && firstEnd === text.length;
  return { replaced: isOneReference ? last : open.join('${'), isOneReference };
}

/** The text behind a reference; undefined for a variable that is not set. Throws where it cannot be followed. */
export function resolveReference(reference: string, env: NodeJS.ProcessEnv): string | undefined {
  const { scheme = 'env', rest = '' } = /^(?:(?<scheme>[a-zA-Z]\w+):(?!-))?(?<rest>.*)$/s.exec(reference)?.groups ?? {};
  if (scheme === 'file') return readFile(rest);
  if (scheme === 'yaml') return rest;
  // A default, or what was meant as one, can be a secret.
  const shown = reference.replace(/:-.*$/s, ':-…');
  if (scheme !== 'env') throw new Error(`cannot expand "\${${shown}}": expected env:, file: or yaml:`);
  const { name = '', fallback } = /^(?<name>[^:]*)(?::-(?<fallback>.*))?$/s.exec(rest)?.groups ?? {};
  if (!/^[A-Za-z_]\w*$/.test(name)) {
    throw new Error(`cannot expand "\${${shown}}": expected the name of an environment variable`);
  }
  return (Object.hasOwn(env, name) ? env[name] : undefined) ?? fallback;
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8').trimEnd();
  } catch (error) {
    throw new Error(`cannot read file "${path}"`, { cause: error });
  }
}
