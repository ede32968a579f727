import type { ContainerFacts } from '../observation.ts';
import { readPodLabels } from '../pod-labels.ts';
import { printable, type OnBadInput } from './bad-input.ts';

/** Bounds of text that users give; in UTF-16 code units. */
const longest = { name: 256, image: 512, labelKey: 256, labelValue: 1024 };
const mostLabels = 128;

/** Container ids of all runtimes: 64 lower-case hex digits. */
export function isContainerId(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}

/** What users called a container, before it is bounded. */
interface UserText {
  name?: unknown;
  image?: unknown;
  labels?: Iterable<readonly [string, unknown]>;
  /** Of the runtime's, where it keeps them apart from labels. */
  annotations?: Readonly<Record<string, unknown>>;
}

/**
 * Bounds what users called a container, and reads its place in Kubernetes; what is cut or left out is told. Empty text
 * is absent.
 */
export function boundFacts(
  { name, image, labels, annotations = {} }: UserText,
  onBadInput: OnBadInput,
): Pick<ContainerFacts, 'name' | 'image' | 'labels' | 'pod' | 'sandbox'> {
  return {
    // Of all labels: a kubelet's may be beyond those that are kept.
    ...(labels && readPodLabels(Object.fromEntries(labels), annotations, onBadInput)),
    // Docker writes its names with a leading slash in some answers and without it in others.
    name: textOf(typeof name === 'string' ? name.replace(/^\//, '') : name, longest.name, 'container name', onBadInput),
    image: textOf(image, longest.image, 'image name', onBadInput),
    labels: labels && boundLabels(labels, onBadInput),
  };
}

function boundLabels(labels: Iterable<readonly [string, unknown]>, onBadInput: OnBadInput): Record<string, string> {
  const kept: [string, string][] = [];
  for (const [key, value] of labels) {
    if (typeof value !== 'string') continue;
    if (kept.length === mostLabels) {
      onBadInput(`container has more than ${mostLabels} labels`, printable(key));
      break;
    }
    const boundKey = bound(key, longest.labelKey, 'label key', onBadInput);
    kept.push([boundKey, bound(value, longest.labelValue, 'label value', onBadInput)]);
  }
  // Defines its properties, unlike an assignment: a label may be called __proto__.
  return Object.fromEntries(kept);
}

function textOf(value: unknown, length: number, what: string, onBadInput: OnBadInput): string | undefined {
  return typeof value === 'string' && value !== '' ? bound(value, length, what, onBadInput) : undefined;
}

function bound(text: string, length: number, what: string, onBadInput: OnBadInput): string {
  if (text.length <= length) return text;
  onBadInput(`${what} is longer than ${length} characters`, printable(text));
  // The cut may have halved a surrogate pair.
  return text.slice(0, length).toWellFormed();
}
