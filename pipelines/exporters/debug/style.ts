/** How text looks on a terminal that shows colours, and nothing elsewhere. */
export type Style = (look: Look, text: string) => string;

export type Look = 'red' | 'yellow' | 'green' | 'bold' | 'dim';

/** Codes that begin and end each look (ECMA-48, SGR). */
const CODES: Record<Look, readonly [number, number]> = {
  red: [31, 39],
  yellow: [33, 39],
  green: [32, 39],
  bold: [1, 22],
  dim: [2, 22],
};

/** For terminals. */
export const colourful: Style = (look, text) => `\u001b[${CODES[look][0]}m${text}\u001b[${CODES[look][1]}m`;

/** For everything else. */
export const plain: Style = (_look, text) => text;
