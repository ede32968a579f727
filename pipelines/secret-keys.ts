const secretKey = /pass(?!through)|secret|token|_pem$|api_?key|authorization|credential|cookie|private/i;

/** Whether the value at a path may be a secret: it stands in `headers`, or a key of the path sounds like one. */
export function mayBeSecret(path: readonly PropertyKey[]): boolean {
  return path.some((key) => key === 'headers' || secretKey.test(String(key)));
}

/** A text without the user and the password of a URL in it. */
export function withoutUser(text: string): string {
  return text.replaceAll(/(?<=:\/\/)[^/@\s]*@/g, '[REDACTED]@');
}
