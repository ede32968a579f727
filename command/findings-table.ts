import { stripVTControlCharacters } from 'node:util';
import type { Finding } from '../pipelines/component.ts';

/** Green, red, yellow. */
const colours = { found: 32, missing: 31, unused: 33 } as const;

/** A short table of what was found and what is lost without the rest; with `advice`, what to do about it. */
export function renderFindings(
  findings: readonly Finding[],
  { colour, advice }: { colour: boolean; advice: boolean },
): string {
  const width = Math.max(0, ...findings.map(({ what }) => what.length));
  const paint = (state: Finding['state']): string => {
    const padded = state.padEnd('missing'.length);
    return colour ? `\u001b[${colours[state]}m${padded}\u001b[39m` : padded;
  };
  const margin = ' '.repeat(width + 'missing'.length + 6);
  return findings
    .flatMap(({ what, state, detail, lost, grant }) => [
      `  ${what.padEnd(width)}  ${paint(state)}  ${printable(detail)}`,
      ...(lost === undefined ? [] : [`${margin}without it: ${lost}`]),
      ...(advice && grant !== undefined ? [`${margin}to get it: ${grant}`] : []),
    ])
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
}

/** Paths and errors can hold anything. */
function printable(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
}
