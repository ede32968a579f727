import { pino, type Logger as Pino } from 'pino';
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
export function makeLogger(options: OwnLogOptions): Logger & { child(bindings: Record<string, unknown>): Logger } {
  const write = (line: string) =>
    options.write(`${options.encoding === 'json' ? escape(line.trimEnd()) : toConsole(line, options.colours)}\n`);
  const root = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      messageKey: 'message',
      formatters: { level: (level) => ({ level }) },
    },
    { write },
  );
  return { ...adapt(root), child: (bindings) => adapt(root.child(bindings)) };
}

function adapt(logger: Pino): Logger {
  return {
    debug: (message, fields) => logger.debug(fields, message),
    info: (message, fields) => logger.info(fields, message),
    warn: (message, fields) => logger.warn(fields, message),
    error: (message, fields) => logger.error(fields, message),
  };
}

const colourOf: Record<string, number> = { debug: 90, info: 36, warn: 33, error: 31 };

/** `10:42:07.123  WARN   source does not work  component=container_lifecycle source=docker error="…"` */
function toConsole(line: string, colours: boolean): string {
  const { level, time, message, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const label = String(level).toUpperCase().padEnd(5);
  const shown = colours ? `\u001b[${colourOf[String(level)]}m${label}\u001b[0m` : label;
  const facts = Object.entries(fields).map(([key, value]) => `${key}=${showValue(value)}`);
  return [String(time).slice(11, 23), shown, escape(String(message)), facts.join(' ')].join('  ').trimEnd();
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
