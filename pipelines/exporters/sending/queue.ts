import type { SendRequest } from './request.ts';

/**
 * Where requests wait to be sent. A queue on disk can take the place of the one in memory: a request stays the
 * queue's until it is acknowledged.
 */
export interface Queue {
  /** What waits, in the unit of `capacity`. */
  readonly size: number;
  readonly capacity: number;

  /** Resolves once the request is in the queue. Rejects with `QueueRefusal`. */
  put(request: SendRequest): Promise<void>;

  /** The next request, as soon as there is one; `undefined` when the queue is closed and empty. */
  take(): Promise<SendRequest | undefined>;

  /** A request that was taken is dealt with, sent or dropped: the queue forgets it. */
  ack(request: SendRequest): void;

  /** Refuses whatever comes from now on; what waits can still be taken. */
  close(): void;
}

/** Why a queue did not take a request. */
export type RefusalReason = 'queue_full' | 'too_large' | 'shutdown';

/** A queue did not take a request. */
export class QueueRefusal extends Error {
  override readonly name = 'QueueRefusal';
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** How a queue in memory is bounded. */
export interface MemoryQueueOptions {
  /** Bound on what waits, in the unit of `sizeOf`. */
  capacity: number;
  sizeOf: (request: SendRequest) => number;
  /** Bound on the bytes of all requests that wait or are being sent. */
  maxBytes: number;
  /** Whether `put` waits for room where there is none; else it rejects. */
  blockOnOverflow: boolean;
}

/** Someone whose request found no room and who waits for it. */
interface Blocked {
  request: SendRequest;
  resolve: () => void;
  reject: (reason: QueueRefusal) => void;
}

/** First in, first out, in memory. Handing over takes no timer: a waiting consumer gets the request at once. */
export class MemoryQueue implements Queue {
  readonly capacity: number;
  readonly #options: MemoryQueueOptions;
  readonly #waiting: SendRequest[] = [];
  readonly #blocked: Blocked[] = [];
  readonly #consumers: ((request: SendRequest | undefined) => void)[] = [];
  #size = 0;
  #heldBytes = 0;
  #closed = false;

  constructor(options: MemoryQueueOptions) {
    this.#options = options;
    this.capacity = options.capacity;
  }

  get size(): number {
    return this.#size;
  }

  /** Bytes of all requests that wait or are being sent. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  async put(request: SendRequest): Promise<void> {
    if (this.#closed) throw new QueueRefusal('shutdown', 'cannot queue a request: the exporter is shutting down');
    const { capacity, sizeOf, maxBytes, blockOnOverflow } = this.#options;
    if (sizeOf(request) > capacity || request.body.byteLength > maxBytes) {
      throw new QueueRefusal('too_large', `cannot queue a request of ${request.body.byteLength} bytes: over the bound`);
    }
    if (this.#blocked.length === 0 && this.#hasRoomFor(request)) return this.#add(request);
    if (!blockOnOverflow) throw new QueueRefusal('queue_full', 'cannot queue a request: the sending queue is full');
    return new Promise((resolve, reject) => this.#blocked.push({ request, resolve, reject }));
  }

  async take(): Promise<SendRequest | undefined> {
    const request = this.#waiting.shift();
    if (request !== undefined) {
      this.#size -= this.#options.sizeOf(request);
      this.#admitBlocked();
      return request;
    }
    if (this.#closed) return undefined;
    return new Promise((resolve) => this.#consumers.push(resolve));
  }

  ack(request: SendRequest): void {
    this.#heldBytes -= request.body.byteLength;
    this.#admitBlocked();
  }

  close(): void {
    this.#closed = true;
    for (const resolve of this.#consumers.splice(0)) resolve(undefined);
    for (const { reject } of this.#blocked.splice(0)) {
      reject(new QueueRefusal('shutdown', 'cannot queue a request: the exporter is shutting down'));
    }
  }

  #hasRoomFor(request: SendRequest): boolean {
    const { capacity, sizeOf, maxBytes } = this.#options;
    return this.#size + sizeOf(request) <= capacity && this.#heldBytes + request.body.byteLength <= maxBytes;
  }

  #add(request: SendRequest): void {
    this.#heldBytes += request.body.byteLength;
    const handToConsumer = this.#consumers.shift();
    if (handToConsumer !== undefined) return handToConsumer(request);
    this.#size += this.#options.sizeOf(request);
    this.#waiting.push(request);
  }

  #admitBlocked(): void {
    for (let next = this.#blocked[0]; next !== undefined && this.#hasRoomFor(next.request); next = this.#blocked[0]) {
      this.#blocked.shift();
      this.#add(next.request);
      next.resolve();
    }
  }
}
