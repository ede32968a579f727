import { readdirSync, readFileSync } from 'node:fs';

/** What a process has used. */
export interface Usage {
  atMs: number;
  cpuMs: number;
  rssMb: number;
}

/** Of a process, until now. */
export function readUsage(pid: number): Usage {
  // The first field is the time on a CPU in nanoseconds, exactly; utime and stime of /proc/PID/stat are counted by ticks,
  // and a process that timers wake up is met by ticks too often.
  const cpuNs = readdirSync(`/proc/${pid}/task`).map((tid) =>
    Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'utf8').split(' ')[0]),
  );
  const rssKib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1];
  return {
    atMs: performance.now(),
    cpuMs: cpuNs.reduce((sum, ns) => sum + ns, 0) / 1e6,
    rssMb: (Number(rssKib) * 1024) / 1e6,
  };
}

/** `0.40 %` of one core. */
export function formatShare(to: Usage, from: Usage): string {
  return `${((100 * (to.cpuMs - from.cpuMs)) / (to.atMs - from.atMs)).toFixed(2)} %`;
}

/** `83 MB`. */
export function formatMb(mb: number): string {
  return `${mb.toFixed(0)} MB`;
}
