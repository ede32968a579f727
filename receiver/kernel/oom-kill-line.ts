/** The kernel's summary of one kill: where the limit is, where the victim was, who it is. */
export interface OomKillLine {
  /** CONSTRAINT_MEMCG, CONSTRAINT_NONE, CONSTRAINT_CPUSET or CONSTRAINT_MEMORY_POLICY. */
  constraint: string;
  /** Group whose limit was hit; absent when it was not a group's. */
  oomMemcg?: string;
  /** Group of the victim. */
  taskMemcg?: string;
  comm: string;
  pid: number;
  uid: number;
}

const begin = 'oom-kill:constraint=';

/**
 * Parses the summary line (since 5.0):
 *
 *     oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/kubepods/pod1a,task_memcg=/kubepods/pod1a/7c1f,task=hog,pid=134,uid=0
 *     oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/docker/7c1f,task=hog,pid=150,uid=0
 *
 * Three parts come from containers and can hold any of the words around them. The name of the cpuset's group has no
 * slash, so that the first slash begins the first path. The victim's group is the limited one or lies below it. The
 * process's name is short: `comm`, where another line told it, settles where it begins; else it is as long as it can be.
 */
export function parseOomKillLine(text: string, comm?: string): OomKillLine | undefined {
  if (!text.startsWith(begin)) return undefined;
  const end = /,pid=(\d{1,10}),uid=(-?\d{1,10})$/.exec(text.slice(-40));
  if (end === null) return undefined;
  const head = text.slice(0, text.length - end[0].length);
  const commAt = findComm(head, comm);
  if (commAt === -1) return undefined;
  // No group's name holds a newline, but a terminal can have wrapped the line.
  const paths = readPaths(head.slice(0, commAt).replaceAll('\n', ''));
  const constraint = /^[A-Z_]{0,64}/.exec(text.slice(begin.length, begin.length + 64))![0];
  return {
    // 5.0 to 5.2 call every constraint CONSTRAINT_NONE; no other names a limit.
    constraint: paths.oomMemcg === undefined ? constraint : 'CONSTRAINT_MEMCG',
    ...paths,
    comm: head.slice(commAt + task.length),
    pid: Number(end[1]),
    // The kernel prints it signed.
    uid: Number(end[2]) >>> 0,
  };
}

const task = ',task=';

function findComm(head: string, comm: string | undefined): number {
  if (comm !== undefined && head.endsWith(`${task}${comm}`)) return head.length - task.length - comm.length;
  // 15 bytes, or 60 characters where each is written as \xNN.
  const usual = head.indexOf(task, Math.max(0, head.length - task.length - 15));
  return usual === -1 ? head.indexOf(task, Math.max(0, head.length - task.length - 60)) : usual;
}

/** Of `…,cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b`. */
function readPaths(text: string): { oomMemcg?: string; taskMemcg?: string } {
  const cpusetAt = text.indexOf(',cpuset=') + ',cpuset='.length;
  const afterRoot = text.startsWith('/,mems_allowed=', cpusetAt) ? cpusetAt + 1 : cpusetAt;
  const slashAt = text.indexOf('/', afterRoot);
  if (slashAt === -1) return {};
  const before = text.slice(Math.max(0, slashAt - 64), slashAt);
  const paths = text.slice(slashAt);
  if (before.endsWith(',global_oom,task_memcg=')) return { taskMemcg: paths };
  if (!before.endsWith(',oom_memcg=')) return {};
  const split = splitNested(paths, ',task_memcg=', false);
  return split === undefined ? {} : { oomMemcg: split[0], taskMemcg: split[1] };
}

/**
 * Splits two paths of cgroups at the separator that makes one lie in the other: the second in the first, or the first
 * in the second where `innerFirst`. Names of groups can hold the separator; with this rule they can only misstate what
 * is below themselves.
 */
export function splitNested(paths: string, separator: string, innerFirst: boolean): [string, string] | undefined {
  let at = paths.indexOf(`${separator}/`);
  for (let tries = 0; at !== -1 && tries < 16; tries++) {
    const first = paths.slice(0, at);
    const second = paths.slice(at + separator.length);
    if (innerFirst ? isWithin(first, second) : isWithin(second, first)) return [first, second];
    at = paths.indexOf(`${separator}/`, at + 1);
  }
  return undefined;
}

/** True when the group `path` is `group` or lies below it. */
export function isWithin(path: string, group: string): boolean {
  return path === group || path.startsWith(group === '/' ? group : `${group}/`);
}
