import { cachePath } from './cache.ts';

/** The Helm with which the chart is tested, as its Go module numbers it. */
export const helmVersion = 'v3.18.6';

/** Where that Helm is, or will be once `npm run helm` has built it. */
export function helmBinary(): string {
  return cachePath('helm', helmVersion, 'helm');
}
