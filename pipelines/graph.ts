import type {
  Component,
  ComponentSettings,
  Consumers,
  LogsConsumer,
  MetricsConsumer,
  ProcessorFactory,
  SharedProcessor,
} from './component.ts';
import type { PipelineConfig, ServiceConfig } from './config.ts';
import { fanOutLogs, fanOutMetrics } from './fan-out.ts';

/** The kinds of components, as they are named in our own log and in self-telemetry. */
export type ComponentKind = 'receiver' | 'processor' | 'exporter' | 'extension';

/** Makes the settings of one component. */
export type MakeSettings = (kind: ComponentKind, id: string) => ComponentSettings;

/** A component and the id that it is told by. */
export interface Node {
  id: string;
  component: Component;
}

/**
 * Builds the components of all pipelines and connects them: one instance of a receiver or an exporter in whatever
 * number of pipelines it stands, one of a processor for each pipeline. They come in the order in which they are to be
 * started: downstream first, and what processors share before all of them.
 */
export function buildGraph(config: ServiceConfig, settingsOf: MakeSettings): readonly Node[] {
  const { pipelines } = config.service;
  const exporters = new Map(
    idsOf(pipelines, 'exporters').map((id) => {
      const { factory, config: section } = config.exporters.get(id)!;
      return [id, factory.create(section, settingsOf('exporter', id))] as const;
    }),
  );
  const shared = new Map<string, SharedProcessor>();
  const processors: Node[] = [];
  const add = <C extends Component>(id: string, component: C): C => {
    processors.push({ id, component });
    return component;
  };
  const processorOf = (id: string): Pick<SharedProcessor, 'createMetrics' | 'createLogs'> => {
    const { factory, config: section } = config.processors.get(id)!;
    if (!('createShared' in factory)) return perPipeline(factory, section, () => settingsOf('processor', id));
    const made = shared.get(id) ?? factory.createShared(section, settingsOf('processor', id));
    shared.set(id, made);
    return made;
  };

  const metricsHead = (pipeline: PipelineConfig): MetricsConsumer =>
    pipeline.processors.reduceRight<MetricsConsumer>(
      (next, id) => {
        return add(id, processorOf(id).createMetrics(next));
      },
      fanOutMetrics(pipeline.exporters.map((id) => exporters.get(id)!)),
    );
  const logsHead = (pipeline: PipelineConfig): LogsConsumer =>
    pipeline.processors.reduceRight<LogsConsumer>(
      (next, id) => {
        return add(id, processorOf(id).createLogs(next));
      },
      fanOutLogs(pipeline.exporters.map((id) => exporters.get(id)!)),
    );
  const metricsHeads = headsOf(pipelines, 'metrics', metricsHead);
  const logsHeads = headsOf(pipelines, 'logs', logsHead);

  const receivers = idsOf(pipelines, 'receivers').map((id) => {
    const { factory, config: section } = config.receivers.get(id)!;
    const metrics = metricsHeads.filter(({ from }) => from.includes(id)).map(({ head }) => head);
    const logs = logsHeads.filter(({ from }) => from.includes(id)).map(({ head }) => head);
    const next: Consumers = {
      metrics: metrics.length > 0 ? fanOutMetrics(metrics) : undefined,
      logs: logs.length > 0 ? fanOutLogs(logs) : undefined,
    };
    const pods = pipelines
      .filter(({ receivers: from }) => from.includes(id))
      .flatMap((pipeline) => pipeline.processors.map((processor) => shared.get(processor)?.pods))
      .find((known) => known !== undefined);
    return { id, component: factory.create(section, { ...settingsOf('receiver', id), pods }, next) };
  });
  return [...nodesOf(exporters), ...nodesOf(shared), ...processors, ...receivers];
}

function perPipeline(
  factory: ProcessorFactory,
  section: unknown,
  settings: () => ComponentSettings,
): Pick<SharedProcessor, 'createMetrics' | 'createLogs'> {
  return {
    createMetrics: (next) => factory.createMetrics(section, settings(), next),
    createLogs: (next) => factory.createLogs(section, settings(), next),
  };
}

function nodesOf(components: ReadonlyMap<string, Component>): Node[] {
  return Array.from(components, ([id, component]) => ({ id, component }));
}

function headsOf<Head>(
  pipelines: readonly PipelineConfig[],
  signal: PipelineConfig['signal'],
  make: (pipeline: PipelineConfig) => Head,
): { from: readonly string[]; head: Head }[] {
  return pipelines
    .filter((pipeline) => pipeline.signal === signal)
    .map((pipeline) => ({ from: pipeline.receivers, head: make(pipeline) }));
}

function idsOf(pipelines: readonly PipelineConfig[], kind: 'receivers' | 'exporters'): string[] {
  return [...new Set(pipelines.flatMap((pipeline) => pipeline[kind]))];
}
