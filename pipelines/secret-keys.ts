const secretKey = /pass(?!through)|secret|token|_pem$|api_?key|authorization|credential|cookie|private/i;

/** Whether the value at a path may be a secret: it stands in `headers`, or a key of the path sounds like one. */
export function mayBeSecret(path: readonly PropertyKey[]): boolean {
  return path.some((key) => key === 'headers' || secretKey.test(String(key)));
}

/**
 * A text without what is secret in the URLs in it: user and password, of which an @ may be part, and the query, in
 * which there can be a key. `user:password@host` need have no scheme.
 */
export function withoutUrlSecrets(text: string): string {
  return text
    .replaceAll(/(:\/\/[^\s"?#]*)[?#][^\s"]+/g, '$1?[REDACTED]')
    .replaceAll(/(?<=:\/\/)[^/\s"?#]*@/g, '[REDACTED]@')
    .replaceAll(/(?<=^|[\s"])[^\s/:@"]+:[^\s/@"]+@(?=[\w[])/g, '[REDACTED]@');
}
