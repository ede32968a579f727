import { parseKillLine, type KillAnnounced, type KilledLine } from './kill-line.ts';
import type { KernelMessage, LogPosition } from './kmsg-record.ts';
import { apartUs, isLater, positionOf } from './log-position.ts';
import { OomDump, type OomInvocation } from './oom-dump.ts';
import type { OomEvent, OomVictim } from './oom-event.ts';
import { isWithin, parseOomKillLine } from './oom-kill-line.ts';
import { SplitMessageJoiner } from './split-message.ts';

/** A kill that was chosen but not yet told. */
interface Choice {
  dump: OomDump;
  at: LogPosition;
  pid: number;
  comm: string;
  uid?: number;
  memcgOom?: boolean;
  /** The summary line as it was read, to be read again once the name is known. */
  summary?: string;
  /** Up to 5.1 the kernel may kill a child in its place. */
  orChild: boolean;
}

/** A group that is being killed as a whole. */
interface GroupKill {
  invocation: OomInvocation;
  path: string;
  dump?: OomDump;
  memcgOom?: boolean;
  pids: Set<number>;
  /** With none of its victims went the second count of the first one yet. */
  owesSecondCount: boolean;
  last: LogPosition;
}

const maxChoices = 8;
const maxGroupPids = 65_536;
const maxRecent = 64;
/** A report whose lines are further apart was cut. A slow serial console can hold the kernel up for seconds. */
const reportUs = 10_000_000;
/** The kernel kills the members of a group one right after the other. */
const groupUs = 100_000;
/** Two reports that begin within this time of each other may be written at once (before 4.3). */
const overlapUs = 1_000_000;
/** No process dies twice: what looks like it within this time was told twice. */
const twiceUs = 2_000_000;
/** Messages of other kinds after which a victim is given out though its group may still be announced. */
const maxWait = 64;

/**
 * Assembles OOM reports from the messages of a kernel log, fed one at a time in the log's order, for kernels 3.10 to
 * 7.x. Other messages may stand anywhere between a report's lines. Never throws, whatever the text; what it holds is
 * bounded. A victim is given out with the next message that shows that its report is complete, or by `settle`.
 */
export class OomReports {
  readonly #pageBytes: number;
  readonly #joiner = new SplitMessageJoiner();
  /** The report that is being written, or was last. */
  #dump: OomDump | undefined;
  #dumpLast: LogPosition = {};
  #choices: Choice[] = [];
  /** Not yet given out, because the next line may tell that its whole group is killed. */
  #victim: { told: OomVictim; dump?: OomDump; waited: number } | undefined;
  /** The one that was given out last, whose group can be announced late: a slow console holds the kernel up. */
  #given: { told: OomVictim; dump?: OomDump } | undefined;
  #group: GroupKill | undefined;
  /** The last victims, to tell who was told twice. */
  #recent: OomVictim[] = [];
  #out: OomEvent[] = [];

  /** `pageBytes` is the page size of the machine that wrote the log: its tables of tasks are in pages. */
  constructor(pageBytes: number) {
    this.#pageBytes = pageBytes;
  }

  /** Takes the next message; gives what is certain now. Messages that a process wrote to the log are passed over. */
  feed(message: KernelMessage): OomEvent[] {
    if (message.facility !== undefined && message.facility !== 0) return [];
    for (const whole of this.#joiner.feed(message)) this.#take(whole);
    return this.#takeOut();
  }

  /** The log has been silent for a moment (200 ms is enough): gives victims that only waited for the next message. */
  settle(): OomEvent[] {
    for (const whole of this.#joiner.flush()) this.#take(whole);
    this.#giveVictim();
    return this.#takeOut();
  }

  /**
   * The log ends here, or a part of it was lost: gives all, chosen victims whose kill was not seen included, and
   * forgets the report that was being read.
   */
  flush(): OomEvent[] {
    for (const whole of this.#joiner.flush()) this.#take(whole);
    this.#giveVictim();
    for (const choice of this.#choices) this.#giveUnconfirmed(choice);
    this.#choices = [];
    this.#dump = undefined;
    this.#given = undefined;
    this.#group = undefined;
    return this.#takeOut();
  }

  #takeOut(): OomEvent[] {
    if (this.#out.length === 0) return none;
    const out = this.#out;
    this.#out = [];
    return out;
  }

  #take(message: KernelMessage): void {
    if (!this.#takeReportLine(message)) this.#wait(message);
  }

  #takeReportLine(message: KernelMessage): boolean {
    const { text } = message;
    // All that begins, ends or stands for a report holds this, and few other messages do.
    if (text.includes('ill') && this.#takeKillLine(message)) return true;
    const dump = this.#dump;
    if (dump !== undefined && !dump.closed) {
      if (!dump.add(message)) return false;
      this.#dumpLast = positionOf(message);
      return true;
    }
    // The beginning of a report can be lost.
    const headless = headlessBegins.some((begin) => text.startsWith(begin));
    if (!headless || text.startsWith('Memory cgroup out')) return false;
    this.#openDump(message).add(message);
    return true;
  }

  #takeKillLine(message: KernelMessage): boolean {
    const { text } = message;
    if (text.startsWith('oom-kill:')) return this.#choose(message);
    if (text.startsWith('Out of memory and no killable processes')) return this.#giveUp(message);
    if (text.startsWith('Tasks in ')) return this.#announceGroup(message);
    const line = parseKillLine(text);
    if (line?.kind === 'killed') return this.#kill(line, message);
    if (line?.kind === 'kill_announced') return this.#announce(line, message);
    if (line?.kind === 'kill_skipped') {
      this.#choices = this.#choices.filter(({ pid }) => pid !== line.pid);
      return true;
    }
    const suppressed = /^oom_kill_process: (\d{1,10}) callbacks suppressed$/.exec(text);
    if (suppressed !== null) {
      this.#giveVictim();
      const at = positionOf(message);
      this.#out.push({ kind: 'oom_reports_suppressed', at, reports: Number(suppressed[1]) });
      return true;
    }
    return this.#begin(message);
  }

  /** `hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0`. Order −1 is sysrq f. */
  #begin(message: KernelMessage): boolean {
    const { text } = message;
    const invokedAt = text.indexOf(' invoked oom-killer: gfp_mask=');
    if (invokedAt === -1 || invokedAt > 64) return false;
    const before = this.#dump;
    const overlaps = before !== undefined && !before.closed && apartUs(this.#dumpLast, message) < overlapUs;
    const dump = this.#openDump(message);
    dump.mixed = overlaps;
    dump.triggerComm = text.slice(0, invokedAt);
    if (/, order=-1, /.test(text.slice(invokedAt, invokedAt + 512))) dump.sysrq = true;
    return true;
  }

  #openDump(message: KernelMessage): OomDump {
    this.#giveVictim();
    // The kernel announces the group before it serves the next one that is out of memory.
    this.#given = undefined;
    this.#group = undefined;
    const at = positionOf(message);
    this.#dumpLast = at;
    this.#dump = new OomDump(at, this.#pageBytes);
    return this.#dump;
  }

  /** The report that a line belongs to which ends it; a new one where the rest was lost. */
  #openOrNewDump(message: KernelMessage): OomDump {
    const dump = this.#dump;
    if (dump !== undefined && !dump.closed && !isLater(this.#dumpLast, message, reportUs)) return dump;
    return this.#openDump(message);
  }

  #choose(message: KernelMessage): boolean {
    const line = parseOomKillLine(message.text);
    if (line === undefined) return false;
    this.#giveVictim();
    if (this.#choices.some(({ summary }) => summary === message.text)) return true;
    const dump = this.#openOrNewDump(message);
    const { comm, pid, uid, ...groups } = line;
    Object.assign(dump, groups);
    dump.closed = true;
    const memcgOom = line.constraint === 'CONSTRAINT_MEMCG';
    const at = positionOf(message);
    this.#addChoice({ dump, at, pid, comm, uid, memcgOom, summary: message.text, orChild: false });
    return true;
  }

  #announce(line: KillAnnounced, message: KernelMessage): boolean {
    this.#giveVictim();
    const chosen = this.#choices.find(({ pid }) => pid === line.pid);
    if (chosen !== undefined) {
      chosen.orChild = true;
      return true;
    }
    const dump = this.#openOrNewDump(message);
    dump.closed = true;
    const { pid, comm, memcgOom } = line;
    this.#addChoice({ dump, at: positionOf(message), pid, comm, memcgOom, orChild: true });
    return true;
  }

  #addChoice(choice: Choice): void {
    this.#choices.push(choice);
    if (this.#choices.length > maxChoices) this.#giveUnconfirmed(this.#choices.shift()!);
  }

  #giveUp(message: KernelMessage): boolean {
    this.#giveVictim();
    const dump = this.#dump !== undefined && !this.#dump.closed ? this.#dump : undefined;
    if (dump !== undefined) dump.closed = true;
    const at = positionOf(message);
    this.#out.push({ kind: 'oom_nothing_killable', at, invocation: dump?.toInvocation() });
    return true;
  }

  #kill(line: KilledLine, message: KernelMessage): boolean {
    const at = positionOf(message);
    this.#expireChoices(at);
    const told = toVictim(line, at);
    if (this.#isToldTwice(told)) this.#takeChoiceFor(told);
    else if (line.sharing) this.#addSharing(told);
    else this.#addKilled(told);
    return true;
  }

  #isToldTwice(told: OomVictim): boolean {
    const group = this.#group;
    if (group?.pids.has(told.pid) === true) {
      group.last = told.at;
      return true;
    }
    return this.#recent.some(
      (recent) =>
        recent.pid === told.pid &&
        (recent.confirmed ? recent.comm === told.comm && recent.totalVmBytes === told.totalVmBytes : true) &&
        !isLater(recent.at, told.at, twiceUs),
    );
  }

  /** Its memory is another victim's, and so is its report. */
  #addSharing(told: OomVictim): void {
    const { told: other, dump } = this.#victim ?? {};
    this.#hold({ ...told, memcgOom: other?.memcgOom, invocation: other?.invocation, memcg: other?.memcg }, dump);
  }

  #addKilled(told: OomVictim): void {
    const choice = this.#takeChoiceFor(told);
    if (choice !== undefined) {
      this.#group = undefined;
      this.#hold(ofChoice(told, choice), choice.dump);
      return;
    }
    if (this.#joinGroup(told)) return;
    this.#group = undefined;
    const dump = this.#unnamedDumpFor(told);
    if (dump === undefined) {
      this.#hold(told, undefined);
      return;
    }
    dump.closed = true;
    this.#hold({ ...told, memcg: dump.taskMemcg, invocation: dump.toInvocation(told) }, dump);
  }

  #takeChoiceFor(told: OomVictim): Choice | undefined {
    const choice = this.#choiceFor(told);
    if (choice !== undefined) this.#choices.splice(this.#choices.indexOf(choice), 1);
    return choice;
  }

  /**
   * The choice that this kill carries out: of the same process, or else the last one, where the kernel killed a child
   * of it or told the number of another thread.
   */
  #choiceFor(told: OomVictim): Choice | undefined {
    const fits = (choice: Choice): boolean =>
      told.memcgOom === undefined || choice.memcgOom === undefined || told.memcgOom === choice.memcgOom;
    const same = this.#choices.findLast((choice) => choice.pid === told.pid && fits(choice));
    if (same !== undefined) return same;
    const last = this.#choices.at(-1);
    if (last === undefined || last.dump !== this.#dump || this.#group !== undefined || !fits(last)) return undefined;
    if (last.orChild) return last.dump.table?.lists(told.pid) === false ? undefined : last;
    const sameName = last.comm === told.comm && (told.uid === undefined || last.uid === told.uid);
    return sameName && last.dump.table?.lists(told.pid) !== true ? last : undefined;
  }

  /** Kernels before 5.0, and 4.18 of RHEL 8, tell the groups in the dump and the victim only when it is killed. */
  #unnamedDumpFor(told: OomVictim): OomDump | undefined {
    const dump = this.#dump;
    if (dump === undefined || dump.closed || isLater(this.#dumpLast, told.at, reportUs)) return undefined;
    if (dump.table?.lists(told.pid) === false) return undefined;
    if (dump.taskMemcg !== undefined) return told.memcgOom === false ? undefined : dump;
    return dump.table?.lists(told.pid) === true ? dump : undefined;
  }

  #joinGroup(told: OomVictim): boolean {
    const group = this.#group;
    if (group === undefined || isLater(group.last, told.at, groupUs)) return false;
    if (group.dump?.table?.lists(told.pid) === false || group.pids.size >= maxGroupPids) return false;
    if (told.memcgOom !== undefined && group.memcgOom !== undefined && told.memcgOom !== group.memcgOom) return false;
    group.pids.add(told.pid);
    group.last = told.at;
    const memcgOom = told.memcgOom ?? group.memcgOom;
    const countedTwice = group.owesSecondCount || undefined;
    group.owesSecondCount = false;
    this.#hold({ ...told, memcgOom, memcg: group.path, countedTwice, invocation: group.invocation }, group.dump);
    return true;
  }

  /** `Tasks in /A1 are going to be killed due to memory.oom.group set`, right after the first of them was killed. */
  #announceGroup(message: KernelMessage): boolean {
    const match = /^Tasks in (\/[^]*) are going to be killed due to memory\.oom\.group set$/.exec(message.text);
    if (match === null) return false;
    const path = match[1]!;
    const held = this.#victim ?? this.#givenBefore(message);
    const memcg = held?.told.invocation?.oomGroup === undefined ? held?.told.memcg : undefined;
    const isFirst = held !== undefined && (memcg === undefined || isWithin(memcg, path));
    const at = positionOf(message);
    const dump = isFirst ? held.dump : undefined;
    // A victim that seemed to belong to the group before, because nothing stood between, is the first of this one.
    const own = isFirst && memcg !== undefined ? held.told.invocation : undefined;
    const heldBack = isFirst ? { at: held.told.at, firstVictimPid: held.told.pid } : { at };
    const invocation: OomInvocation = { ...(own ?? heldBack), oomGroup: path };
    const isHeld = isFirst && held === this.#victim;
    if (isHeld) held.told = { ...held.told, memcg: memcg ?? path, countedTwice: true, invocation };
    const pids = new Set(isFirst ? [held.told.pid] : []);
    const memcgOom = isFirst ? held.told.memcgOom : undefined;
    this.#giveVictim();
    this.#group = { invocation, path, dump, memcgOom, pids, owesSecondCount: !isHeld, last: at };
    return true;
  }

  #givenBefore(message: KernelMessage): { told: OomVictim; dump?: OomDump } | undefined {
    return this.#given !== undefined && !isLater(this.#given.told.at, message, reportUs) ? this.#given : undefined;
  }

  #hold(told: OomVictim, dump: OomDump | undefined): void {
    this.#giveVictim();
    this.#victim = { told, dump, waited: 0 };
    this.#remember(told);
  }

  /** Another message stands between; the next line of a report follows soon if there is one. */
  #wait(message: KernelMessage): void {
    const victim = this.#victim;
    if (victim === undefined) return;
    if (++victim.waited > maxWait || isLater(victim.told.at, message, groupUs)) this.#giveVictim();
  }

  #giveVictim(): void {
    if (this.#victim === undefined) return;
    this.#out.push(this.#victim.told);
    this.#given = this.#victim;
    this.#victim = undefined;
  }

  #expireChoices(now: LogPosition): void {
    while (this.#choices.length > 0 && isLater(this.#choices[0]!.at, now, reportUs)) {
      this.#giveUnconfirmed(this.#choices.shift()!);
    }
  }

  #giveUnconfirmed(choice: Choice): void {
    const { at, pid, comm, uid, memcgOom } = choice;
    const told = ofChoice({ kind: 'oom_victim', at, pid, comm, uid, memcgOom, confirmed: false }, choice);
    this.#remember(told);
    this.#out.push(told);
  }

  #remember(told: OomVictim): void {
    this.#recent.push(told);
    if (this.#recent.length > maxRecent) this.#recent.shift();
  }
}

const none: OomEvent[] = [];

/** With what can open a report whose beginning is lost. */
const headlessBegins = [
  'memory: usage ',
  'Memory cgroup stats for ',
  'Task in ',
  'Tasks state (memory',
  'Memory limit reached of cgroup ',
  '[ pid ] ',
  '[  pid  ] ',
];

function toVictim({ kind: _kind, sharing: _sharing, ...facts }: KilledLine, at: LogPosition): OomVictim {
  return { kind: 'oom_victim', at, ...facts, confirmed: true };
}

/** With what was told when it was chosen. The name that the kill tells settles where it begins in the summary. */
function ofChoice(told: OomVictim, { dump, summary, uid, pid, memcgOom }: Choice): OomVictim {
  if (summary !== undefined && told.pid === pid) {
    const { oomMemcg, taskMemcg } = parseOomKillLine(summary, told.comm) ?? {};
    Object.assign(dump, { oomMemcg, taskMemcg });
  }
  // Of a group's tasks, up to 5.1 a thread can be chosen, which the table does not list; its process is what is killed.
  const isListed = told.pid === pid || dump.table?.lists(told.pid) === true;
  const invocation = dump.toInvocation(isListed ? told : { pid });
  return {
    ...told,
    uid: told.uid ?? (told.pid === pid ? uid : undefined),
    memcgOom: told.memcgOom ?? memcgOom,
    memcg: dump.taskMemcg,
    invocation,
  };
}
