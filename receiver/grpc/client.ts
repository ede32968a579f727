import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import type * as grpcJs from '@grpc/grpc-js';

/** What goes with one call. */
export interface CallOptions {
  /** Ends the call, which then rejects with `CANCELLED`. */
  signal?: AbortSignal;
  /** Sent as headers; names in lower case. */
  metadata?: Readonly<Record<string, string>>;
}

/** A call that failed; the peer's own words are hostile. */
export class GrpcError extends Error {
  override readonly name = 'GrpcError';
  /** As gRPC calls it: `NOT_FOUND`, `UNAVAILABLE`, `UNIMPLEMENTED`, … */
  readonly code: keyof typeof grpcJs.status;

  constructor(code: keyof typeof grpcJs.status, message: string, options?: ErrorOptions) {
    super(`${code}: ${message}`, options);
    this.code = code;
  }
}

/** A runtime's answer to one question can be long (specs of all containers), but not without bound. */
const longestAnswerBytes = 64 * 2 ** 20;

/**
 * Calls of the services behind a unix socket, typed by their generated descriptors. One connection, made at the first
 * call, made again at the next call after it broke; nothing is tried twice. grpc-js is loaded at the first call.
 */
export class GrpcClient {
  /** Absolute path. */
  readonly socket: string;
  #channel: Promise<{ grpc: typeof grpcJs; client: grpcJs.Client }> | undefined;

  constructor(socket: string) {
    this.socket = socket;
  }

  /** One question, one answer. Rejects with a GrpcError, `DEADLINE_EXCEEDED` after `timeoutMs`. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    { signal, metadata, timeoutMs }: CallOptions & { timeoutMs: number },
  ): Promise<MessageShape<O>> {
    const { grpc, client } = await this.#connect();
    const { promise, resolve, reject } = Promise.withResolvers<MessageShape<O>>();
    const call = client.makeUnaryRequest(
      pathOf(method),
      encoderOf(method),
      decoderOf(method),
      create(method.input, request),
      grpc.Metadata.fromHttp2Headers({ ...metadata }),
      { deadline: Date.now() + timeoutMs },
      (error, answer) => (error === null ? resolve(answer!) : reject(toGrpcError(grpc, error))),
    );
    return withCancel(call, signal, () => promise);
  }

  /**
   * Answers as they come; one that is not yet taken holds the peer back. Ends when the peer ends it, throws a GrpcError
   * when it breaks, and is cancelled when the caller leaves the loop. Has no deadline.
   */
  async *stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    { signal, metadata }: CallOptions = {},
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    const { grpc, client } = await this.#connect();
    const call = client.makeServerStreamRequest(
      pathOf(method),
      encoderOf(method),
      decoderOf(method),
      create(method.input, request),
      grpc.Metadata.fromHttp2Headers({ ...metadata }),
    );
    // It also fails after nobody listens any more, with what our own cancelling made of it.
    call.on('error', () => {});
    const cancel = (): void => call.cancel();
    signal?.addEventListener('abort', cancel);
    if (signal?.aborted) cancel();
    try {
      yield* call as AsyncIterable<MessageShape<O>>;
    } catch (error) {
      throw toGrpcError(grpc, error);
    } finally {
      signal?.removeEventListener('abort', cancel);
      cancel();
    }
  }

  /** Ends the connection. Calls under way go on to their end; a later call connects again. */
  close(): void {
    const channel = this.#channel;
    this.#channel = undefined;
    channel?.then(({ client }) => client.close()).catch(() => {});
  }

  #connect(): Promise<{ grpc: typeof grpcJs; client: grpcJs.Client }> {
    this.#channel ??= this.#open();
    return this.#channel;
  }

  async #open(): Promise<{ grpc: typeof grpcJs; client: grpcJs.Client }> {
    const grpc = await import('@grpc/grpc-js');
    const client = new grpc.Client(`unix://${this.socket}`, grpc.credentials.createInsecure(), {
      'grpc.default_authority': 'localhost',
      'grpc.max_receive_message_length': longestAnswerBytes,
      // Attempts are the caller's to make.
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 10_000,
      // Else the connection outlives its client, and the next one shares its failures.
      'grpc.use_local_subchannel_pool': 1,
    });
    return { grpc, client };
  }
}

async function withCancel<T>(
  call: grpcJs.ClientUnaryCall,
  signal: AbortSignal | undefined,
  answer: () => Promise<T>,
): Promise<T> {
  const cancel = (): void => call.cancel();
  signal?.addEventListener('abort', cancel);
  if (signal?.aborted) cancel();
  try {
    return await answer();
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

function pathOf({ parent, name }: DescMethod): string {
  return `/${parent.typeName}/${name}`;
}

function encoderOf<I extends DescMessage>({ input }: { input: I }) {
  return (message: MessageShape<I>): Buffer => {
    const bytes = toBinary(input, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

/** What we have no name for is left out: it would be kept with the message. */
function decoderOf<O extends DescMessage>({ output }: { output: O }) {
  return (bytes: Buffer): MessageShape<O> => fromBinary(output, bytes, { readUnknownFields: false });
}

function toGrpcError({ status }: typeof grpcJs, cause: unknown): GrpcError {
  const { code, details } = cause as Partial<grpcJs.ServiceError>;
  const name = code === undefined ? undefined : (status[code] as keyof typeof status | undefined);
  return new GrpcError(name ?? 'UNKNOWN', details ?? String(cause), { cause });
}
