import { join } from 'node:path';

/** Where things that take long to make (a Collector, kernels, images) are kept between runs, outside the checkout. */
export function cachePath(...names: string[]): string {
  return join(process.env['EXIT137_CACHE'] ?? '/var/cache/exit137', ...names);
}
