import { setTimeout as delay } from 'node:timers/promises';
import type { ComponentSettings, SignalKind } from '../../component.ts';
import { PermanentError, ThrottledError } from '../../errors.ts';
import { Backoff } from './backoff.ts';
import type { RetryConfig } from './config.ts';
import { DestinationLog } from './destination-log.ts';
import { QueueRefusal, type Queue, type RefusalReason } from './queue.ts';
import type { SendRequest } from './request.ts';
import type { ShutdownDrops } from './shutdown-drops.ts';
import { ExporterTelemetry, type DropReason } from './telemetry.ts';
import { RefusedError, type SendAnswer, type Transport } from './transport.ts';

/** A destination cannot silence us for longer than this, whatever delay it names. */
const LONGEST_WAIT_MS = 3_600_000;

/** The queue of a sender and how many consumers empty it. */
export interface SenderQueue {
  queue: Queue;
  consumers: number;
  /** Whether `submit` waits until the request is sent or dropped, and rejects in the latter case. */
  waitForResult: boolean;
}

/** Takes the requests of one signal to one destination: queue, attempts, counts and log lines. */
export class Sender {
  readonly #kind: SignalKind;
  readonly #transport: Transport;
  readonly #retry: RetryConfig;
  readonly #queued: SenderQueue | undefined;
  readonly #telemetry: ExporterTelemetry;
  readonly #log: DestinationLog;
  readonly #shutdownDrops: ShutdownDrops;
  readonly #results = new WeakMap<SendRequest, PromiseWithResolvers<void>>();
  /** Aborted when shutdown begins: waits between attempts end, and there is one more attempt at most. */
  readonly #stopping = new AbortController();
  /** Aborted at the deadline of shutdown: attempts end. */
  readonly #abandoned = new AbortController();
  readonly #underWay = new Set<Promise<void>>();
  #stopObserving: (() => void) | undefined;
  #stopped = false;

  /** Without `queued`, `submit` sends at once. What is dropped at shutdown goes to `shutdownDrops` to be told. */
  constructor(
    kind: SignalKind,
    transport: Transport,
    retry: RetryConfig,
    queued: SenderQueue | undefined,
    settings: ComponentSettings,
    shutdownDrops: ShutdownDrops,
  ) {
    this.#kind = kind;
    this.#transport = transport;
    this.#retry = retry;
    this.#queued = queued;
    this.#telemetry = new ExporterTelemetry(kind, settings);
    this.#log = new DestinationLog(settings.logger, kind, transport.destination(kind));
    this.#shutdownDrops = shutdownDrops;
  }

  start(): void {
    if (this.#queued === undefined) return;
    const { queue, consumers } = this.#queued;
    this.#stopObserving = this.#telemetry.observeQueue(queue);
    for (let i = 0; i < consumers; i++) this.#track(this.#consume(queue));
  }

  /**
   * Resolves once the request is queued; without a queue, or where results are waited for, once it is sent. Rejects
   * when it was refused by the queue or dropped.
   */
  async submit(request: SendRequest): Promise<void> {
    if (this.#queued === undefined) return this.#sendUnqueued(request);
    const { queue, waitForResult } = this.#queued;
    const result = waitForResult ? Promise.withResolvers<void>() : undefined;
    if (result !== undefined) this.#results.set(request, result);
    try {
      await queue.put(request);
    } catch (error) {
      this.#refuse(request, error);
      request.release?.();
      throw error;
    }
    await result?.promise;
  }

  /** Counts what could not even be made into a request. */
  refuseUnserialised(items: number, error: unknown): void {
    this.#telemetry.dropped(items, 'permanent_error');
    this.#tellDropped(items, 'permanent_error', 'serialisation', error);
  }

  /** Shutdown is about to begin: no request waits for another attempt any more, nor gets more than one. */
  stopRetrying(): void {
    this.#stopping.abort();
  }

  /**
   * Sends each request that waits once, gives up at the deadline and drops what is left. Called again, it only
   * brings its deadline along.
   */
  async stop(deadline: AbortSignal): Promise<void> {
    const abandon = () => this.#abandoned.abort(new Error('the deadline of the shutdown has passed'));
    if (deadline.aborted) abandon();
    else deadline.addEventListener('abort', abandon, { once: true });
    this.stopRetrying();
    this.#stopped = true;
    this.#queued?.queue.close();
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
    if (this.#queued !== undefined) await this.#dropUnconsumed(this.#queued.queue);
    deadline.removeEventListener('abort', abandon);
    this.#stopObserving?.();
    this.#stopObserving = undefined;
  }

  /** What nobody took out, as we were never started. */
  async #dropUnconsumed(queue: Queue): Promise<void> {
    for (let request = await queue.take(); request !== undefined; request = await queue.take()) {
      this.#drop(request, 'shutdown', new Error('the exporter was never started'));
      queue.ack(request);
      request.release?.();
    }
  }

  async #sendUnqueued(request: SendRequest): Promise<void> {
    if (this.#stopped) {
      const refusal = new QueueRefusal('shutdown', 'cannot send: the exporter is shutting down');
      this.#refuse(request, refusal);
      request.release?.();
      throw refusal;
    }
    const delivery = this.#deliver(request).finally(request.release);
    this.#track(delivery);
    return delivery;
  }

  async #consume(queue: Queue): Promise<void> {
    while (await this.#consumeOne(queue));
  }

  /**
   * False when there is nothing more to come. A function of its own, so that a consumer that waits does not hold on
   * to the request before.
   */
  async #consumeOne(queue: Queue): Promise<boolean> {
    const request = await queue.take();
    if (request === undefined) return false;
    const result = this.#results.get(request);
    try {
      await this.#deliver(request);
      result?.resolve();
    } catch (error) {
      result?.reject(error);
    }
    queue.ack(request);
    request.release?.();
    return true;
  }

  /** Resolves when the request is sent; rejects when it is dropped, which is then counted and logged. */
  async #deliver(request: SendRequest): Promise<void> {
    const backoff = new Backoff(this.#retry);
    const beganMs = performance.now();
    for (;;) {
      const { answer, error } = await this.#attempt(request);
      if (answer !== undefined) return this.#sent(request, answer);
      const waitMs = waitBeforeNext(error, backoff);
      const dropped = this.#reasonToDrop(error, performance.now() - beganMs + waitMs);
      if (dropped !== undefined) {
        this.#drop(request, dropped, error);
        throw error;
      }
      this.#log.failed(error);
      await this.#pause(waitMs);
    }
  }

  async #attempt(request: SendRequest): Promise<{ answer?: SendAnswer; error?: unknown }> {
    const abandon = this.#abandoned.signal;
    if (abandon.aborted) return { error: abandon.reason };
    try {
      return { answer: await this.#transport.send(this.#kind, request.body, abandon) };
    } catch (error) {
      return { error };
    }
  }

  #reasonToDrop(error: unknown, nextAttemptAfterMs: number): DropReason | undefined {
    if (error instanceof PermanentError) return 'permanent_error';
    if (this.#stopping.signal.aborted) return 'shutdown';
    if (!this.#retry.enabled) return 'retry_disabled';
    const { maxElapsedMs } = this.#retry;
    return maxElapsedMs > 0 && nextAttemptAfterMs > maxElapsedMs ? 'retries_exhausted' : undefined;
  }

  #sent({ items }: SendRequest, { rejectedItems, message }: SendAnswer): void {
    this.#log.sent();
    // What a destination says of numbers is not to be trusted further than what we sent.
    const rejected = Math.min(Math.max(rejectedItems, 0), items);
    this.#telemetry.sent(items - rejected);
    if (rejected > 0) {
      this.#telemetry.dropped(rejected, 'partial_success');
      this.#log.dropped(rejected, 'partial_success', '', message ?? 'the destination gave no reason');
    } else if (message !== undefined) {
      this.#log.warned(message);
    }
  }

  #drop({ items }: SendRequest, reason: DropReason, error: unknown): void {
    this.#telemetry.dropped(items, reason);
    this.#tellDropped(items, reason, error instanceof RefusedError ? error.code : '', error);
  }

  #refuse({ items }: SendRequest, error: unknown): void {
    const reason = error instanceof QueueRefusal ? error.reason : 'queue_full';
    this.#telemetry.refused(items, reason);
    this.#tellDropped(items, reason, 'queue', error);
  }

  #tellDropped(items: number, reason: DropReason | RefusalReason, code: string, error: unknown): void {
    if (this.#shutdownDrops.isOpen) this.#shutdownDrops.add(this.#kind, items, error);
    else this.#log.dropped(items, reason, code, error);
  }

  /** Ends early when shutdown begins. */
  async #pause(waitMs: number): Promise<void> {
    await delay(waitMs, undefined, { signal: this.#stopping.signal }).catch(() => {});
  }

  /** Remembers `work` until it is settled, so that shutdown can wait for it. */
  #track(work: Promise<void>): void {
    const settled = work.catch(() => {}).finally(() => this.#underWay.delete(settled));
    this.#underWay.add(settled);
  }
}

function waitBeforeNext(error: unknown, backoff: Backoff): number {
  const askedMs = error instanceof ThrottledError ? error.retryAfterMs : 0;
  return Math.min(Math.max(backoff.nextMs(), askedMs), LONGEST_WAIT_MS);
}
