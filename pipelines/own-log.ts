import type { Logger } from './component.ts';

/** How our own log is written. */
export interface OwnLogOptions {
  level: 'debug' | 'info' | 'warn' | 'error';
  encoding: 'json' | 'console';
  /** Only the console form has colours. */
  colours: boolean;
  /** Takes one line, newline included, at once: what is logged before a crash must not be lost. */
  write: (line: string) => void;
}

/** Our own log: one JSON object or one console line for each entry, with `bindings` in every one. */
export function makeLogger(options: OwnLogOptions): Logger & { child(bindings: Fields): Logger } {
  return { ...bind(options, {}), child: (bindings) => bind(options, bindings) };
}

type Level = keyof typeof colourOf;
type Fields = Record<string, unknown>;

function bind(options: OwnLogOptions, bindings: Fields): Logger {
  const log = (level: Level) => (message: string, fields?: Fields) => {
    if (levels.indexOf(level) < levels.indexOf(options.level)) return;
    const entry = { level, time: new Date().toISOString(), ...bindings, ...fields, message };
    const line = options.encoding === 'json' ? escape(JSON.stringify(entry)) : toConsole(entry, options.colours);
    options.write(`${line}\n`);
  };
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
}

/** In rising order. */
const colourOf = { debug: 90, info: 36, warn: 33, error: 31 };
const levels = Object.keys(colourOf);

/** `10:42:07.123  WARN   source does not work  component=container_lifecycle source=docker error="…"` */
function toConsole(
  { level, time, message, ...fields }: { level: Level; time: string; message: string },
  colours: boolean,
): string {
  const label = level.toUpperCase().padEnd(5);
  const shown = colours ? `\u001b[${colourOf[level]}m${label}\u001b[0m` : label;
  const facts = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${escape(key)}=${showValue(value)}`);
  return [time.slice(11, 23), shown, escape(message), facts.join(' ')].join('  ').trimEnd();
}

/** Quoted where it is not one plain word. */
function showValue(value: unknown): string {
  return typeof value === 'string' && /^[\w./:@%+-]+$/.test(value) ? value : escape(JSON.stringify(value));
}

/** In JSON or out of it: what a terminal obeys, what breaks lines, what turns the direction of text. */
function escape(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, index) => character.charCodeAt(index))
      .map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`)
      .join(''),
  );
}
