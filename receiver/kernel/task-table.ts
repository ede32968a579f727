/** One process of the table that the kernel prints before it kills. */
export interface OomTask {
  pid: number;
  /** Chosen by the process. Absent where the table was cut. */
  comm?: string;
  rssBytes: number;
}

/** What another line of the report tells of a task. */
export interface ToldSize {
  pid: number;
  totalVmBytes?: number;
}

/** Of all architectures that run containers. */
const pageSizes = [4096, 16_384, 65_536];

const maxTasks = 10;
const maxPids = 8192;

/**
 * The table of tasks of one report. Columns are found by their names, which differ between kernels:
 *
 *     [ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name                                        3.10
 *     [ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name                                4.x
 *     [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name                               4.19
 *     [  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name   6.8
 *     [    134]     0   134     5373     5122     5056        0        66    77824        0             0 hog
 */
export class TaskTable {
  readonly #pageBytes: number;
  readonly #columns: readonly string[];
  readonly #largest: { pid: number; comm?: string; pages: number }[] = [];
  /** Pages of virtual memory, by pid. */
  readonly #vmPages = new Map<number, number | undefined>();
  #truncated = false;

  private constructor(columns: readonly string[], pageBytes: number) {
    this.#columns = columns;
    this.#pageBytes = pageBytes;
  }

  /** Undefined where the line is no header. `pageBytes` is the machine's page size, if nothing tells better: the table is in pages. */
  static fromHeader(text: string, pageBytes: number): TaskTable | undefined {
    const header = /^\[ {1,3}pid {1,3}\] {1,4}(.{0,200})$/.exec(text);
    return header === null ? undefined : new TaskTable(header[1]!.split(/ +/), pageBytes);
  }

  /**
   * The largest tasks, largest first. A line that tells a task's size in bytes tells the page size, too: a log can be of
   * another machine.
   */
  largest(told?: ToldSize): readonly OomTask[] {
    const pageBytes = this.#pageBytesBy(told) ?? this.#pageBytes;
    return this.#largest.map(({ pid, comm, pages }) => ({ pid, comm, rssBytes: pages * pageBytes }));
  }

  /** Of all tasks, as far as they were kept. */
  get pids(): ReadonlySet<number> {
    return new Set(this.#vmPages.keys());
  }

  /** Whether the table lists a process; undefined where the table holds too few or too many to tell. */
  lists(pid: number): boolean | undefined {
    if (this.#vmPages.has(pid)) return true;
    return this.#truncated || this.#vmPages.size === 0 ? undefined : false;
  }

  /** Takes a row; false where the line is none. */
  addRow(text: string): boolean {
    const row = /^\[ {0,7}(\d{1,10})\]/.exec(text);
    if (row === null) return false;
    const pid = Number(row[1]);
    const cells = this.#readRow(text, row[0].length);
    if (cells === undefined) return false;
    const { pages, vmPages, comm } = cells;
    if (this.#vmPages.size < maxPids) this.#vmPages.set(pid, vmPages);
    else this.#truncated = true;
    const below = this.#largest.findIndex((task) => task.pages < pages);
    const place = below === -1 ? this.#largest.length : below;
    if (place < maxTasks) this.#largest.splice(place, 0, { pid, comm, pages });
    if (this.#largest.length > maxTasks) this.#largest.pop();
    return true;
  }

  #pageBytesBy(told: ToldSize | undefined): number | undefined {
    const pages = told && this.#vmPages.get(told.pid);
    return pages === undefined ? undefined : pageSizes.find((bytes) => bytes * pages === told!.totalVmBytes);
  }

  #readRow(text: string, from: number): { pages: number; vmPages?: number; comm?: string } | undefined {
    const number = / {1,24}(-?\d{1,20})(?= |$)/y;
    number.lastIndex = from;
    let pages: number | undefined;
    let vmPages: number | undefined;
    for (const column of this.#columns) {
      const end = number.lastIndex;
      if (column === 'name') return pages === undefined ? undefined : { pages, vmPages, comm: text.slice(end + 1) };
      const match = number.exec(text);
      if (match === null) break;
      if (column === 'rss') pages = Number(match[1]);
      if (column === 'total_vm') vmPages = Number(match[1]);
    }
    return pages === undefined ? undefined : { pages, vmPages };
  }
}
