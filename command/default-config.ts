import { stringify } from 'yaml';

/**
 * The configuration that is used where none is given: what happens is printed, or sent to where OTEL_EXPORTER_OTLP_…
 * say. Returns YAML. Environment variables by the specification of OpenTelemetry's OTLP exporter.
 */
export function makeDefaultConfig(env: NodeJS.ProcessEnv): string {
  const exporter = env['OTEL_EXPORTER_OTLP_ENDPOINT']
    ? otlpExporter(env, env['OTEL_EXPORTER_OTLP_ENDPOINT'])
    : { debug: null };
  const pipeline = { receivers: ['container_lifecycle'], exporters: Object.keys(exporter) };
  return stringify({
    receivers: { container_lifecycle: null },
    exporters: exporter,
    // Nobody has asked for an open port.
    service: { telemetry: { metrics: { readers: [] } }, pipelines: { metrics: pipeline, logs: pipeline } },
  });
}

function otlpExporter(env: NodeJS.ProcessEnv, endpoint: string): Record<string, unknown> {
  const protocol = env['OTEL_EXPORTER_OTLP_PROTOCOL'] || (portOf(endpoint) === '4317' ? 'grpc' : 'http/protobuf');
  const [timeout, compression, certificate] = ['TIMEOUT', 'COMPRESSION', 'CERTIFICATE'].map((name) => {
    return literal(env[`OTEL_EXPORTER_OTLP_${name}`] ?? '');
  });
  const common = {
    endpoint: literal(endpoint),
    headers: parseHeaders(env['OTEL_EXPORTER_OTLP_HEADERS'] ?? ''),
    ...(timeout ? { timeout: `${timeout}ms` } : {}),
    ...(compression ? { compression } : {}),
  };
  const tls = certificate ? { ca_file: certificate } : {};
  if (protocol === 'grpc') {
    const insecure = env['OTEL_EXPORTER_OTLP_INSECURE'] === 'true' || endpoint.startsWith('http://');
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
