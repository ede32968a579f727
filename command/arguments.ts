import { parseArgs } from 'node:util';
import { replayFormats, type ReplayFormat } from './replay.ts';

/** What the command line asks for. */
export interface Arguments {
  command: 'run' | 'validate' | 'print-config' | 'components' | 'doctor' | 'replay' | 'help' | 'version';
  /** Files or URIs of the configuration, in their order; empty: the built-in default. */
  configs: readonly string[];
  /** `key.key=value`, laid on the configuration. */
  settings: readonly string[];
  /** Kernel logs to replay. */
  files: readonly string[];
  format: ReplayFormat;
}

/** The command line cannot be understood; the message says why, with the argument in it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const commands = ['run', 'validate', 'print-config', 'components', 'doctor', 'replay'] as const;

export const helpText = `Usage: exit137 [command] [options]

Tells why containers die: OOM kills, exits, restarts and memory of every container on this node, as OpenTelemetry
metrics and logs.

Commands:
  run            run until SIGTERM or SIGINT (the default)
  validate       check the configuration, print every problem, and exit
  print-config   print the configuration as it was merged and expanded, secrets hidden
  components     list the components that are built in
  doctor         print what can be read on this node, and what to grant to get the rest
  replay FILE…   print what would have been said of kernel logs: raw records of /dev/kmsg, or text of dmesg, a journal
                 or syslog; - or no file is standard input
  help           print this

Options:
  -c, --config FILE     configuration in the OpenTelemetry Collector's schema; a path, or file:, env: or yaml: and what
                        follows; may be repeated, later ones are laid on earlier ones
  --set KEY.KEY=VALUE   set one value of the configuration; may be repeated
  --format FORMAT       of replay: text (the default) or otlp_json, one OTLP-JSON logs object a line
  -h, --help            print this
  -v, --version         print the version

Without --config, what happens is printed here, or sent to OTEL_EXPORTER_OTLP_ENDPOINT where that is set (with
OTEL_EXPORTER_OTLP_PROTOCOL, _HEADERS, _TIMEOUT, _COMPRESSION and _CERTIFICATE).

Exit codes: 0 all went well, 1 the configuration is wrong or a component could not start, 2 the command line is wrong.
`;

/** Parses the arguments that follow the program's name. Throws a `UsageError`. */
export function parseArguments(args: readonly string[]): Arguments {
  const { values, positionals } = parse(args);
  const asksForHelp = positionals[0] === 'help';
  const [command = 'run', ...rest] = asksForHelp ? positionals.slice(1) : positionals;
  if (rest.length > 0 && (command !== 'replay' || asksForHelp))
    throw new UsageError(`unexpected argument "${rest[0]}"`);
  const known = [...commands, ...(asksForHelp ? (['help'] as const) : [])].find((name) => name === command);
  if (known === undefined) throw new UsageError(`unknown command "${command}": expected ${commands.join(', ')}`);
  const asked = values.help || asksForHelp ? 'help' : values.version ? 'version' : known;
  const format = readFormat(values.format);
  return { command: asked, configs: values.config ?? [], settings: values.set ?? [], files: rest, format };
}

function readFormat(asked = 'text'): ReplayFormat {
  const known = replayFormats.find((format) => format === asked);
  if (known === undefined) throw new UsageError(`unknown format "${asked}": expected ${replayFormats.join(', ')}`);
  return known;
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        config: { type: 'string', short: 'c', multiple: true },
        set: { type: 'string', multiple: true },
        format: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean', short: 'v' },
      },
    });
  } catch (error) {
    // Of an unknown option Node also tells how to pass it as something else, which there is no use for.
    throw new UsageError((error as Error).message.replace(/\. To specify a positional argument .*$/s, ''));
  }
}
