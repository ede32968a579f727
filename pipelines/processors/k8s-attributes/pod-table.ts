import type { Attributes } from '@opentelemetry/api';
import type { PodReport } from '../../component.ts';
import type { ContainerResources, Pod } from './pod.ts';

/** What is kept of a pod. */
export interface KnownPod {
  /** The same object for as long as nothing in it changes. */
  readonly attributes: Attributes;
  /** Guaranteed, Burstable or BestEffort. */
  readonly qosClass: string | undefined;
  /** By container name. */
  readonly resources: ReadonlyMap<string, ContainerResources>;
  readonly report: PodReport;
}

interface Entry extends KnownPod {
  readonly uid: string;
  readonly localUid: string;
  readonly isOver: boolean;
  /** When the API no longer had it, by the monotonic clock. */
  goneAtMs?: number;
}

/** A node runs 110 pods, 500 at most; the others are gone, or over: those of jobs, which can stay by the thousand. */
const mostPods = 2_000;

/** What is told of a container comes after its pod is gone, and its counters go on for minutes. */
const keptGoneMs = 600_000;

/** The pods of this node, and for a while those that are gone. */
export class PodTable {
  readonly #attributesOf: (pod: Pod) => Attributes;
  readonly #now: () => number;
  /** By the API's uid. Those that are gone come in the order in which they went, but among the others. */
  readonly #pods = new Map<string, Entry>();
  /** Of static pods: the API's uid by the runtime's. */
  readonly #mirrors = new Map<string, string>();
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #followers = new Set<(pod: PodReport) => void>();
  #nodeUid: string | undefined;
  #refused = 0;

  /** `now` is a monotonic clock in milliseconds. */
  constructor(attributesOf: (pod: Pod) => Attributes, now: () => number = () => performance.now()) {
    this.#attributesOf = attributesOf;
    this.#now = now;
  }

  /** Pods that exist, as far as is known. */
  get size(): number {
    let size = 0;
    for (const { goneAtMs } of this.#pods.values()) if (goneAtMs === undefined) size++;
    return size;
  }

  /** Times that a pod found no room. */
  get refused(): number {
    return this.#refused;
  }

  /** Known on a node that has static pods: the API's mirrors of them belong to the node. */
  get nodeUid(): string | undefined {
    return this.#nodeUid;
  }

  /** `uid` is the runtime's or the API's. */
  get(uid: string): KnownPod | undefined {
    return this.#pods.get(uid) ?? this.#pods.get(this.#mirrors.get(uid) ?? '');
  }

  put(pod: Pod): void {
    const { uid, localUid, node, qosClass, resources, namespace, name, instances, isWaiting, isOver } = pod;
    const report = { uid: localUid, namespace, name, instances, isWaiting };
    const before = this.#pods.get(uid);
    if (before === undefined && !this.#makeRoom()) {
      this.#refused++;
      return;
    }
    const attributes = this.#attributesOf(pod);
    const same = before !== undefined && isSame(before.attributes, attributes);
    this.#pods.set(uid, {
      uid,
      localUid,
      attributes: same ? before.attributes : attributes,
      qosClass,
      resources,
      report,
      isOver,
    });
    if (localUid !== uid) this.#mirrors.set(localUid, uid);
    if (node !== undefined) this.#nodeUid = node.uid;
    this.#release(uid);
    this.#release(localUid);
    for (const seen of this.#followers) seen(report);
  }

  /** `seen` is told of the pods that exist, and of each that is put, until `signal` is aborted. */
  follow(seen: (pod: PodReport) => void, signal: AbortSignal): void {
    for (const { report, goneAtMs } of this.#pods.values()) if (goneAtMs === undefined) seen(report);
    this.#followers.add(seen);
    signal.addEventListener('abort', () => this.#followers.delete(seen), { once: true });
  }

  /** The API no longer has it. */
  remove(uid: string): void {
    const entry = this.#pods.get(uid);
    if (entry === undefined || entry.goneAtMs !== undefined) return;
    entry.goneAtMs = this.#now();
    // Last among those that are gone.
    this.#pods.delete(uid);
    this.#pods.set(uid, entry);
    this.#forgetGone();
  }

  /** The API has these and no others. */
  retain(uids: ReadonlySet<string>): void {
    for (const { uid, goneAtMs } of this.#pods.values()) {
      if (goneAtMs === undefined && !uids.has(uid)) this.remove(uid);
    }
  }

  /** Resolves when the pod is known, when `waitMs` are over, or when nobody is to wait any longer. */
  async known(uid: string, waitMs: number): Promise<void> {
    if (this.get(uid) !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = this.#waiting.get(uid) ?? new Set();
    this.#waiting.set(uid, waiting.add(resolve));
    const timer = setTimeout(resolve, waitMs);
    await promise;
    clearTimeout(timer);
    waiting.delete(resolve);
    if (waiting.size === 0 && this.#waiting.get(uid) === waiting) this.#waiting.delete(uid);
  }

  /** Lets go whoever waits for a pod. */
  releaseAll(): void {
    for (const uid of this.#waiting.keys()) this.#release(uid);
  }

  #release(uid: string): void {
    for (const resolve of this.#waiting.get(uid) ?? []) resolve();
  }

  #makeRoom(): boolean {
    if (this.#pods.size < mostPods) return true;
    const entries = [...this.#pods.values()];
    const least = entries.find(({ goneAtMs }) => goneAtMs !== undefined) ?? entries.find(({ isOver }) => isOver);
    if (least === undefined) return false;
    this.#forget(least);
    return true;
  }

  #forgetGone(): void {
    const earliestMs = this.#now() - keptGoneMs;
    for (const entry of this.#pods.values()) {
      if (entry.goneAtMs === undefined) continue;
      if (entry.goneAtMs > earliestMs) return;
      this.#forget(entry);
    }
  }

  #forget({ uid, localUid }: Entry): void {
    this.#pods.delete(uid);
    if (this.#mirrors.get(localUid) === uid) this.#mirrors.delete(localUid);
  }
}

function isSame(a: Attributes, b: Attributes): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
