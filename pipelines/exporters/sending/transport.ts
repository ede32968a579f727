import type { SignalKind } from '../../component.ts';
import { PermanentError } from '../../errors.ts';

/** What a destination said of a request that it took. */
export interface SendAnswer {
  /** Items it took the request without (partial success). They are never sent again. */
  rejectedItems: number;
  /** Its words, where it had any: why items were rejected, or a warning. */
  message?: string;
}

/** Carries serialised requests to one destination. Knows the wire, and nothing of queues and retries. */
export interface Transport {
  /** Where requests of this kind go, for people to read. */
  destination(kind: SignalKind): string;

  /** Makes ready to send; does not wait for a connection. Rejects for a certificate that cannot be read. */
  open(): Promise<void>;

  /** Turns serialised bytes into those that are kept and sent: compresses, where that is done only once. */
  pack?(body: Uint8Array): Promise<Uint8Array>;

  /**
   * One attempt, within the transport's own timeout. Rejects with `RefusedError` where another attempt is useless,
   * with `ThrottledError` where the destination named a delay, with any other error where another attempt may help.
   * When `abandon` is aborted it gives up and rejects.
   */
  send(kind: SignalKind, body: Uint8Array, abandon: AbortSignal): Promise<SendAnswer>;

  /** Closes all connections. Never rejects. */
  close(): Promise<void>;
}

/** The destination refused a request for good. */
export class RefusedError extends PermanentError {
  /** The kind of refusal, free of anything that varies between requests: `HTTP 400`, `INVALID_ARGUMENT`. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message === '' ? code : `${code}: ${message}`, options);
    this.code = code;
  }
}

/** Bound on the text of an answer that we keep and log. */
export const MAX_ANSWER_TEXT_LENGTH = 512;

/** Cuts what a destination said to a bound. */
export function boundedText(text: string): string {
  return text.length <= MAX_ANSWER_TEXT_LENGTH ? text : `${text.slice(0, MAX_ANSWER_TEXT_LENGTH)}…`;
}
