import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import * as z from 'zod';
import type { Component, Consumers, ExporterFactory, Factories, PodDirectory } from '../../pipelines/component.ts';
import { loadConfig, validateConfig, type ServiceConfig } from '../../pipelines/config.ts';

/** How a component misbehaves, from its configuration. */
const configSchema = z.strictObject({
  fails_to_start: z.boolean().default(false),
  fails_to_stop: z.boolean().default(false),
  hangs_at_stop: z.boolean().default(false),
});

type Config = z.infer<typeof configSchema>;

/** Component types that do nothing but write down what is done with them. */
export interface RecordedService {
  factories: Factories;
  /** `make x`, `start x`, `stop x`, `ready true`, in their order. */
  readonly calls: string[];
  /** Whatever arrived, as the path it took: the body grows by the id of each processor and exporter. */
  readonly arrived: string[];
  /** What each receiver was told to send to. */
  readonly nextOf: Map<string, Consumers>;
  /** What the processor `s` knows of pods, and which receivers were given that. */
  readonly pods: PodDirectory;
  readonly knowPods: string[];
}

/** Types `r`, `p`, `e` and `x`: receiver, processor, exporter and extension; `s` is a processor that shares something. */
export function recordService(): RecordedService {
  const calls: string[] = [];
  const arrived: string[] = [];
  const nextOf = new Map<string, Consumers>();
  const pods: PodDirectory = { get: () => undefined, follow: async () => {} };
  const knowPods: string[] = [];

  const make = (id: string, { fails_to_start, fails_to_stop, hangs_at_stop }: Config): Component => {
    calls.push(`make ${id}`);
    return {
      async start() {
        calls.push(`start ${id}`);
        if (fails_to_start) throw new Error('no patience mends it');
      },
      async shutdown(deadline) {
        calls.push(`stop ${id}${deadline.aborted ? ' late' : ''}`);
        if (fails_to_stop) throw new Error('it broke');
        if (hangs_at_stop) await new Promise(() => {});
      },
    };
  };
  const through = (id: string, logs: readonly ReadableLogRecord[]) =>
    logs.map((record) => ({ ...record, body: `${String(record.body)} > ${id}` }));
  const exporter: ExporterFactory<Config> = {
    type: 'e',
    configSchema,
    create: (config, { id }) => ({
      ...make(id, config),
      stopRetrying: () => void calls.push(`hurry ${id}`),
      consumeLogs: async (logs) => void arrived.push(...through(id, logs).map(({ body }) => body)),
      consumeMetrics: async (metrics) => void arrived.push(`${metrics.length} metrics > ${id}`),
    }),
  };
  return {
    calls,
    arrived,
    nextOf,
    pods,
    knowPods,
    factories: {
      receivers: [
        {
          type: 'r',
          configSchema,
          create(config, { id, pods: known }, next) {
            nextOf.set(id, next);
            if (known === pods) knowPods.push(id);
            return make(id, config as Config);
          },
        },
      ],
      processors: [
        {
          type: 'p',
          configSchema,
          createLogs: (config, { id }, next) => ({
            ...make(id, config as Config),
            consumeLogs: (logs) => next.consumeLogs(through(id, logs)),
          }),
          createMetrics: (config, { id }, next) => ({
            ...make(id, config as Config),
            consumeMetrics: (metrics) => next.consumeMetrics(metrics),
          }),
        },
        {
          type: 's',
          configSchema,
          createShared: (config, { id }) => ({
            ...make(`shared ${id}`, config as Config),
            pods,
            createLogs: (next) => ({
              ...make(id, config as Config),
              consumeLogs: (logs) => next.consumeLogs(through(id, logs)),
            }),
            createMetrics: (next) => ({
              ...make(id, config as Config),
              consumeMetrics: (metrics) => next.consumeMetrics(metrics),
            }),
          }),
        },
      ],
      exporters: [exporter],
      extensions: [
        {
          type: 'x',
          configSchema,
          create: (config, { id }) => ({
            ...make(id, config as Config),
            setReady: (ready) => void calls.push(`ready ${ready}`),
          }),
        },
      ],
    },
  };
}

/** A configuration as it would stand in a file. */
export function configure(factories: Factories, text: string): ServiceConfig {
  return validateConfig(loadConfig({ locations: [{ name: 'test', text }], env: {} }), factories);
}
