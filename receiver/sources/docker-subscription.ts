import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { printable } from './bad-input.ts';
import {
  clashOf,
  decodeEvent,
  observationOf,
  showsDeception,
  type DockerEvent,
  type LabelClash,
} from './docker-event.ts';
import { DockerInspector, type SubscriptionSettings } from './docker-inspector.ts';
import { LineSplitter } from './line-splitter.ts';

const longestEventBytes = 2 ** 20;

/** A replay of events is over when so long none has come, */
const endOfReplayMs = 50;
/** and is not waited for any longer than this. */
const longestReplayMs = 1000;

/** One subscription to the events of a daemon, with the listing that goes with it. */
export class DockerSubscription {
  readonly #settings: SubscriptionSettings;
  readonly #lines: LineSplitter;
  readonly #inspector: DockerInspector;
  #linesTaken = 0;

  constructor(settings: SubscriptionSettings) {
    const { onBadInput } = settings;
    this.#settings = settings;
    this.#lines = new LineSplitter(longestEventBytes, (start) =>
      onBadInput(`event is longer than ${longestEventBytes} bytes`, printable(start)),
    );
    this.#inspector = new DockerInspector(settings);
  }

  /** Subscribes, lists, calls `up`, and goes on until it is broken: always rejects in the end. */
  async run(up: () => void): Promise<never> {
    const { api, runtime, memory, clock, signal } = this.#settings;
    const { resumes } = memory;
    // Podman (4.3, 5.4) gives no sign of a subscription before there is an event. It writes its events down, so that those
    // between our asking and its subscribing come as well.
    const silent = runtime === 'podman';
    const subscribed = api.events(memory.resumeAtMs(clock()), silent, signal);
    const broken = subscribed.then((stream) => this.#follow(stream));
    // Where something else fails first nobody awaits this any more.
    broken.catch(() => {});
    if (!silent) await subscribed;
    // What was missed is better told by its events than by what came of it.
    if (resumes) await Promise.race([broken, this.#untilReplayed(subscribed)]);
    await Promise.race([broken, this.#inspector.list()]);
    up();
    return broken;
  }

  /** The daemon does not say where the replay of old events ends and the present begins, but it replays in one go. */
  async #untilReplayed(subscribed: Promise<unknown>): Promise<void> {
    const { signal } = this.#settings;
    const pause = (ms: number) => sleep(ms, undefined, { signal });
    await Promise.race([subscribed, pause(longestReplayMs)]);
    let before = -1;
    for (let waitedMs = 0; before !== this.#linesTaken && waitedMs < longestReplayMs; waitedMs += endOfReplayMs) {
      before = this.#linesTaken;
      await pause(endOfReplayMs);
    }
  }

  /** Takes in what the stream brings. Always rejects in the end, and leaves the stream closed. */
  async #follow(stream: Readable): Promise<never> {
    const { api, signal } = this.#settings;
    const { promise: broken, reject } = Promise.withResolvers<never>();
    const stop = (): void => void stream.destroy();
    const take = (line: string): void => {
      this.#linesTaken++;
      this.#take(line);
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    stream.on('error', reject);
    stream.once('end', () => reject(new Error('the daemon ended it')));
    stream.once('close', () => reject(new Error('it was closed')));
    stream.on('data', (chunk: Buffer) => {
      try {
        this.#lines.push(chunk, take);
      } catch (error) {
        reject(error);
      }
    });
    try {
      return await broken;
    } catch (cause) {
      throw new Error(`the stream of events from "${api.endpoint}" broke`, { cause });
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
    }
  }

  /** One event: emitted at once. A container that was started is asked for what the event does not tell. */
  #take(line: string): void {
    const { runtime, memory, clock, onBadInput, emit } = this.#settings;
    const event = decodeEvent(line, clock(), onBadInput);
    if (event === undefined || !memory.isNew(event)) return;
    const clash = this.#note(event);
    const observation = observationOf(event, runtime, clash, onBadInput);
    if (observation !== undefined) emit(observation);
    const tellsTooLittle = event.action === 'die' && clash.deceptive;
    if (event.action === 'start' || tellsTooLittle) this.#inspector.askAfterEvent(event.containerId);
  }

  #note(event: DockerEvent): LabelClash {
    const { runtime, memory } = this.#settings;
    const { containerId, action, atMs } = event;
    const turns = action === 'start' || action === 'die';
    const container = turns ? memory.add(containerId) : memory.get(containerId);
    if (action === 'destroy') memory.delete(containerId);
    if (container === undefined) return clashOf({}, runtime);
    if (turns) {
      container.told = true;
      container.endedAtMs = action === 'die' ? atMs : undefined;
      if (action === 'start') container.startedAtMs = atMs;
    }
    if (showsDeception(event, runtime)) container.deceptive = true;
    return container;
  }
}
