import { stringify } from 'yaml';
import type { NamedText } from '../pipelines/config.ts';
import { ConfigError } from '../pipelines/errors.ts';

/**
 * The configuration that is used where none is given: what happens is printed, or sent to where OTEL_EXPORTER_OTLP_…
 * say. Environment variables by the specification of OpenTelemetry's OTLP exporter; problems name the one at fault.
 * Throws a `ConfigError` where a protocol is asked for that there is not.
 */
export function makeDefaultConfig(env: NodeJS.ProcessEnv): NamedText {
  const asked = readProtocol(env);
  const endpoint = env[`${PREFIX}ENDPOINT`];
  const exporter = endpoint ? otlpExporter(env, endpoint, asked) : { debug: null };
  const pipeline = { receivers: ['container_lifecycle'], exporters: Object.keys(exporter) };
  const text = stringify({
    receivers: { container_lifecycle: null },
    exporters: exporter,
    // Nobody has asked for an open port.
    service: { telemetry: { metrics: { readers: [] } }, pipelines: { metrics: pipeline, logs: pipeline } },
  });
  return { name: 'built-in default', text, origins: originsOf(exporter) };
}

const PREFIX = 'OTEL_EXPORTER_OTLP_';

/** https://opentelemetry.io/docs/specs/otel/protocol/exporter/#specify-protocol */
const PROTOCOLS = ['grpc', 'http/protobuf', 'http/json'] as const;
type Protocol = (typeof PROTOCOLS)[number];

/** Which variable says what is below an exporter. */
const VARIABLES: Record<string, string> = {
  endpoint: 'ENDPOINT',
  headers: 'HEADERS',
  timeout: 'TIMEOUT',
  compression: 'COMPRESSION',
  encoding: 'PROTOCOL',
  'tls::ca_file': 'CERTIFICATE',
  'tls::insecure': 'INSECURE',
};

function originsOf(exporter: Record<string, unknown>): Record<string, string> {
  const paths = Object.keys(exporter).flatMap((id) =>
    Object.entries(VARIABLES).map(([key, variable]) => [`exporters::${id}::${key}`, PREFIX + variable] as const),
  );
  return Object.fromEntries(paths);
}

function readProtocol(env: NodeJS.ProcessEnv): Protocol | undefined {
  const name = `${PREFIX}PROTOCOL`;
  const asked = env[name];
  if (!asked) return undefined;
  const known = PROTOCOLS.find((protocol) => protocol === asked);
  if (known === undefined) {
    throw new ConfigError([`${name}: expected grpc, http/protobuf or http/json, got ${JSON.stringify(asked)}`]);
  }
  return known;
}

function otlpExporter(env: NodeJS.ProcessEnv, endpoint: string, asked: Protocol | undefined): Record<string, unknown> {
  const protocol = asked ?? (portOf(endpoint) === '4317' ? 'grpc' : 'http/protobuf');
  const [timeout, compression, certificate] = ['TIMEOUT', 'COMPRESSION', 'CERTIFICATE'].map((name) => {
    return literal(env[PREFIX + name] ?? '');
  });
  const common = {
    endpoint: literal(endpoint),
    headers: parseHeaders(env[`${PREFIX}HEADERS`] ?? ''),
    ...(timeout ? { timeout: `${timeout}ms` } : {}),
    ...(compression ? { compression } : {}),
  };
  const tls = certificate ? { ca_file: certificate } : {};
  if (protocol === 'grpc') {
    const insecure = env[`${PREFIX}INSECURE`] === 'true' || endpoint.startsWith('http://');
    return { otlp_grpc: { ...common, tls: { ...tls, ...(insecure ? { insecure } : {}) } } };
  }
  const encoding = protocol === 'http/json' ? 'json' : 'proto';
  return { otlp_http: { ...common, encoding, ...(Object.keys(tls).length > 0 ? { tls } : {}) } };
}

/** A `$` in what the environment says is one, and no reference. */
function literal(text: string): string {
  return text.replaceAll('$', '$$$$');
}

function portOf(endpoint: string): string | undefined {
  return /:(\d+)\/?$/.exec(endpoint)?.[1];
}

/** `key=value,key2=value2`, values percent-encoded (W3C Baggage without properties). */
function parseHeaders(text: string): Record<string, string> {
  const pairs = text.split(',').flatMap((pair) => {
    const equals = pair.indexOf('=');
    if (equals < 1) return [];
    return [[pair.slice(0, equals).trim(), literal(decode(pair.slice(equals + 1).trim()))] as const];
  });
  return Object.fromEntries(pairs);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
