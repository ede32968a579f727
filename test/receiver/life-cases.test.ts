import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openCase, type Case } from '../../receiver/case.ts';
import { ContainerTable, type Container } from '../../receiver/container-table.ts';
import { LifeCases } from '../../receiver/life-cases.ts';
import type { Life } from '../../receiver/life.ts';
import type { MemcgAppeared } from '../../receiver/observation.ts';
import { idOf, observationsOf, victimOf } from './observations.ts';

const id = idOf(1);
const memcg = `/docker/${id}`;
const { seen } = observationsOf(id);
const kill = { processes: 1, ownLimitHit: false };

/** A container whose first life began at 1000 with the main process 70, and its group before that. */
function startLives({ hasGroup = true } = {}) {
  const table = new ContainerTable(10);
  table.apply(seen(1001, { startedAtMs: 1000, pid: 70 }));
  const container = table.get(id)!;
  const lives = new LifeCases();
  const appear = (atMs: number, facts: Partial<MemcgAppeared> = {}): Case => {
    lives.appear({ kind: 'memcg_appeared', containerId: id, memcg, atMs, fresh: true, ...facts }, container);
    return lives.ofGroup(container);
  };
  const begin = (startedAtMs: number, pid?: number): Case => {
    container.life = { startedAtMs, pid, beganUnderOurEyes: true };
    lives.begin(container, container.life);
    return lives.of(container);
  };
  const end = (atMs: number): void => {
    const open = lives.of(container);
    container.life = Object.assign(container.life!, { endedAtMs: atMs, exitCode: 0 } satisfies Partial<Life>);
    open.ended = { atMs, observedAtMs: atMs, life: container.life };
    lives.end(container);
  };
  const vanish = (atMs: number, of = memcg) =>
    lives.vanish({ kind: 'memcg_gone', containerId: id, memcg: of, atMs }, container);
  const placeOf = (atMs: number, pid = 99) => lives.ofVictim(victimOf(id, atMs, pid), container);
  if (hasGroup) appear(900);
  return { lives, container, appear, begin, end, vanish, placeOf, first: lives.of(container) };
}

/** The same, ended at 5000; the next group was made at 5500. */
function startTwoLives() {
  const all = startLives();
  all.end(5000);
  return { ...all, next: all.appear(5500) };
}

/** Which of these is it? */
const indexOf = (cases: readonly Case[], open: Case): number => cases.indexOf(open);

describe('the life that a main process is of', () => {
  it('is that with its pid, else the one whose group is there', () => {
    const { lives, container, first, next } = startTwoLives();
    next.mainPid = 80;
    const found = [70, 80, 99, undefined].map((pid) => lives.ofMainProcess(container, pid));
    assert.deepEqual(
      found.map((open) => indexOf([first, next], open)),
      [0, 1, 1, 1],
    );
  });

  it('is the one whose group is there where no pid is told, and not the newest that has none', () => {
    const { lives, container, first, begin } = startLives();
    const later = begin(6000);
    assert.notEqual(later, first);
    assert.equal(lives.ofMainProcess(container, undefined), first);
  });
});

describe('the life that a victim is of', () => {
  it('is that with its pid, whatever the time', () => {
    const { first, placeOf } = startTwoLives();
    assert.equal(placeOf(5900, 70), first);
  });

  it('is that of the time where both lack a victim', () => {
    const { first, next, placeOf } = startTwoLives();
    for (const open of [first, next]) open.counted.push({ ...kill, atMs: 5200 });
    assert.equal(placeOf(4990), first);
    assert.equal(placeOf(5600), next);
  });

  it('is the next from 50 ms after an end, or from its begin where no end is told', () => {
    const { first, next, placeOf } = startTwoLives();
    assert.equal(placeOf(5050), first);
    assert.equal(placeOf(5051), next);
    const untold = startLives();
    const nextUntold = untold.appear(5500);
    assert.equal(untold.placeOf(5499), untold.first);
    assert.equal(untold.placeOf(5500), nextUntold);
  });

  it('is one that lacks a victim and that was over, or began, within a second', () => {
    const early = startTwoLives();
    early.first.counted.push({ ...kill, atMs: 4990 });
    assert.equal(early.placeOf(6000), early.first);
    assert.equal(early.placeOf(6001), early.next);
    const late = startTwoLives();
    late.next.counted.push({ ...kill, atMs: 5600 });
    assert.equal(late.placeOf(4500), late.next);
    assert.equal(late.placeOf(4499), late.first);
  });

  it('is one whose kill was told without a name, or whose end by SIGKILL nothing explains yet', () => {
    const told = startTwoLives();
    told.first.toldUnnamed = 1;
    assert.equal(told.placeOf(5600), told.first);
    const facts: [Partial<Case>, boolean][] = [
      [{}, true],
      [{ endTold: true }, false],
      [{ initKilled: { evidence: [], scope: 'container' } }, false],
      [{ named: [victimOf(id, 4990, 71)] }, false],
    ];
    for (const [known, isMeant] of facts) {
      const { first, next, placeOf } = startTwoLives();
      first.ended!.life.exitCode = 137;
      Object.assign(first, known);
      assert.equal(placeOf(5600), isMeant ? first : next, JSON.stringify(known));
    }
  });

  it('is one that nobody has told of where all that are known were over', () => {
    const { lives, container, first, end, placeOf } = startLives();
    end(5000);
    assert.equal(placeOf(5050), first);
    const unknown = placeOf(5051);
    assert.deepEqual(lives.all(container), [unknown, first]);
  });
});

describe('a group', () => {
  it('that is found again is the same, unless it was gone', () => {
    const { lives, container, first, appear, vanish } = startLives();
    first.mainPid = 70;
    assert.equal(appear(3000, { fresh: false }), first);
    assert.deepEqual([first.group?.atMs, first.mainPid], [900, 70]);
    vanish(4000);
    appear(4100, { fresh: false, resumed: true });
    assert.deepEqual(first.group, { memcg, atMs: 900, fresh: true, gone: false, goneAtMs: undefined });
    vanish(4200);
    appear(4300, { fresh: false });
    assert.deepEqual([first.group?.atMs, first.group?.gone, first.mainPid], [4300, false, undefined]);
    assert.equal(lives.all(container).length, 1);
  });

  it('that was there before we looked is that of the life that is, and of the next one where that is over', () => {
    const present = startLives({ hasGroup: false });
    assert.equal(present.appear(3000, { fresh: false }), present.first);
    const over = startLives({ hasGroup: false });
    over.end(5000);
    assert.equal(over.appear(5050, { fresh: false }), over.first);
    const gone = startLives({ hasGroup: false });
    gone.end(5000);
    assert.notEqual(gone.appear(5051, { fresh: false }), gone.first);
  });

  it('that is new has the one before gone', () => {
    const { first, appear, vanish } = startLives();
    const next = appear(5500);
    assert.deepEqual([first.group?.gone, first.group?.goneAtMs, next.group?.gone], [true, 5500, false]);
    const seenGone = startLives();
    seenGone.vanish(5000);
    seenGone.appear(5500);
    assert.equal(seenGone.first.group?.goneAtMs, 5000);
    vanish(6000, '/docker/other');
    assert.equal(next.group?.gone, false);
    vanish(6001);
    vanish(6002);
    assert.deepEqual([next.group?.gone, next.group?.goneAtMs], [true, 6001]);
  });

  it('may go where nothing else is known of its container', () => {
    const { container } = startLives();
    const gone = { kind: 'memcg_gone', containerId: id, memcg, atMs: 5000 } as const;
    assert.doesNotThrow(() => new LifeCases().vanish(gone, container));
  });

  it('that was found after the end of a life, which is told late, is that of the next', () => {
    const { lives, container, first, appear, end } = startLives({ hasGroup: false });
    appear(5100, { fresh: false });
    first.mainPid = 80;
    first.counted.push({ ...kill, atMs: 5099 }, { ...kill, atMs: 5100 });
    end(5000);
    const next = lives.ofGroup(container);
    assert.notEqual(next, first);
    assert.deepEqual([next.mainPid, next.group?.gone, next.counted.map(({ atMs }) => atMs)], [80, false, [5100]]);
    assert.deepEqual(
      [first.mainPid, first.group?.gone, first.counted.map(({ atMs }) => atMs)],
      [undefined, true, [5099]],
    );
  });

  it('of a life that has ended stays that life’s where it was made, or found, before', () => {
    for (const facts of [{ fresh: true }, { fresh: false }]) {
      const { lives, container, first, appear, end } = startLives({ hasGroup: false });
      appear(4000, facts);
      end(5000);
      assert.equal(lives.ofGroup(container), first);
    }
    const withoutGroup = startLives({ hasGroup: false });
    withoutGroup.end(5000);
    assert.equal(withoutGroup.lives.all(withoutGroup.container).length, 1);
  });
});

describe('a life that begins', () => {
  it('is that of the last group made before it', () => {
    const { end, appear, begin } = startLives();
    end(5000);
    const groups = [5100, 5200, 5300].map((atMs) => appear(atMs));
    assert.equal(indexOf(groups, begin(5200)), 1);
  });

  it('is that of the next group where all were made after it', () => {
    const { end, appear, begin } = startLives();
    end(5000);
    const groups = [5100, 5200].map((atMs) => appear(atMs));
    assert.equal(indexOf(groups, begin(5050)), 0);
  });

  it('is the one that the kernel told of first where the runtime has told of none', () => {
    const table = new ContainerTable(10);
    table.apply(observationsOf(id).appeared(900));
    const container = table.get(id)!;
    const lives = new LifeCases();
    const open = lives.ofGroup(container);
    const life = { startedAtMs: 1000, beganUnderOurEyes: true };
    lives.begin(container, life);
    assert.deepEqual([lives.of(container) === open, open.life === life], [true, true]);
    lives.begin(container, life);
    assert.equal(lives.all(container).length, 1, 'told again');
  });

  it('takes over the group that was found after its begin', () => {
    const { lives, container, first, appear, begin } = startLives({ hasGroup: false });
    appear(5100, { fresh: false });
    const next = begin(5100);
    assert.notEqual(next, first);
    assert.equal(lives.ofGroup(container), next);
    const before = startLives({ hasGroup: false });
    before.appear(5100, { fresh: false });
    before.begin(5101);
    assert.equal(before.lives.ofGroup(before.container), before.first, 'it was there before this life');
    const made = startLives({ hasGroup: false });
    made.appear(5100);
    made.begin(5100);
    assert.equal(made.lives.ofGroup(made.container), made.first, 'its own is still to come');
  });

  it('has those long over forgotten, whoever tells of them', () => {
    const { lives, container, first, end, appear, begin } = startLives();
    let [open, last] = [first, first];
    for (let n = 1; n <= 20; n++) {
      end(n * 10_000);
      appear(n * 10_000 + 100);
      [last, open] = [open, begin(n * 10_000 + 200)];
    }
    assert.deepEqual(lives.all(container), [open, last]);

    const byRuntime = startLives({ hasGroup: false });
    for (let n = 1; n <= 20; n++) byRuntime.begin(n * 10_000);
    assert.equal(byRuntime.lives.all(byRuntime.container).length, 8);

    const byKernel = startLives({ hasGroup: false });
    byKernel.first.life = undefined;
    for (let n = 0; n < 20; n++) byKernel.appear(n * 10_000);
    assert.deepEqual(
      byKernel.lives.all(byKernel.container).map(({ group }) => group?.atMs),
      [190_000, 180_000, 170_000],
    );
  });

  it('has the runtime’s life kept while the kernel is ahead of it', () => {
    const { lives, container, first, appear } = startLives();
    const groups = Array.from({ length: 6 }, (_, n) => appear(5000 + n * 100));
    assert.deepEqual(lives.all(container), [...groups.toReversed(), first]);
    assert.equal(lives.of(container), first);
  });

  it('is told to a case that was open before it, if that is its own', () => {
    const { lives, container, first, next } = startTwoLives();
    first.life = undefined;
    container.life = { startedAtMs: 1000, beganUnderOurEyes: true };
    lives.adoptLife(next);
    lives.adoptLife(openCase(container));
    assert.equal(next.life, undefined);
    container.life.endedAtMs = 5000;
    lives.adoptLife(first);
    assert.equal(first.life, undefined, 'it runs no more');
    container.life.endedAtMs = undefined;
    lives.adoptLife(first);
    assert.equal(first.life, container.life);
  });
});

describe('the main process that runs', () => {
  const pidOf = ({ lives, container }: { lives: LifeCases; container: Container }) => lives.mainPidOf(container);

  it('is that of the runtime’s life, unless the kernel is ahead of it', () => {
    const all = startLives();
    all.first.mainPid = 71;
    assert.equal(pidOf(all), 70);
    const next = all.appear(5500);
    assert.equal(pidOf(all), undefined);
    next.mainPid = 80;
    assert.equal(pidOf(all), 80);
  });

  it('is that of the group where the runtime does not tell it, while its end is not told', () => {
    const all = startLives();
    all.first.mainPid = 71;
    all.container.life!.pid = undefined;
    assert.equal(pidOf(all), 71);
    all.end(5000);
    assert.equal(pidOf(all), undefined);
  });

  it('is known before anything was observed in the container, and is none once that has ended', () => {
    const { container } = startLives();
    assert.equal(new LifeCases().mainPidOf(container), 70);
    container.life!.endedAtMs = 5000;
    assert.equal(new LifeCases().mainPidOf(container), undefined);
    container.life = undefined;
    assert.equal(new LifeCases().mainPidOf(container), undefined);
  });
});

describe('lives of an earlier run', () => {
  it('are gone on with: the runtime’s by its life, the kernel’s by its group', () => {
    const { container } = startLives();
    const group = { memcg, atMs: 900, fresh: true, gone: false };
    const [oldest, present, ahead] = [
      openCase(container, { beganUnderOurEyes: true }),
      { ...openCase(container, container.life), group },
      openCase(container),
    ];
    const lives = new LifeCases();
    lives.resume(container, [ahead, present, oldest]);
    assert.deepEqual(lives.all(container), [ahead, present, oldest]);
    assert.deepEqual([lives.of(container) === present, lives.ofGroup(container) === present], [true, true]);

    const next = { ...openCase(container, { beganUnderOurEyes: true }), group: { ...group, atMs: 5500 } };
    const newer = new LifeCases();
    newer.resume(container, [next, present, oldest]);
    assert.deepEqual([newer.of(container) === present, newer.ofGroup(container) === next], [true, true]);

    const unknown = new LifeCases();
    const [first, second] = [openCase(container), openCase(container, { beganUnderOurEyes: true })];
    container.life = undefined;
    unknown.resume(container, [second, first]);
    assert.deepEqual([unknown.of(container) === second, unknown.ofGroup(container) === second], [true, true]);
    const none = new LifeCases();
    none.resume(container, []);
    assert.equal(none.known(container), undefined);
  });
});
