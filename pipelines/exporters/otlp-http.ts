import * as z from 'zod';
import type { ExporterFactory } from '../component.ts';
import { duration } from '../units.ts';
import { hasZstd } from './sending/compression.ts';
import { queueSchema, retrySchema, section } from './sending/config.ts';
import { headersSchema } from './sending/headers.ts';
import { HttpTransport } from './sending/http-transport.ts';
import { SendingExporter } from './sending/sending-exporter.ts';
import { jsonSerializer, makeProtobufSerializer } from './sending/serializer.ts';
import { tlsSchema } from './sending/tls.ts';

const url = z.string().refine((value) => {
  const parsed = URL.parse(value);
  return parsed !== null && (parsed.protocol === 'http:' || parsed.protocol === 'https:');
}, 'expected a URL: http(s)://host:port');

const configSchema = z
  .strictObject({
    endpoint: url.optional(),
    metrics_endpoint: url.optional(),
    logs_endpoint: url.optional(),
    encoding: z.enum(['proto', 'json']).default('proto'),
    tls: tlsSchema,
    headers: headersSchema,
    compression: z
      .enum(['gzip', 'zstd', 'none', ''])
      .refine((compression) => compression !== 'zstd' || hasZstd, 'zstd needs Node 22.15 or later')
      .default('gzip'),
    compression_params: section(z.strictObject({ level: z.int().min(-1).max(22).optional() })),
    timeout: duration.default(30_000),
    proxy_url: url.optional(),
    sending_queue: queueSchema,
    retry_on_failure: retrySchema,
  })
  .refine((config) => (config.endpoint ?? config.metrics_endpoint ?? config.logs_endpoint) !== undefined, {
    message: 'an endpoint is required',
    path: ['endpoint'],
  });

/** Configuration of `otlp_http`, parsed. */
export type OtlpHttpConfig = z.infer<typeof configSchema>;

/** Sends metrics and logs as OTLP over HTTP, in protobuf or JSON. */
export const otlpHttp: ExporterFactory<OtlpHttpConfig> = {
  type: 'otlp_http',
  aliases: ['otlphttp'],
  configSchema,
  create(config, settings) {
    const serializer = config.encoding === 'json' ? jsonSerializer : makeProtobufSerializer();
    const transport = new HttpTransport(
      {
        urls: {
          metrics: config.metrics_endpoint ?? below(config.endpoint, 'v1/metrics'),
          logs: config.logs_endpoint ?? below(config.endpoint, 'v1/logs'),
        },
        tls: config.tls,
        headers: config.headers,
        compression: config.compression || 'none',
        compressionLevel: config.compression_params.level,
        timeoutMs: config.timeout,
        proxyUrl: config.proxy_url,
        userAgent: `exit137/${settings.version}`,
      },
      serializer,
    );
    const sending = { queue: config.sending_queue, retry: config.retry_on_failure };
    return new SendingExporter(sending, settings, transport, serializer);
  },
};

function below(endpoint: string | undefined, path: string): string | undefined {
  if (endpoint === undefined) return undefined;
  const whole = new URL(endpoint);
  whole.pathname = `${whole.pathname.replace(/\/+$/, '')}/${path}`;
  return whole.href;
}
