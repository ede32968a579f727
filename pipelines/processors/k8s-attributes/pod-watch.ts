import { setTimeout as sleep } from 'node:timers/promises';
import { Backoff } from '../../exporters/sending/backoff.ts';
import { ApiError, type ApiServer } from './api-server.ts';
import { ListSplitter, splitLines } from './json-stream.ts';
import { readPod } from './pod.ts';
import type { PodTable } from './pod-table.ts';
import type { PodSelection } from './selection.ts';

/** Told how the watch does. */
export interface PodWatcher {
  /** A list of all pods begins. */
  listing(): void;
  /** Pods are known, and changes come in. Told after each list and each new connection. */
  up(): void;
  /** The API server cannot be asked. Told for each attempt. */
  down(error: unknown): void;
  /** Something of the API server's that cannot be used. */
  unusable(what: 'too_large' | 'unreadable'): void;
}

const pageSize = 500;

/** The API server stores no object beyond 1.5 MiB; what it sends of one has more spaces at most. */
const mostObjectBytes = 4 * 1024 * 1024;

/** How long the server is asked to go on; a half more at random, as of client-go. */
const shortestWatchSeconds = 300;

/** A bookmark comes every minute where nothing else does. A connection without a byte for so long is dead. */
const watchIdleMs = 150_000;
const listIdleMs = 30_000;

/** A watch that has lasted for so long has worked, as has one that told of a change. */
const workingMs = 1_000;

const backoffOptions = { initialMs: 500, multiplier: 2, maxMs: 10_000, randomizationFactor: 0.5 };

/**
 * Follows the pods of one node, or some of them: one list, then one watch from there on, which goes on where it ended whenever it ends. A
 * list is asked for again only where the server no longer has what came in between (410 Gone).
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
export class PodWatch {
  readonly #server: ApiServer;
  readonly #pods: PodSelection;
  readonly #table: PodTable;
  readonly #watcher: PodWatcher;
  /** Up to where the table is true; absent where a list is needed. */
  #resourceVersion: string | undefined;
  /** Lists in a row after which the server had no changes to go on with. */
  #vainLists = 0;
  #backoff = new Backoff(backoffOptions);

  constructor(server: ApiServer, pods: PodSelection, table: PodTable, watcher: PodWatcher) {
    this.#server = server;
    this.#pods = pods;
    this.#table = table;
    this.#watcher = watcher;
  }

  /** Until `signal` is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let waitMs = 0;
      try {
        this.#resourceVersion ??= await this.#list(signal);
        const lastedMs = await this.#watch(this.#resourceVersion, signal);
        if (lastedMs >= workingMs) this.#backoff = new Backoff(backoffOptions);
        else waitMs = this.#backoff.nextMs();
      } catch (error) {
        if (signal.aborted) return;
        waitMs = this.#backoff.nextMs();
        if (isExpired(error)) {
          this.#resourceVersion = undefined;
          this.#vainLists++;
        } else {
          this.#watcher.down(error);
          if (error instanceof ApiError) waitMs = Math.max(waitMs, error.retryAfterMs);
        }
      }
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Resolves with the version of the list. */
  async #list(signal: AbortSignal): Promise<string> {
    this.#watcher.listing();
    const seen = new Set<string>();
    let next: string | undefined;
    let resourceVersion: string | undefined;
    do {
      const query = this.#query({ limit: String(pageSize) });
      if (next !== undefined) query.set('continue', next);
      // From the server's memory, whatever its age: that is what it does for a node at next to no cost.
      else if (this.#vainLists < 2) query.set('resourceVersion', '0');
      const splitter = new ListSplitter((item) => this.#listed(item, seen), mostObjectBytes);
      for await (const chunk of await this.#get(query, listIdleMs, signal)) splitter.push(chunk);
      const { metadata } = splitter.end() as { metadata?: { resourceVersion?: unknown; continue?: unknown } };
      resourceVersion = textOf(metadata?.resourceVersion);
      next = textOf(metadata?.continue);
    } while (next !== undefined);
    if (resourceVersion === undefined) throw new Error('the server sent a list without a resourceVersion');
    this.#table.retain(seen);
    return resourceVersion;
  }

  #listed(item: Buffer | undefined, seen: Set<string>): void {
    const pod = item === undefined ? undefined : this.#read(() => readPod(JSON.parse(item.toString())));
    if (item === undefined) this.#watcher.unusable('too_large');
    if (pod === undefined) return;
    seen.add(pod.uid);
    this.#table.put(pod);
  }

  /**
   * Resolves with how long it lasted, in milliseconds, when it ends, in whatever way; rejects where it does not begin, or
   * where the server says why it cannot go on.
   */
  async #watch(resourceVersion: string, signal: AbortSignal): Promise<number> {
    const seconds = Math.round(shortestWatchSeconds * (1 + Math.random() / 2));
    const query = this.#query({
      watch: '1',
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(seconds),
      resourceVersion,
    });
    const body = await this.#get(query, watchIdleMs, signal);
    const beganAtMs = performance.now();
    this.#watcher.up();
    try {
      for await (const line of splitLines(body, mostObjectBytes)) {
        if (line === undefined) this.#watcher.unusable('too_large');
        else this.#take(line);
      }
    } catch (error) {
      // A connection that breaks is no failure as long as the next one can be made.
      if (error instanceof ApiError) throw error;
    }
    return performance.now() - beganAtMs;
  }

  /** `{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{…},"spec":{…},"status":{…}}}` (v1.33) */
  #take(line: Buffer): void {
    const event = this.#read(() => JSON.parse(line.toString()) as WatchEvent | null);
    if (event === undefined) return;
    const { type, object } = event ?? {};
    if (type === 'ERROR') {
      throw new ApiError(Number(object?.code ?? 0), `the watch ended: ${String(object?.message).slice(0, 500)}`);
    }
    const version = textOf(object?.metadata?.resourceVersion);
    const pod = type === 'BOOKMARK' ? undefined : this.#read(() => readPod(object));
    if (pod !== undefined && type === 'DELETED') this.#table.remove(pod.uid);
    else if (pod !== undefined) this.#table.put(pod);
    if (version === undefined) return;
    this.#resourceVersion = version;
    this.#vainLists = 0;
    this.#backoff = new Backoff(backoffOptions);
  }

  #read<T>(read: () => T | undefined): T | undefined {
    try {
      const value = read();
      if (value !== undefined) return value;
    } catch {
      // Counted below.
    }
    this.#watcher.unusable('unreadable');
  }

  #query(more: Record<string, string>): URLSearchParams {
    return new URLSearchParams({ ...this.#pods.query, ...more });
  }

  #get(query: URLSearchParams, idleMs: number, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return this.#server.get(`${this.#pods.path}?${query.toString()}`, idleMs, signal);
  }
}

interface WatchEvent {
  type?: unknown;
  object?: { code?: unknown; message?: unknown; metadata?: { resourceVersion?: unknown } };
}

/** What the server still knows begins later than what was asked for: HTTP 410, and as an event. */
function isExpired(error: unknown): boolean {
  return error instanceof ApiError && error.code === 410;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
