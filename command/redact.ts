import type { ConfigValue } from '../pipelines/config-tree.ts';

const secretKey = /pass|secret|token|key_pem|api_?key|authorization|credential/i;

/** The configuration with the values of headers, and of keys that sound like secrets, hidden. */
export function redact(value: ConfigValue, key = '', insideHeaders = false): ConfigValue {
  if (Array.isArray(value)) return value.map((item) => redact(item, key, insideHeaders));
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value);
    return Object.fromEntries(
      entries.map(([name, item]) => [name, redact(item, name, insideHeaders || key === 'headers')]),
    );
  }
  const secret = insideHeaders || key === 'headers' || secretKey.test(key);
  return secret && value !== null ? '[REDACTED]' : value;
}
