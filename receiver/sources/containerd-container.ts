import { hash } from 'node:crypto';
import type { Container } from '../grpc/generated/containerd/containers-service_pb.ts';
import type { ContainerFacts } from '../observation.ts';
import { fieldsOf, printable, type OnBadInput } from './bad-input.ts';
import { boundFacts } from './container-facts.ts';
import { timeOf } from './containerd-event.ts';

/** Who a container is, and when it was made, as containerd keeps it. */
export interface DescribedContainer {
  facts: Omit<ContainerFacts, 'containerId'>;
  createdAtMs?: number;
}

/** Where the CRI plugin keeps how the kubelet asked for a container. */
const criMetadata = 'io.cri-containerd.container.metadata';

const longestMetadataBytes = 2 ** 20;

/**
 * Reads what containerd knows of a container. What the kubelet calls annotations, and the image as the user named it, only
 * the CRI plugin's own note has. containerd 1.6.20, cut to what is read:
 *
 *     {"Version":"v1","Metadata":{"Config":{"metadata":{"name":"app","attempt":2},"image":{"image":"sha256:4f1e…",
 *     "user_specified_image":"shop/web:3"},"annotations":{"io.kubernetes.container.restartCount":"2"}}}}
 */
export function describeContainer(container: Container, onBadInput: OnBadInput): DescribedContainer {
  const { labels, image } = container;
  const asked = readMetadata(container, onBadInput);
  const { pod, sandbox, ...facts } = boundFacts(
    { image: asked.image ?? image, labels: Object.entries(labels), annotations: asked.annotations },
    onBadInput,
  );
  const isSandbox = sandbox === true || labels['io.cri-containerd.kind'] === 'sandbox';
  return {
    facts: { runtime: 'containerd', ...facts, name: pod?.containerName, pod, sandbox: isSandbox },
    createdAtMs: timeOf(container.createdAt),
  };
}

/** Equal where nothing that users wrote has changed. */
export function textKeyOf({ image, labels }: { image: string; labels: Readonly<Record<string, string>> }): string {
  const pairs = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return hash('md5', JSON.stringify([image, pairs]), 'base64');
}

interface Asked {
  image?: unknown;
  annotations?: Record<string, unknown>;
}

function readMetadata({ id, extensions }: Container, onBadInput: OnBadInput): Asked {
  const bytes = extensions[criMetadata]?.value;
  if (bytes === undefined) return {};
  if (bytes.length > longestMetadataBytes) {
    onBadInput(`metadata of a container is longer than ${longestMetadataBytes} bytes`, printable(id));
    return {};
  }
  try {
    const config = fieldsOf(fieldsOf(fieldsOf(JSON.parse(Buffer.from(bytes).toString()))['Metadata'])['Config']);
    const image = fieldsOf(config['image'])['user_specified_image'];
    return { image: image === '' ? undefined : image, annotations: fieldsOf(config['annotations']) };
  } catch {
    onBadInput('metadata of a container is not JSON', printable(id));
    return {};
  }
}
