import { setTimeout as sleep } from 'node:timers/promises';

/**
 * How much longer things take on this machine than on an idle one of the day: `EXIT137_PATIENCE=15` in a virtual
 * machine without hardware support.
 */
export const patience = Number(process.env['EXIT137_PATIENCE'] ?? '1');

/**
 * Asks until there is an answer, for what cannot be awaited: the state of another process.
 *
 * @param what a statement that becomes true, for the message of the error.
 * @throws what `ask` threw last, or that it never became true, after `seconds` (times the machine's slowness).
 */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  seconds = 10,
): Promise<T> {
  const deadline = performance.now() + seconds * 1000 * patience;
  let pauseMs = 5;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error(`it did not come true within ${seconds * patience} s: ${what}`);
    await sleep(pauseMs);
    pauseMs = Math.min(pauseMs * 1.5, 100);
  }
}
