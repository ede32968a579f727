import type { CountedKills } from './case.ts';
import { idOfNamed } from './incident-id.ts';
import type { VictimLogged } from './observation.ts';

/** The victims of a group kill are counted within this time. */
const groupIsCountedWithinMs = 250;

/**
 * The kernel counts the victims of a group kill one by one, and a reading can fall between them: what was counted right
 * before is the group's first victim and others, what was counted right after is the rest of it.
 */
export function joinGroupKills(rises: readonly CountedKills[]): CountedKills[] {
  const joined: CountedKills[] = [];
  for (const rise of rises) {
    const last = joined.at(-1);
    const isNear = last !== undefined && rise.atMs - last.atMs <= groupIsCountedWithinMs;
    if (isNear && last.group === true && rise.group === false) {
      joined.splice(-1, 1, joinRises(last, rise));
    } else if (isNear && last.group === false && rise.group === true && last.processes > 0) {
      const first = { ...last, processes: 1 };
      joined.splice(-1, 1, { ...last, processes: last.processes - 1 }, joinRises(first, rise));
    } else joined.push(rise);
  }
  return joined.filter(({ processes }) => processes > 0);
}

function joinRises(first: CountedKills, second: CountedKills): CountedKills {
  const processes = first.processes + second.processes;
  return { ...first, processes, group: true, ownLimitHit: first.ownLimitHit || second.ownLimitHit };
}

/** A group can be announced when its first victim was told of already, which belongs to it then. */
export function joinGroups(named: readonly VictimLogged[]): VictimLogged[] {
  const groups = new Map(
    named.flatMap((logged) => {
      const { invocation } = logged.victim;
      return invocation?.oomGroup === undefined ? [] : [[idOfNamed(logged), invocation] as const];
    }),
  );
  if (groups.size === 0) return [...named];
  return named.map((logged) => {
    const { victim } = logged;
    const invocation = victim.invocation?.oomGroup === undefined ? groups.get(idOfNamed(logged)) : undefined;
    const memcg = victim.memcg ?? invocation?.oomGroup;
    return invocation === undefined ? logged : { ...logged, victim: { ...victim, memcg, invocation } };
  });
}
