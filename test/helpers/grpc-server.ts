import { fromBinary, toBinary, type DescMessage, type DescMethod, type MessageShape } from '@bufbuild/protobuf';
import {
  Server,
  ServerCredentials,
  type MethodDefinition,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
  type UntypedHandleCall,
} from '@grpc/grpc-js';

/** One call of a method with one answer. */
export type Unary<I extends DescMessage, O extends DescMessage> = (
  call: ServerUnaryCall<MessageShape<I>, MessageShape<O>>,
  answer: sendUnaryData<MessageShape<O>>,
) => void;

/** One call of a method with a stream of answers. */
export type Streaming<I extends DescMessage, O extends DescMessage> = (
  call: ServerWritableStream<MessageShape<I>, MessageShape<O>>,
) => void;

/** A gRPC server, for a test that plays a runtime. */
export class GrpcServer {
  #server = new Server();
  readonly #handlers: [MethodDefinition<unknown, unknown>, UntypedHandleCall][] = [];

  /** Before it listens. */
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { input: I; output: O },
    handle: Unary<I, O>,
  ): this {
    return this.#add(method, handle as UntypedHandleCall);
  }

  /** Before it listens. */
  streaming<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { input: I; output: O },
    handle: Streaming<I, O>,
  ): this {
    return this.#add(method, handle as UntypedHandleCall);
  }

  /** Resolves when it can be connected to. Can be called again after `stop`. */
  listen(socket: string): Promise<void> {
    this.#server = new Server();
    for (const [definition, handle] of this.#handlers) {
      this.#server.addService({ method: definition }, { method: handle });
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
    return promise;
  }

  /** Breaks all connections. Safe to call twice. */
  stop(): void {
    this.#server.forceShutdown();
  }

  #add(method: DescMethod, handle: UntypedHandleCall): this {
    const { parent, name, methodKind, input, output } = method;
    const definition: MethodDefinition<unknown, unknown> = {
      path: `/${parent.typeName}/${name}`,
      requestStream: false,
      responseStream: methodKind === 'server_streaming',
      requestSerialize: (message) => Buffer.from(toBinary(input, message as MessageShape<DescMessage>)),
      requestDeserialize: (bytes) => fromBinary(input, bytes),
      responseSerialize: (message) => Buffer.from(toBinary(output, message as MessageShape<DescMessage>)),
      responseDeserialize: (bytes) => fromBinary(output, bytes),
    };
    this.#handlers.push([definition, handle]);
    return this;
  }
}
