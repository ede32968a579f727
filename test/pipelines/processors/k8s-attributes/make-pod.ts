import { readPod, type Pod } from '../../../../pipelines/processors/k8s-attributes/pod.ts';

/** What the API server sends of a pod, in short; `change` replaces fields of metadata, spec and status. */
export function makePodObject(
  change: { metadata?: object; spec?: object; status?: object } = {},
): Record<string, unknown> {
  return {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: {
      name: 'web-7d9c5b6f4-x2x9z',
      namespace: 'shop',
      uid: '70c31a57-31e7-4320-bb2a-0e430cae36fb',
      resourceVersion: '199',
      creationTimestamp: '2026-11-21T14:40:22Z',
      managedFields: [{ manager: 'kubelet', fieldsV1: { 'f:metadata': {} } }],
      ...change.metadata,
    },
    spec: { nodeName: 'node-1', containers: [{ name: 'main', image: 'web' }], ...change.spec },
    status: { phase: 'Running', qosClass: 'BestEffort', ...change.status },
  };
}

/** The same, read. */
export function makePod(change?: Parameters<typeof makePodObject>[0]): Pod {
  return readPod(makePodObject(change))!;
}

/** The reference to a controller. */
export function ownedBy(kind: string, name: string): { ownerReferences: object[] } {
  const uid = '0b1c2d3e-0000-4000-8000-000000000001';
  return { ownerReferences: [{ apiVersion: 'apps/v1', kind, name, uid, controller: true }] };
}
