/**
 * The configuration cannot be used. Nothing is started. `problems` has one line each, with the file line and the full
 * path of the key where both are known; the message is all of them.
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** Trying again with the same data is useless: the data is dropped and counted. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
}

/**
 * The other end asks for patience. The data is kept and sent again after the longer of `retryAfterMs` and our own
 * backoff.
 */
export class ThrottledError extends Error {
  override readonly name = 'ThrottledError';
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs: number, options?: ErrorOptions) {
    super(message, options);
    this.retryAfterMs = retryAfterMs;
  }
}

/** The text of whatever was thrown, with the texts of its causes: `cannot open "/x": EACCES: permission denied`. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.message || error.name;
  return error.cause === undefined ? own : `${own}: ${describeError(error.cause)}`;
}
