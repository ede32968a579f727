import type { Factories } from '../pipelines/component.ts';
import { debug } from '../pipelines/exporters/debug.ts';
import { file } from '../pipelines/exporters/file.ts';
import { otlpGrpc } from '../pipelines/exporters/otlp-grpc.ts';
import { otlpHttp } from '../pipelines/exporters/otlp-http.ts';
import { fileStorage } from '../pipelines/extensions/file-storage.ts';
import { healthCheck } from '../pipelines/extensions/health-check.ts';
import { batch } from '../pipelines/processors/batch.ts';
import { k8sAttributes } from '../pipelines/processors/k8s-attributes.ts';
import { resource } from '../pipelines/processors/resource.ts';
import { containerLifecycle } from '../receiver/receiver.ts';

/** Every component that is built in. */
export const factories: Factories = {
  receivers: [containerLifecycle],
  processors: [batch, k8sAttributes, resource],
  exporters: [debug, file, otlpGrpc, otlpHttp],
  extensions: [fileStorage, healthCheck],
};

/** What is built in by kind, with older names of a type, as `exit137 components` lists it. */
export function listComponents(): Record<string, { name: string; aliases?: readonly string[] }[]> {
  const lists = Object.entries<Factories[keyof Factories]>({ ...factories });
  return Object.fromEntries(
    lists.map(([kind, built]) => [
      kind,
      built.map(({ type, aliases }) => (aliases === undefined ? { name: type } : { name: type, aliases })),
    ]),
  );
}
