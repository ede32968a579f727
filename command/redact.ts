import type { ConfigValue } from '../pipelines/config-tree.ts';
import { mayBeSecret, withoutUrlSecrets } from '../pipelines/secret-keys.ts';

/** The configuration without what may be a secret: values of headers, of keys that sound like one, users and queries in URLs. */
export function redact(value: ConfigValue, path: readonly string[] = []): ConfigValue {
  if (Array.isArray(value)) return value.map((item) => redact(item, path));
  if (typeof value === 'object' && value !== null) {
    // An attribute is named by its neighbour: { key: api.token, value: … }.
    const named = typeof value['key'] === 'string' ? [...path, value['key']] : path;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, redact(item, [...(key === 'value' ? named : path), key])]),
    );
  }
  if (value === null) return null;
  if (mayBeSecret(path)) return '[REDACTED]';
  return typeof value === 'string' ? withoutUrlSecrets(value) : value;
}
