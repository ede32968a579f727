import type { KernelMessage, LogPosition } from './kmsg-record.ts';
import { isWithin, splitNested } from './oom-kill-line.ts';
import { TaskTable, type OomTask, type ToldSize } from './task-table.ts';

/** What one invocation of the OOM killer wrote about itself. One object for all its victims. */
export interface OomInvocation {
  /** Its first line that was seen. */
  at: LogPosition;
  /** Who asked for memory. */
  triggerComm?: string;
  triggerPid?: number;
  /** Somebody asked for the kill: sysrq f. */
  sysrq?: boolean;
  /** CONSTRAINT_MEMCG and so on, since 5.0. */
  constraint?: string;
  /** Group whose limit was hit. */
  oomMemcg?: string;
  /** Group of the chosen victim. */
  taskMemcg?: string;
  usageBytes?: number;
  /** Absent where there is none. */
  limitBytes?: number;
  failcnt?: number;
  /** memory.stat of `oomMemcg` and all below it, by the kernel's keys; in bytes but for the keys of events. */
  memoryStat?: ReadonlyMap<string, number>;
  /** The largest of those that could have been killed, largest first; at most 10. */
  tasks?: readonly OomTask[];
  /** Pids of all of them. */
  pids?: ReadonlySet<number>;
  /** Group that was killed as a whole, because memory.oom.group is set there. */
  oomGroup?: string;
  /** Pid of its first victim, where the report was held back and only the group's announcement is known. */
  firstVictimPid?: number;
}

/** Stands for "no limit": LONG_MAX pages or bytes, which pages of 4 to 64 KiB and old kernels print differently. */
const unlimitedKb = 9_007_199_254_740_000;
const maxStatKeys = 192;

/**
 * The part of a report between `invoked oom-killer` and the kill. Its lines carry no mark of the invocation that they
 * belong to, so that facts which contradict each other are left out.
 */
export class OomDump {
  readonly at: LogPosition;
  readonly #pageBytes: number;
  /** Another report was being written: which of the two an unmarked line belongs to cannot be told. */
  mixed = false;
  /** The kill, or that there is none, was announced: what comes now belongs to another report. */
  closed = false;
  triggerComm: string | undefined;
  #triggerPid: number | undefined;
  sysrq: boolean | undefined;
  constraint: string | undefined;
  oomMemcg: string | undefined;
  taskMemcg: string | undefined;
  table: TaskTable | undefined;
  #usage: { usageBytes: number; limitBytes?: number; failcnt: number } | undefined;
  #stat: Map<string, number> | undefined;
  #statMemcg: string | undefined;
  /** Before 5.3 the groups below the limited one are told after it, which only what comes before it proves. */
  #statIsFirst = false;
  #statOpen = false;
  #usageContradicts = false;
  #tables = 0;

  constructor(at: LogPosition, pageBytes: number) {
    this.at = at;
    this.#pageBytes = pageBytes;
  }

  /** Takes a line of the dump; false where the line is none of it. */
  add({ text }: KernelMessage): boolean {
    return this.#addStat(text) || this.#addFigures(text) || this.#addTable(text) || this.#addGroups(text);
  }

  /** What is certain. The victim must be in the table of tasks, if there is one. */
  toInvocation(victim?: ToldSize): OomInvocation {
    const { at, constraint, taskMemcg } = this;
    const isStatOfLimit = this.#statIsFirst && !this.mixed && constraint === undefined;
    const oomMemcg = this.oomMemcg ?? (isStatOfLimit ? this.#statMemcg : undefined);
    const own: OomInvocation = { at, constraint, oomMemcg, taskMemcg };
    if (this.mixed) return own;
    const statFits = this.#statMemcg === undefined || this.#statMemcg === oomMemcg;
    const usage = statFits && !this.#usageContradicts ? this.#usage : undefined;
    const tableFits = this.#tables === 1 && (victim === undefined || this.table?.lists(victim.pid) !== false);
    const tasks = this.table?.largest(victim) ?? [];
    return {
      ...own,
      triggerComm: this.triggerComm,
      triggerPid: this.#triggerPid,
      sysrq: this.sysrq,
      ...usage,
      memoryStat: statFits && !this.#usageContradicts ? this.#stat : undefined,
      tasks: tableFits && tasks.length > 0 ? tasks : undefined,
      pids: tableFits ? this.table?.pids : undefined,
    };
  }

  /** `memory: usage 20480kB, limit 20480kB, failcnt 19`, and `CPU: 0 UID: 0 PID: 134 Comm: hog Not tainted 6.12.107`. */
  #addFigures(text: string): boolean {
    if (text.startsWith('memory: usage ')) {
      const match = /^memory: usage (\d{1,20})kB, limit (\d{1,20})kB, failcnt (\d{1,20})$/.exec(text);
      if (match === null) return false;
      if (this.#usage !== undefined) this.#usageContradicts = true;
      const [usageKb, limitKb, failcnt] = match.slice(1).map(Number) as [number, number, number];
      const limitBytes = limitKb >= unlimitedKb ? undefined : limitKb * 1024;
      this.#usage = { usageBytes: usageKb * 1024, limitBytes, failcnt };
      return true;
    }
    if (!text.startsWith('CPU: ') || this.#triggerPid !== undefined) return false;
    const task = /^CPU: \d{1,5} (?:UID: \d{1,10} )?PID: (\d{1,10}) Comm: /.exec(text);
    if (task === null || this.triggerComm === undefined) return false;
    if (!text.startsWith(`${this.triggerComm} `, task[0].length)) return false;
    this.#triggerPid = Number(task[1]);
    return true;
  }

  /**
   * memory.stat in its three shapes: since 5.3 a header and one record of many lines, since 6.12 a header and one
   * record for each key; before, one line for the group and one for each group below it, whose sum is meant:
   *
   *     Memory cgroup stats for /mem2: cache:0KB rss:980KB rss_huge:0KB mapped_file:0KB writeback:20KB     3.13
   */
  #addStat(text: string): boolean {
    if (text.startsWith(statBegin)) return this.#addStatHeader(text.slice(statBegin.length));
    if (!this.#statOpen) return false;
    const lines = text.split(/\n|\\x0a|#012/, maxStatKeys);
    const pairs = lines.map((line) => /^ *([a-z][a-z0-9_]{0,40}) (\d{1,16})$/.exec(line));
    if (!pairs.some((pair) => pair !== null)) return false;
    for (const pair of pairs) if (pair !== null) this.#addStatValue(pair[1]!, Number(pair[2]));
    return true;
  }

  #addStatHeader(text: string): boolean {
    const values: [string, number][] = [];
    let end = text.trimEnd().length;
    // From the end, because a path can hold anything.
    for (;;) {
      const wordAt = text.lastIndexOf(' ', end - 1);
      const value = wordAt === -1 ? null : /^ ([a-z_]{1,40}):(\d{1,16})KB$/.exec(text.slice(wordAt, end));
      if (value === null || values.length > maxStatKeys) break;
      values.push([value[1]!, Number(value[2]) * 1024]);
      end = wordAt;
    }
    if (text.charAt(end - 1) !== ':') return false;
    const memcg = text.slice(0, end - 1);
    if (this.#statMemcg === undefined) {
      this.#statMemcg = memcg;
      this.#statIsFirst = this.#usage !== undefined || values.length === 0;
    } else if (values.length === 0 || !isWithin(memcg, this.#statMemcg)) this.#usageContradicts = true;
    this.#statOpen = values.length === 0;
    for (const [key, value] of values.toReversed()) this.#addStatValue(key, value);
    return true;
  }

  #addStatValue(key: string, value: number): void {
    this.#stat ??= new Map();
    if (this.#stat.size < maxStatKeys || this.#stat.has(key)) {
      this.#stat.set(key, this.#statOpen ? value : (this.#stat.get(key) ?? 0) + value);
    }
  }

  #addTable(text: string): boolean {
    if (text.startsWith('Tasks state (memory values in pages)')) {
      this.#statOpen = false;
      return true;
    }
    if (!text.startsWith('[')) return false;
    const table = TaskTable.fromHeader(text, this.#pageBytes);
    if (table === undefined) return this.table?.addRow(text) ?? false;
    this.#statOpen = false;
    this.#tables++;
    this.table = table;
    return true;
  }

  /**
   * Before 5.0: `Task in /docker/2e08 killed as a result of limit of /docker/2e08`, or, where nothing can be killed,
   * `Memory limit reached of cgroup /docker/2e08`.
   */
  #addGroups(text: string): boolean {
    if (text.startsWith(limitBegin)) {
      this.oomMemcg = text.slice(limitBegin.length);
      return true;
    }
    if (!text.startsWith('Task in ')) return false;
    const groups = splitNested(text.slice('Task in '.length), ' killed as a result of limit of ', true);
    if (groups === undefined) return false;
    if (this.oomMemcg !== undefined) this.mixed = true;
    [this.taskMemcg, this.oomMemcg] = groups;
    return true;
  }
}

const statBegin = 'Memory cgroup stats for ';
const limitBegin = 'Memory limit reached of cgroup ';
