import { stringify } from 'yaml';
import * as z from 'zod';
import { parseArguments, helpText, UsageError, type Arguments } from './command/arguments.ts';
import { factories, listComponents } from './command/components.ts';
import { makeDefaultConfig } from './command/default-config.ts';
import { renderFindings } from './command/findings-table.ts';
import { redact } from './command/redact.ts';
import { replay } from './command/replay.ts';
import packageJson from './package.json' with { type: 'json' };
import type { Logger } from './pipelines/component.ts';
import { loadConfig, validateConfig, type ServiceConfig } from './pipelines/config.ts';
import type { ExpandedTree } from './pipelines/config-expand.ts';
import { ConfigError, describeError } from './pipelines/errors.ts';
import { makeLogger } from './pipelines/own-log.ts';
import { startSelfTelemetry } from './pipelines/self-telemetry.ts';
import { Service } from './pipelines/service.ts';

const { version } = packageJson;

/** What is held when the service is told to stop must be sent within this time; the rest is dropped and counted. */
const shutdownTimeoutMs = 10_000;

/** Of which those upstream of the exporters have so much. */
const upstreamTimeoutMs = shutdownTimeoutMs / 2;

/**
 * Signals so close to the first are the same request: `timeout` sends one to its child and then to the group, and of
 * Ctrl-C at `npm start` both the terminal and npm send one.
 */
const sameRequestMs = 500;

const stderrColour = process.stderr.isTTY && !process.env['NO_COLOR'];

/** Does what the command line asks for. Resolves with the exit code. */
async function main(args: readonly string[]): Promise<number> {
  try {
    const asked = parseArguments(args);
    switch (asked.command) {
      case 'help':
        return print(helpText);
      case 'version':
        return print(`exit137 ${version}\n`);
      case 'components':
        return print(stringify(listComponents()));
      case 'doctor':
        return await doctor(asked);
      case 'validate':
        validateConfig(warned(load(asked)), factories);
        return print(`The configuration is valid${describeSource(asked)}.\n`);
      case 'print-config':
        return print(stringify(redact(warned(load(asked)).value)));
      case 'replay':
        return await replayLogs(asked);
      case 'run':
        return await run(asked);
    }
  } catch (error) {
    return explain(error);
  }
}

function load({ configs, settings }: Arguments): ExpandedTree {
  const { env } = process;
  const locations = configs.length > 0 ? configs : [makeDefaultConfig(env)];
  return loadConfig({ locations, settings, env });
}

function describeSource({ configs }: Arguments): string {
  return configs.length > 0 ? '' : ': the built-in default, as no --config is given';
}

/** Tells a person what is probably not meant so. */
function warned(tree: ExpandedTree): ExpandedTree {
  for (const warning of tree.warnings) process.stderr.write(`exit137: warning: ${warning}\n`);
  return tree;
}

async function run(asked: Arguments): Promise<number> {
  const tree = load(asked);
  const config = validateConfig(tree, factories);
  const { logs, metrics } = config.service.telemetry;
  const logger = makeLogger({
    level: logs.level,
    encoding: logs.encoding ?? (process.stderr.isTTY ? 'console' : 'json'),
    colours: stderrColour,
    write: (line) => process.stderr.write(line),
  });
  endOnFault(logger);
  for (const warning of tree.warnings) logger.warn('the configuration is probably not meant so', { warning });
  if (asked.configs.length === 0) await showFindings(config);
  const telemetry = await startSelfTelemetry(config.service.telemetry, version, logger);
  const service = new Service(config, logger, (kind, id) => ({
    id,
    logger: logger.child({ [kind]: id }),
    meter: telemetry.meter,
    version,
  }));
  const stopAsked = nextStopSignal();
  // A start can wait for another process or for an API server. It has nothing yet that would be lost.
  const runs = await Promise.race([service.start().then(() => true), stopAsked.then(() => false)]);
  if (!runs) {
    logger.info('stopped before it was running', { signal: await stopAsked });
    return 0;
  }
  logger.info('exit137 is running', { version, pid: process.pid, self_telemetry: metrics.level });
  const signal = await stopAsked;
  logger.info('stopping', { signal, deadline_ms: shutdownTimeoutMs });
  await service.shutdown(AbortSignal.timeout(shutdownTimeoutMs), AbortSignal.timeout(upstreamTimeoutMs));
  await telemetry.shutdown();
  logger.info('stopped');
  return 0;
}

/** Resolves with the first signal that asks for the end. A later one ends the process at once. */
function nextStopSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  let firstMs: number | undefined;
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.on(signal, () => {
      firstMs ??= performance.now();
      if (performance.now() - firstMs >= sameRequestMs) process.exit(code);
      resolve(signal);
    });
  }
  return promise;
}

/**
 * What nobody handled is a fault of ours, and nobody knows what state it left: whoever runs us starts us again. A
 * rejection that nobody handled comes here too.
 */
function endOnFault(logger: Logger): void {
  process.on('uncaughtException', (error: unknown, origin) => {
    const stack = error instanceof Error ? error.stack : undefined;
    logger.error('ending after an error that nobody handled', { origin, error: describeError(error), stack });
    process.exit(1);
  });
}

/** The tables that a person sees who has given no configuration. */
async function showFindings(config: ServiceConfig): Promise<void> {
  process.stderr.write(`exit137 ${version}\n`);
  for await (const { findings } of probe(config)) {
    process.stderr.write(`${renderFindings(findings, { colour: stderrColour, advice: false })}\n`);
  }
}

async function doctor(asked: Arguments): Promise<number> {
  const colour = process.stdout.isTTY && !process.env['NO_COLOR'];
  for await (const { id, findings } of probe(validateConfig(warned(load(asked)), factories))) {
    print(`${id}\n${renderFindings(findings, { colour, advice: true })}`);
  }
  return 0;
}

/** What the components of a configuration can use, of each that uses something. */
async function* probe({ receivers, processors, extensions }: ServiceConfig) {
  for (const { id, factory, config } of [...receivers.values(), ...processors.values(), ...extensions.values()]) {
    const findings = await factory.probe?.(config);
    if (findings !== undefined) yield { id, findings };
  }
}

async function replayLogs({ files, format }: Arguments): Promise<number> {
  await replay({
    files,
    format,
    colours: process.stdout.isTTY && !process.env['NO_COLOR'],
    version,
    stdin: process.stdin,
    write: print,
    tell: (text) => process.stderr.write(`exit137: ${text}\n`),
  });
  return 0;
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

function explain(error: unknown): number {
  if (error instanceof UsageError) {
    process.stderr.write(`exit137: ${error.message}\nSee exit137 --help.\n`);
    return 2;
  }
  const lines = error instanceof ConfigError ? error.problems : [describeError(error)];
  process.stderr.write(lines.map((line) => `exit137: ${line}\n`).join(''));
  return 1;
}

// Node's advice on how packages are written is of no use to who runs this.
process.noDeprecation = true;
// The configuration is parsed once: code that zod generates for each schema would only take memory.
z.config({ jitless: true });
// A reader that went away must not end the service: `exit137 | head` is no reason to stop watching.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});
process.exit(await main(process.argv.slice(2)));
