import { setFlagsFromString } from 'node:v8';
import type { Agent, EnvHttpProxyAgent } from 'undici';

/** `--liftoff-only` says it all on a command line; once V8 runs it takes each for itself. */
const withoutOptimisedWasm = ['--liftoff-only', '--no-wasm-tier-up', '--no-wasm-dynamic-tiering'];

/**
 * Loads undici, which is left until it is needed: 3 MB of resident memory. Its parser of HTTP is WebAssembly. V8 would
 * compile that again once it has run for a while, to be faster, and take 25 MB for that (Node 24.21).
 */
export async function loadUndici(): Promise<{
  Agent: typeof Agent;
  EnvHttpProxyAgent: typeof EnvHttpProxyAgent;
}> {
  for (const flag of withoutOptimisedWasm) setFlagsFromString(flag);
  return import('undici');
}
