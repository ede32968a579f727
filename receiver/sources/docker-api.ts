import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import Docker from 'dockerode';
import type { RuntimeName } from '../observation.ts';
import { printable } from './bad-input.ts';
import { clientOptions, type DockerEnvironment } from './docker-endpoint.ts';
import { followedActions } from './docker-event.ts';

/** The daemon took the call and did not answer in time. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError';
}

/** How a daemon is asked. */
export interface DockerApiOptions {
  /** For one call; the stream of events has no limit once it is open. */
  timeoutMs: number;
  /** `1.41`, say; absent: the daemon's own. */
  apiVersion?: string;
  env?: DockerEnvironment;
}

/** Which runtime answers, and in which version. */
export interface Daemon {
  runtime: RuntimeName;
  version: string;
}

/**
 * The few calls of the Docker Engine API that we make. Answers are not decoded here. Every call rejects when its
 * `signal` is aborted, and says what could not be done where.
 */
export class DockerApi {
  readonly endpoint: string;
  readonly #timeoutMs: number;
  readonly #docker: Docker;

  /** @throws for an endpoint that dockerode cannot be pointed to. */
  constructor(endpoint: string, { timeoutMs, apiVersion, env }: DockerApiOptions) {
    this.endpoint = endpoint;
    this.#timeoutMs = timeoutMs;
    this.#docker = new Docker({ ...clientOptions(endpoint, env), version: apiVersion && `v${apiVersion}` });
  }

  /** Asks who answers. */
  version(signal: AbortSignal): Promise<Daemon> {
    return this.#ask('ask for the version of the daemon', signal, async (abortSignal) => {
      // The types lack the options that the function takes.
      const docker = this.#docker as unknown as { version(options: { abortSignal: AbortSignal }): Promise<unknown> };
      return daemonOf(await docker.version({ abortSignal }));
    });
  }

  /** Every container there is. */
  list(signal: AbortSignal): Promise<unknown> {
    return this.#ask('list the containers', signal, (abortSignal) =>
      this.#docker.listContainers({ all: true, abortSignal }),
    );
  }

  /** One container; undefined when there is none of that id, which is normal: it may be gone since it was named. */
  inspect(containerId: string, signal: AbortSignal): Promise<unknown> {
    return this.#ask(`inspect container "${containerId}"`, signal, async (abortSignal) => {
      try {
        return await this.#docker.getContainer(containerId).inspect({ abortSignal });
      } catch (error) {
        if (isNoSuchContainer(error)) return undefined;
        throw error;
      }
    });
  }

  /**
   * The events that happen from now on, and those since `sinceMs` that the daemon remembers. Podman answers only when
   * there is an event; `patient` waits for that as long as it takes.
   */
  async events(sinceMs: number, patient: boolean, signal: AbortSignal): Promise<Readable> {
    const stream = await this.#ask(
      'subscribe to events',
      signal,
      (abortSignal) =>
        this.#docker.getEvents({
          since: Math.floor(sinceMs) / 1000,
          filters: { type: ['container'], event: [...followedActions] },
          abortSignal,
        }),
      patient ? Infinity : this.#timeoutMs,
    );
    // A peer that is gone without a word is noticed on a TCP connection.
    (stream as IncomingMessage).socket.setKeepAlive(true, 30_000);
    return stream as IncomingMessage;
  }

  /**
   * Makes one call. dockerode's promise is not enough: it stays open for ever when the connection breaks in the middle
   * of an answer, and it does not say what was asked of whom.
   */
  async #ask<T>(
    what: string,
    signal: AbortSignal,
    ask: (abortSignal: AbortSignal) => Promise<T>,
    timeoutMs = this.#timeoutMs,
  ): Promise<T> {
    const call = new AbortController();
    const { promise: givenUp, reject } = Promise.withResolvers<never>();
    const giveUp = (reason: unknown): void => {
      reject(reason);
      call.abort();
    };
    const onAbort = (): void => giveUp(signal.reason);
    const timer =
      timeoutMs === Infinity
        ? undefined
        : setTimeout(() => giveUp(new NoAnswerError(`no answer within ${timeoutMs} ms`)), timeoutMs);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      signal.throwIfAborted();
      return await Promise.race([ask(call.signal), givenUp]);
    } catch (error) {
      shortenMessage(error);
      throw new Error(`cannot ${what} at "${this.endpoint}"`, { cause: error });
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }
}

/**
 * Podman 4.3 and Docker 28.5 answer GET /version, cut to what is read:
 *
 *     {"Components":[{"Name":"Podman Engine","Version":"4.3.1"},…],"Version":"4.3.1"}
 *     {"Components":[{"Name":"Engine","Version":"28.5.2"},…],"Version":"28.5.2"}
 */
function daemonOf(answer: unknown): Daemon {
  const { Version, Components } = (answer ?? {}) as { Version?: unknown; Components?: unknown };
  if (typeof Version !== 'string') throw new Error(`the answer has no version: "${printable(answer)}"`);
  const components: ({ Name?: unknown } | null)[] = Array.isArray(Components) ? Components : [];
  const names = components.map((component) => component?.Name);
  const isPodman = names.some((name) => typeof name === 'string' && name.startsWith('Podman'));
  return { runtime: isPodman ? 'podman' : 'docker', version: printable(Version) };
}

/** Podman (4.3) answers 500 about a container that is removed at that moment: `{"cause":"no such container",…}`. */
function isNoSuchContainer(error: unknown): boolean {
  const { statusCode, json } = error as { statusCode?: number; json?: { cause?: unknown } | null };
  return statusCode === 404 || (statusCode === 500 && json?.cause === 'no such container');
}

/** dockerode puts the whole body of an answer that is no success into the message of its error. */
function shortenMessage(error: unknown): void {
  if (error instanceof Error && 'statusCode' in error) error.message = printable(error.message.trim());
}
