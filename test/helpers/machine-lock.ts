import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** The kernel reports no more than ten kills in full in five seconds, of all containers together. */
const mostReports = 10;
const reportsRestMs = 5_100;

/** In the abstract namespace: the kernel takes it back when its holder ends, however that happens. */
const lockSocket = '\0exit137-test-machine';

/**
 * Waits until this test has the machine for itself, as far as OOM kills are concerned: the kernel counts those of the
 * whole machine, and a kill of one test would be evidence in another. Holds for every process of this machine.
 *
 * @returns what gives the machine back.
 */
export async function lockMachine(): Promise<() => void> {
  for (;;) {
    const server = createServer();
    try {
      server.listen(lockSocket);
      await once(server, 'listening');
      server.unref();
      return () => server.close();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
    await sleep(100);
  }
}

/**
 * Waits, where the machine is this test's, until the kernel will report so many kills in full, whatever was killed
 * before. Of a kill beyond that it tells no more than the victim's pid, and it is chance whether /proc still knows that.
 */
export async function untilKillsAreReported(kills = mostReports): Promise<void> {
  const log = execFileSync('dmesg', ['--syslog', '--raw'], { encoding: 'latin1', maxBuffer: 2 ** 26 });
  // <3>[57130.684931] Memory cgroup out of memory: Killed process 4711 (memhog) …
  const killedAtMs = [...log.matchAll(/^<\d+>\[ *(\d+\.\d+)\] .*Killed process/gm)].map(([, at]) => Number(at) * 1000);
  // By when no more than the others are so recent.
  const lastMs = killedAtMs.at(-1 - (mostReports - kills)) ?? -Infinity;
  await sleep(Math.max(0, lastMs + reportsRestMs - Number(process.hrtime.bigint()) / 1e6));
}
