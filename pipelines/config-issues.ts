import type * as z from 'zod';
import { keysAt } from './config-schema.ts';

/** One problem, at a path below the section. */
interface Problem {
  path: PropertyKey[];
  message: string;
}

/** What a schema has against a section, in words for people: what was expected and what is there. */
export function describeIssue(issue: z.core.$ZodIssue, section: unknown, schema: z.ZodType): Problem[] {
  const got = valueAt(section, issue.path);
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = keysAt(schema, issue.path);
      return issue.keys.map((key) => ({ path: [...issue.path, key], message: `unknown key${nearest(key, known)}` }));
    }
    case 'invalid_type':
      if (got === undefined) return [{ path: issue.path, message: `is required (${issue.expected})` }];
      return [{ path: issue.path, message: `expected ${issue.expected}, got ${show(got)}` }];
    case 'invalid_value':
      return [{ path: issue.path, message: `expected ${issue.values.map(String).join(' or ')}, got ${show(got)}` }];
    case 'invalid_union': {
      const inner = issue.errors.flat().find(({ code }) => code !== 'invalid_type');
      if (inner !== undefined)
        return describeIssue({ ...inner, path: [...issue.path, ...inner.path] }, section, schema);
      return [{ path: issue.path, message: `${issue.message}, got ${show(got)}` }];
    }
    case 'custom':
      return [{ path: issue.path, message: issue.message }];
    default:
      return [{ path: issue.path, message: `${issue.message}, got ${show(got)}` }];
  }
}

/** `; did you mean "x"?` where a known name is near, else nothing. */
export function nearest(name: string, known: readonly string[]): string {
  const ranked = known.map((candidate) => ({ candidate, distance: editDistance(name, candidate) }));
  const best = ranked.toSorted((a, b) => a.distance - b.distance)[0];
  if (best === undefined || best.distance > Math.max(1, Math.floor(name.length / 3))) return '';
  return `; did you mean "${best.candidate}"?`;
}

/** Values are shown as in JSON, cut: a secret in the wrong place is at least not shown whole. */
function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], value);
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}
