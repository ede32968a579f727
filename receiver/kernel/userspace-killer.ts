/** A program of user space that kills before the kernel does, and says so. */
export type UserspaceKiller = 'systemd-oomd' | 'earlyoom' | 'talos';

/** What such a program wrote of one kill. Whoever may write to a log can forge it. */
export interface UserspaceKill {
  killer: UserspaceKiller;
  /** The group that it killed, and all below; of a systemd unit only the last component. */
  memcg?: string;
  /** The process that it killed, in the host's namespace. */
  pid?: number;
}

/** With what the messages that we look for begin. */
const begins = ['systemd-oomd', 'systemd[1]: ', 'earlyoom', '[talos] Send'];

/** Length of the longest of them. */
export const killerBeginLength = Math.max(...begins.map(({ length }) => length));

/** Whether a message of user space can be one of these; `text` begins with the program's name. */
export function mayTellUserspaceKill(text: string): boolean {
  return begins.some((begin) => text.startsWith(begin));
}

/**
 * Reads what a userspace OOM killer writes to the journal, to syslog or to /dev/kmsg of a kill, from the name of the
 * program on; undefined for all else. What they write (oomd-manager.c of systemd 248 to 259, unit.c of the same; kill.c
 * of earlyoom 1.6 to 1.8; runtime/oom.go of Talos 1.12):
 *
 *     systemd-oomd[604]: Killed /kubepods.slice/… due to memory pressure for /kubepods.slice being 62.11% > 60.00% …
 *     systemd-oomd[604]: Marked /system.slice/docker-….scope for killing due to memory used (60776927232) / total …
 *     systemd[1]: docker-….scope: systemd-oomd killed 3 process(es) in this unit.
 *     earlyoom[1593]: sending SIGTERM to process 2806237 uid 1000 "VLLM::EngineCor": badness 994, VmRSS 4229 MiB
 *     [talos] Sending SIGKILL to cgroup {"component": "controller-runtime", …, "cgroup": "/sys/fs/cgroup/kubepods/…"}
 *
 * earlyoom sends a SIGKILL to the same process where a SIGTERM has no effect, which it tells without its pid.
 */
export function parseUserspaceKill(text: string): UserspaceKill | undefined {
  if (text.startsWith('systemd-oomd')) return parseOomd(text);
  if (text.startsWith('systemd[1]: ')) return parseSystemd(text);
  if (text.startsWith('earlyoom')) return parseEarlyoom(text);
  return text.startsWith('[talos] ') ? parseTalos(text) : undefined;
}

function parseOomd(text: string): UserspaceKill | undefined {
  const match =
    /^systemd-oomd(?:\[\d{1,10}\])?: (?:Killed|Marked) (\/[^\s]{1,4096}) (?:for killing )?due to (?:memory|swap) /.exec(
      text,
    );
  return match === null ? undefined : { killer: 'systemd-oomd', memcg: match[1]! };
}

function parseSystemd(text: string): UserspaceKill | undefined {
  const match = /^systemd\[1\]: ([^\s/]{1,255}): systemd-oomd killed [1-9]\d{0,9} process\(es\) in this unit\.$/.exec(
    text,
  );
  return match === null ? undefined : { killer: 'systemd-oomd', memcg: `/${match[1]!}` };
}

function parseEarlyoom(text: string): UserspaceKill | undefined {
  const match = /^earlyoom(?:\[\d{1,10}\])?: sending SIG(?:KILL|TERM) to process (\d{1,10}) uid \d{1,10} "/.exec(text);
  return match === null ? undefined : { killer: 'earlyoom', pid: Number(match[1]) };
}

function parseTalos(text: string): UserspaceKill | undefined {
  const match =
    /^\[talos\] Sending SIGKILL to cgroup \{[^{}]{0,512}"cgroup": ?"\/sys\/fs\/cgroup(\/[^"\\]{1,4096})"/.exec(text);
  return match === null ? undefined : { killer: 'talos', memcg: match[1]! };
}
