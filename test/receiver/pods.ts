import type { ContainerSeen, Observation, PodFacts } from '../../receiver/observation.ts';
import { idOf, observationsOf } from './observations.ts';

/** The uid of a test's pod: `uidOf(1)`. */
export function uidOf(n: number): string {
  return `5a1f3c62-0b5e-4a51-9e0f-${n.toString(16).padStart(12, '0')}`;
}

/** What a runtime tells of one instance of a pod's container, `app` of the pod `web-0` where nothing else is said. */
export function instanceOf(n: number, facts: Partial<PodFacts> = {}) {
  const containerId = idOf(n);
  const pod: PodFacts = { uid: uidOf(1), namespace: 'shop', name: 'web-0', containerName: 'app', ...facts };
  const of = observationsOf(containerId);
  const memcg = `/kubepods/burstable/pod${pod.uid}/${containerId}`;
  return {
    ...of,
    containerId,
    pod,
    memcg,
    started: (atMs: number): Observation => ({ ...of.started(atMs), pod }),
    exited: (atMs: number, exitCode?: number): Observation => ({ ...of.exited(atMs, exitCode), pod }),
    seen: (atMs: number, more: Partial<ContainerSeen>): Observation => of.seen(atMs, { pod, ...more }),
    sandbox: (atMs: number): Observation => ({
      ...of.started(atMs),
      pod: { ...pod, containerName: undefined },
      sandbox: true,
    }),
    appeared: (atMs: number, fresh = true) => of.appeared(atMs, fresh, memcg),
    gone: (atMs: number) => of.gone(atMs, memcg),
    counted: (atMs: number, oomKills = 1) => of.counted(atMs, oomKills, { memcg }),
  };
}
