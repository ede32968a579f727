import type * as z from 'zod';
import { keysAt } from './config-schema.ts';
import { mayBeSecret, withoutUrlSecrets } from './secret-keys.ts';

/** One problem, at a path below the section. */
export interface Problem {
  path: PropertyKey[];
  message: string;
}

/** What a schema has against a section, in words for people: what was expected and what is there. */
export function describeIssue(issue: z.core.$ZodIssue, section: unknown, schema: z.ZodType): Problem[] {
  const { path } = issue;
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, path);
    return issue.keys.map((key) => ({ path: [...path, key], message: `unknown key${nearest(key, known)}` }));
  }
  const value = valueAt(section, path);
  const message = explain(issue, section);
  // What is wrong with a whole section does not lie in its being one.
  return [{ path, message: issue.code === 'custom' && isObject(value) ? message : withValue(message, path, value) }];
}

function explain(issue: z.core.$ZodIssue, section: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      if (hasOwnMessage(issue)) return issue.message;
      return valueAt(section, issue.path) === undefined
        ? `is required (${nameOf(issue.expected)})`
        : `expected ${nameOf(issue.expected)}`;
    case 'invalid_value':
      if (hasOwnMessage(issue)) return issue.message;
      return `expected ${issue.values.map((value) => String(value) || "''").join(' or ')}`;
    case 'invalid_union':
      return hasOwnMessage(issue) ? issue.message : `expected ${typesOf(issue.errors.flat()).join(' or ')}`;
    case 'invalid_key':
      return issue.issues[0]?.message ?? issue.message;
    default:
      return issue.message.replace(/^(Too|Invalid)\b/, (word) => word.toLowerCase());
  }
}

/** `; did you mean "x"?` where a known name is near, else nothing. */
export function nearest(name: string, known: readonly string[]): string {
  const ranked = known.map((candidate) => ({ candidate, distance: editDistance(name, candidate) }));
  const best = ranked.toSorted((a, b) => a.distance - b.distance)[0];
  if (best === undefined || best.distance > Math.max(1, Math.floor(name.length / 3))) return '';
  return `; did you mean "${best.candidate}"?`;
}

/** The message with the value in it, unless it has that already; a value that may be a secret is not told. */
function withValue(message: string, path: readonly PropertyKey[], value: unknown): string {
  if (value === undefined) return message;
  const quoted = isObject(value) ? undefined : `"${value as string | number | boolean}"`;
  const isTold = quoted !== undefined && message.includes(quoted);
  if (mayBeSecret(path)) return isTold ? message.replaceAll(quoted, 'a value that is not shown here') : message;
  return isTold ? withoutUrlSecrets(message) : `${message}, got ${showValue(value)}`;
}

/** A scalar as in JSON, cut. What is in maps and lists can be a secret. */
export function showValue(value: unknown): string {
  if (isObject(value)) return Array.isArray(value) ? 'a list' : 'a map';
  const text = withoutUrlSecrets(JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

function hasOwnMessage({ message }: z.core.$ZodIssue): boolean {
  return !/^(Invalid|Too|Unrecognized)\b/.test(message);
}

function typesOf(issues: readonly z.core.$ZodIssue[]): string[] {
  const types = issues.map((issue) => (issue.code === 'invalid_type' ? nameOf(issue.expected) : issue.message));
  return [...new Set(types)];
}

/** The words of YAML for the types of zod. */
function nameOf(type: string): string {
  const names: Record<string, string> = { object: 'a map', record: 'a map', array: 'a list', int: 'a whole number' };
  return names[type] ?? type;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, key) => (isObject(at) && Object.hasOwn(at, key) ? at[key] : undefined), value);
}

function isObject(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === 'object' && value !== null;
}

/** Insertions, deletions, replacements and swaps of neighbours that make `b` of `a`. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? before[j - 2]! + 1 : Infinity;
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, replaced, swapped);
    }
    [before, row] = [row, next];
  }
  return row[b.length]!;
}
