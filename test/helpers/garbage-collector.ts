import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What frees all memory that nothing refers to: for tests of what is kept. */
export function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
