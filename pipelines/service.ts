import type { Component, Exporter, Extension, Logger, Storage } from './component.ts';
import type { ServiceConfig } from './config.ts';
import { describeError } from './errors.ts';
import { buildGraph, type ComponentKind, type MakeSettings, type Node } from './graph.ts';

/** Past the deadline components need a moment to drop and count what is left. */
const graceMs = 1_000;

/** Runs what a configuration describes. */
export class Service {
  readonly #extensions: readonly (Node & { component: Extension })[];
  readonly #nodes: readonly Node[];
  readonly #logger: Logger;
  #stopped: Promise<void> | undefined;

  constructor(config: ServiceConfig, logger: Logger, settingsOf: MakeSettings) {
    this.#logger = logger;
    this.#extensions = config.service.extensions.map((id) => {
      const { factory, config: section } = config.extensions.get(id)!;
      return { id, component: factory.create(section, settingsOf('extension', id)) };
    });
    this.#nodes = buildGraph(config, (kind, id) => ({
      ...settingsOf(kind, id),
      storage: this.#storageOf(config, kind, id),
    }));
  }

  #storageOf(config: ServiceConfig, kind: ComponentKind, id: string): Storage | undefined {
    const { storage } = config[`${kind}s`].get(id)!;
    const extension = this.#extensions.find((node) => node.id === storage);
    return extension?.component.storageOf?.(`${kind}_${id}`);
  }

  /** Starts extensions, then components from exporters to receivers. Rejects, and stops what it started, if one fails. */
  async start(): Promise<void> {
    for (const { id, component } of [...this.#extensions, ...this.#nodes]) {
      try {
        await component.start();
      } catch (error) {
        await this.shutdown(AbortSignal.timeout(1_000));
        throw new Error(`cannot start ${id}`, { cause: error });
      }
    }
    this.#setReady(true);
  }

  /**
   * Stops components from receivers to exporters, so that each passes on what it holds to one that still takes it;
   * extensions last. Past the deadline components drop and count, and one that does not come to an end is left alone.
   * All but exporters and extensions have until `upstreamDeadline` only: a destination that is slow to answer keeps
   * them waiting, and what they hold until then needs time to be sent. Never rejects; safe to call twice.
   */
  shutdown(deadline: AbortSignal, upstreamDeadline: AbortSignal = deadline): Promise<void> {
    this.#stopped ??= this.#stop(deadline, upstreamDeadline);
    return this.#stopped;
  }

  async #stop(deadline: AbortSignal, upstreamDeadline: AbortSignal): Promise<void> {
    this.#setReady(false);
    for (const { component } of this.#nodes) if (isExporter(component)) component.stopRetrying?.();
    const exporters = this.#nodes.filter(({ component }) => isExporter(component));
    const upstream = this.#nodes.filter((node) => !exporters.includes(node));
    for (const node of upstream.toReversed()) await this.#stopOne(node, upstreamDeadline);
    // Exporters hold queues of their own and do not wait for each other.
    await Promise.all(exporters.map((node) => this.#stopOne(node, deadline)));
    for (const node of this.#extensions.toReversed()) await this.#stopOne(node, deadline);
  }

  async #stopOne({ id, component }: Node, deadline: AbortSignal): Promise<void> {
    try {
      if (await settlesInTime(component.shutdown(deadline), deadline)) return;
      this.#logger.error('component did not shut down in time; going on without it', { component: id });
    } catch (error) {
      this.#logger.error('component failed to shut down', { component: id, error: describeError(error) });
    }
  }

  #setReady(ready: boolean): void {
    for (const { component } of this.#extensions) component.setReady?.(ready);
  }
}

/** A processor is of one pipeline, and takes one signal. */
function isExporter(component: Component): component is Exporter {
  return 'consumeMetrics' in component && 'consumeLogs' in component;
}

/** Whether it comes to an end before the deadline or a moment after. Rejects as it does. */
async function settlesInTime(stopping: Promise<void>, deadline: AbortSignal): Promise<boolean> {
  const { promise: tooLate, resolve } = Promise.withResolvers<boolean>();
  let timer: NodeJS.Timeout | undefined;
  const expire = () => {
    timer = setTimeout(() => resolve(false), graceMs);
  };
  if (deadline.aborted) expire();
  else deadline.addEventListener('abort', expire, { once: true });
  try {
    return await Promise.race([stopping.then(() => true), tooLate]);
  } finally {
    clearTimeout(timer);
    deadline.removeEventListener('abort', expire);
  }
}
