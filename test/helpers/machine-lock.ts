import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

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
