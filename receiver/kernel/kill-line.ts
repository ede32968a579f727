/** What one line of the kernel log says about the end of a process. */
export type KillLine = KilledLine | KillAnnounced | KillSkipped;

/** The kernel killed it. */
export interface KilledLine extends KillSubject {
  kind: 'killed';
  uid?: number;
  totalVmBytes?: number;
  anonRssBytes?: number;
  fileRssBytes?: number;
  shmemRssBytes?: number;
  pgtablesBytes?: number;
  oomScoreAdj?: number;
  /** The process was killed because it shares its memory with another victim (up to 4.7). */
  sharing: boolean;
}

/** The kernel chose it (up to 5.1); it can still kill a child of it in its place. */
export interface KillAnnounced extends KillSubject {
  kind: 'kill_announced';
}

/** The kernel chose it but found it exiting by itself. */
export interface KillSkipped extends KillSubject {
  kind: 'kill_skipped';
}

interface KillSubject {
  /** In the host's namespace; that of a thread where the process's first thread has ended. */
  pid: number;
  /** At most 15 bytes, chosen by the process. */
  comm: string;
  /** True below a cgroup's limit, false for the whole machine, a cpuset or a memory policy; absent where not told. */
  memcgOom?: boolean;
}

/**
 * Parses the lines that name a victim, of all kernels since 3.10:
 *
 *     Memory cgroup out of memory: Killed process 134 (hog) total-vm:21492kB, anon-rss:20224kB, file-rss:0kB, shmem-rss:264kB, UID:0 pgtables:76kB oom_score_adj:0      6.12
 *     Killed process 7093, UID 1000, (java) total-vm:33558652kB, anon-rss:920kB, file-rss:452kB                    2.6.32 of RHEL 6
 *     Killed process 7093 (java), UID 1000, total-vm:33558652kB, anon-rss:920kB, file-rss:452kB, shmem-rss:0kB     3.10 of RHEL 7
 *     Out of memory: Kill process 1221 (allocate) score 241 or sacrifice child                                     4.x
 *     Kill process 1222 (allocate) sharing same memory                                                             3.10
 *     Memory cgroup out of memory: OOM victim 3804877 (stress) is already exiting. Skip killing the task           6.x
 *
 * The name in brackets can hold anything but is short: it ends at the last bracket before what the kernel writes next.
 */
export function parseKillLine(text: string): KillLine | undefined {
  const [prefixLength, memcgOom] = readMessage(text);
  const verb = /(Killed process|Kill process|OOM victim) (\d{1,10})(?:, UID (\d{1,10}),)? \(/y;
  verb.lastIndex = prefixLength;
  const match = verb.exec(text);
  if (match === null) return undefined;
  const subject = { pid: Number(match[2]), memcgOom };
  const rest = text.slice(verb.lastIndex);
  if (match[1] === 'Killed process') return parseKilled(rest, subject, match[3]);
  if (match[1] === 'OOM victim') {
    const skipped = /^([^]{0,64})\) is already exiting/.exec(rest);
    return skipped === null ? undefined : { kind: 'kill_skipped', ...subject, comm: skipped[1]! };
  }
  const sharing = /^([^]{0,64})\) sharing same memory(?:\n|$)/.exec(rest);
  if (sharing !== null) return { kind: 'killed', ...subject, comm: sharing[1]!, sharing: true };
  const announced = /^([^]{0,64})\) score \d{1,10} or sacrifice child(?:\n|$)/.exec(rest);
  return announced === null ? undefined : { kind: 'kill_announced', ...subject, comm: announced[1]! };
}

function parseKilled(
  rest: string,
  subject: { pid: number; memcgOom?: boolean },
  uidOfRhel6?: string,
): KilledLine | undefined {
  const match = wholeKill.exec(rest) ?? wholeKill.exec(unwrap(rest)) ?? cutKill.exec(rest);
  if (match === null) return undefined;
  const [whole, comm, uidOfRhel7] = match;
  const figures = unwrap(rest.slice(comm!.length, whole.length + 256));
  return {
    kind: 'killed',
    ...subject,
    comm: comm!,
    uid: number(uidOfRhel6 ?? uidOfRhel7 ?? / UID:(\d{1,10}) /.exec(figures)?.[1]),
    totalVmBytes: kilobytes(/ total-vm:(\d{1,16})kB/, figures),
    anonRssBytes: kilobytes(/ anon-rss:(\d{1,16})kB/, figures),
    fileRssBytes: kilobytes(/ file-rss:(\d{1,16})kB/, figures),
    shmemRssBytes: kilobytes(/ shmem-rss:(\d{1,16})kB/, figures),
    pgtablesBytes: kilobytes(/ pgtables:(\d{1,16})kB/, figures),
    oomScoreAdj: number(/ oom_score_adj:(-?\d{1,5})/.exec(figures)?.[1]),
    sharing: false,
  };
}

const wholeKill = /^([^]{0,64})\)(?:, UID (\d{1,10}),)? total-vm:\d{1,16}kB/;

/** The kernel writes no newline after the name, but a terminal or a mail can have wrapped the line. */
function unwrap(rest: string): string {
  if (!rest.includes('\n')) return rest;
  const nameEnd = rest.lastIndexOf(')') + 1;
  const figures = rest.slice(nameEnd).replaceAll(',\n', ', ').replaceAll('\n', '');
  return rest.slice(0, nameEnd) + figures;
}

/** Who copied a log may have cut its lines: `Out of memory: Killed process 134 (hog) total-vm:214`, or `… 134 (hog) ...`. */
const cutKill = /^([^\n]{0,64})\)(?: total-vm[:\dkB,]{0,20})?[ .…\\]{0,8}$/;

/** Length of the message that the line begins with, and what it says. */
function readMessage(text: string): [number, boolean | undefined] {
  if (text.startsWith('Memory cgroup out of memory: ')) return [29, true];
  if (text.startsWith('Out of memory: ')) return [15, false];
  const allocating = 'Out of memory (oom_kill_allocating_task): ';
  if (text.startsWith(allocating)) return [allocating.length, false];
  return [0, undefined];
}

function kilobytes(form: RegExp, figures: string): number | undefined {
  const value = number(form.exec(figures)?.[1]);
  return value === undefined ? undefined : value * 1024;
}

function number(digits: string | undefined): number | undefined {
  return digits === undefined ? undefined : Number(digits);
}
