import { ContainerdInspector, type SubscriptionSettings } from './containerd-inspector.ts';
import { decodeEnvelope, type ContainerdEvent } from './containerd-event.ts';
import { textKeyOf } from './containerd-container.ts';
import type { RememberedContainer } from './containerd-memory.ts';

/** Times of one moment that went through different number formats may differ by so much. */
const clockGrainMs = 1;

/** Nobody else gets the pid of a process that ended so short a time ago. */
const pidIsOwnForMs = 5_000;

/** More events than this of one container do not wait until it is known who it is. */
const mostHeld = 100;

/** One subscription to containerd's events, with the listing that goes with it. */
export class ContainerdSubscription {
  readonly #settings: SubscriptionSettings;
  readonly #inspector: ContainerdInspector;
  /**
   * What came of containers that were just made, until it is known who they are: where we are late it comes together
   * with their making, and a kill or an exit would be told without a name.
   */
  readonly #held = new Map<string, { isKnown: boolean; events: ContainerdEvent[] }>();

  constructor(settings: SubscriptionSettings) {
    this.#settings = settings;
    this.#inspector = new ContainerdInspector(settings, (containerId) => this.#release(containerId));
  }

  /** Subscribes, lists, calls `up`, and goes on until it is broken: always rejects in the end. */
  async run(up: () => void): Promise<never> {
    const { api, signal } = this.#settings;
    const broken = this.#follow();
    // Where something else fails first nobody awaits this any more.
    broken.catch(() => {});
    // containerd gives no sign of a subscription before there is an event. What is asked later over the same connection is
    // answered later: when this answer is here the subscription, which waits for nothing, is made.
    await Promise.race([broken, api.version(signal)]);
    await Promise.race([broken, this.#inspector.list()]);
    up();
    return broken;
  }

  async #follow(): Promise<never> {
    const { api, namespaces, clock, onBadInput, signal } = this.#settings;
    try {
      for await (const envelope of api.events(namespaces, signal)) {
        const event = decodeEnvelope(envelope, clock(), onBadInput);
        if (event !== undefined && namespaces.includes(event.namespace) && !this.#hold(event)) this.#take(event);
      }
    } catch (cause) {
      throw new Error(`the stream of events from "${api.socket}" broke`, { cause });
    }
    throw new Error(`containerd ended the stream of events from "${api.socket}"`);
  }

  #hold(event: ContainerdEvent): boolean {
    const held = this.#held.get(event.containerId);
    if (held === undefined || !waits(event) || held.events.length >= mostHeld) return false;
    held.events.push(event);
    return true;
  }

  /** In the order in which containers were made: the later one of a pod's container is a restart of the other. */
  #release(containerId: string): void {
    const asked = this.#held.get(containerId);
    if (asked !== undefined) asked.isKnown = true;
    for (const [id, { isKnown, events }] of this.#held) {
      if (!isKnown) return;
      this.#held.delete(id);
      if (this.#settings.signal.aborted) continue;
      for (const event of events) if (!this.#hold(event)) this.#take(event);
    }
  }

  #take(event: ContainerdEvent): void {
    const { memory, emit } = this.#settings;
    const { containerId, namespace, atMs } = event;
    switch (event.kind) {
      case 'created':
        // Before it starts: a short-lived one is gone before it could be asked for then.
        memory.add(containerId, namespace);
        this.#held.set(containerId, { isKnown: false, events: [] });
        void this.#inspector.askWhetherStarted(containerId);
        return this.#inspector.askAfterEvent(containerId);
      case 'updated': {
        // A kubelet that manages CPUs updates every container every ten seconds.
        const known = memory.get(containerId);
        const isChanged = known?.textKey !== undefined && known.textKey !== textKeyOf(event);
        return isChanged ? this.#inspector.askAfterEvent(containerId) : undefined;
      }
      case 'deleted':
        if (memory.delete(containerId)?.told) emit({ kind: 'container_removed', containerId, atMs });
        return;
      case 'started':
        return this.#takeStart(event);
      case 'exited':
        // An exec that ended says nothing of the container; one that was killed by the OOM killer comes with an OOM event.
        return event.isMain ? this.#takeExit(event) : undefined;
      case 'oom':
        return emit({ kind: 'oom_hinted', containerId, atMs });
      case 'paused':
      case 'resumed':
        return emit({ kind: 'container_paused', containerId, atMs, paused: event.kind === 'paused' });
    }
  }

  #takeStart({ containerId, namespace, atMs, pid }: ContainerdEvent & { kind: 'started' }): void {
    const { memory, emit } = this.#settings;
    const container = memory.add(containerId, namespace);
    if (isToldStart(container, atMs, pid)) return;
    Object.assign(container, { pid, startedAtMs: atMs, endedAtMs: undefined, exitCode: undefined, told: true });
    const facts = container.described?.facts ?? { runtime: 'containerd' as const };
    emit({ kind: 'container_started', containerId, ...facts, atMs });
    const isDescribed = container.described !== undefined;
    // Tells the pid, which the event of its start has no room for.
    this.#inspector.tell(containerId, container);
    if (!isDescribed) this.#inspector.askAfterEvent(containerId);
  }

  #takeExit({ containerId, namespace, atMs, pid, exitCode }: ContainerdEvent & { kind: 'exited' }): void {
    const { memory, emit } = this.#settings;
    const container = memory.add(containerId, namespace);
    if (isToldExit(container, atMs, pid)) return;
    const facts = container.described?.facts ?? { runtime: 'containerd' as const };
    Object.assign(container, { pid, endedAtMs: atMs, exitCode, told: true });
    emit({ kind: 'container_exited', containerId, ...facts, atMs, exitCode });
  }
}

/** What a shim tells again, or what the listing has told before it. */
function isToldStart(container: RememberedContainer, atMs: number, pid: number): boolean {
  const { startedAtMs, endedAtMs } = container;
  if (container.pid === pid && startedAtMs !== undefined && endedAtMs === undefined) return true;
  if (endedAtMs === undefined) return startedAtMs !== undefined && atMs <= startedAtMs + clockGrainMs;
  return atMs <= endedAtMs + clockGrainMs || (container.pid === pid && atMs <= endedAtMs + pidIsOwnForMs);
}

function isToldExit({ startedAtMs, endedAtMs, pid }: RememberedContainer, atMs: number, ofPid: number): boolean {
  if (endedAtMs !== undefined) return atMs <= endedAtMs + clockGrainMs;
  // Of an earlier life; begins and ends are written down by different clocks.
  return startedAtMs !== undefined && pid !== undefined && pid !== ofPid && atMs <= startedAtMs;
}

/** Not so a hint at a kill, nor what says nothing of the container: the exit of a probe, say. */
function waits(event: ContainerdEvent): boolean {
  return event.kind !== 'oom' && (event.kind !== 'exited' || event.isMain);
}
