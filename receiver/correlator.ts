import { Cases, type Witnesses } from './cases.ts';
import { identifyMemcg } from './cgroup/identity.ts';
import type { Container, ContainerTable } from './container-table.ts';
import type { Incident } from './incident.ts';
import type { Instant } from './instant.ts';
import { Ledger } from './ledger.ts';
import type { Observation, VictimLogged } from './observation.ts';

/**
 * Joins what several witnesses saw of one death into one incident. Pure but for its memory: time is an argument, and
 * the same observations within the settle time give the same incidents in any order.
 */
export class Correlator {
  readonly ledger = new Ledger();
  readonly cases: Cases;
  readonly #table: ContainerTable;

  constructor(table: ContainerTable, settleMs: number, witnesses: Witnesses) {
    this.#table = table;
    this.cases = new Cases(settleMs, this.ledger, witnesses);
  }

  /** Takes in what was observed; returns what is proven by it. */
  take(observation: Observation, now: Instant): Incident[] {
    switch (observation.kind) {
      case 'node_oom_kills_counted':
        this.ledger.count(observation.total, now);
        return [];
      case 'nothing_killable':
      case 'kernel_log_gap':
        return [];
    }
    const transitions = this.#table.apply(observation);
    const container = this.containerOf(observation);
    if (container === undefined) {
      return observation.kind === 'oom_victim' ? this.cases.observeStray(observation, now) : [];
    }
    const turned = transitions.flatMap((transition) => this.cases.turn(transition, now));
    return [...turned, ...this.cases.observe(observation, container, now)];
  }

  /** Judges what has waited long enough. */
  settle(now: Instant): Incident[] {
    const incidents = this.cases.settle(now);
    this.ledger.settle(now);
    return incidents;
  }

  /** When `settle` has something to do next, if ever, by the monotonic clock. */
  get dueAtMs(): number | undefined {
    const dueAtMs = Math.min(this.cases.dueAtMs ?? Infinity, this.ledger.dueAtMs ?? Infinity);
    return dueAtMs === Infinity ? undefined : dueAtMs;
  }

  /** The container that an observation is about, if it is about one that we know. */
  containerOf(observation: Observation): Container | undefined {
    if (observation.kind === 'oom_victim') return this.#containerOfVictim(observation);
    return 'containerId' in observation ? this.#table.get(observation.containerId) : undefined;
  }

  /** The kernel log names groups and processes, not containers. */
  #containerOfVictim({ victim: { memcg, pid } }: VictimLogged): Container | undefined {
    if (memcg !== undefined) return this.#table.get(identifyMemcg(memcg).containerId ?? '');
    return Array.from(this.#table.all()).find(({ life }) => life?.pid === pid);
  }
}
