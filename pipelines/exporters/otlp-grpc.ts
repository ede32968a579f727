import * as z from 'zod';
import type { ExporterFactory } from '../component.ts';
import { duration } from '../units.ts';
import { queueSchema, retrySchema, section } from './sending/config.ts';
import { parseGrpcEndpoint } from './sending/grpc-endpoint.ts';
import { GrpcTransport } from './sending/grpc-transport.ts';
import { headersSchema } from './sending/headers.ts';
import { SendingExporter } from './sending/sending-exporter.ts';
import { makeProtobufSerializer } from './sending/serializer.ts';
import { tlsSchema } from './sending/tls.ts';

const endpointSchema = z.string('an endpoint is required').transform((endpoint, context) => {
  try {
    return parseGrpcEndpoint(endpoint);
  } catch (error) {
    context.issues.push({ code: 'custom', input: endpoint, message: (error as Error).message });
    return z.NEVER;
  }
});

const keepaliveSchema = section(
  z
    .strictObject({
      time: duration.default(10_000),
      timeout: duration.default(10_000),
      permit_without_stream: z.boolean().default(false),
    })
    .transform(({ time, timeout, permit_without_stream }) => ({
      timeMs: time,
      timeoutMs: timeout,
      permitWithoutStream: permit_without_stream,
    })),
);

const configSchema = z.strictObject({
  endpoint: endpointSchema,
  tls: tlsSchema,
  headers: headersSchema,
  compression: z.enum(['gzip', 'none', '']).default('gzip'),
  timeout: duration.default(5_000),
  keepalive: keepaliveSchema,
  wait_for_ready: z.boolean().default(false),
  authority: z.string().optional(),
  sending_queue: queueSchema,
  retry_on_failure: retrySchema,
});

/** Configuration of `otlp_grpc`, parsed. */
export type OtlpGrpcConfig = z.infer<typeof configSchema>;

/** Sends metrics and logs as OTLP over gRPC. */
export const otlpGrpc: ExporterFactory<OtlpGrpcConfig> = {
  type: 'otlp_grpc',
  aliases: ['otlp'],
  configSchema,
  create(config, settings) {
    const serializer = makeProtobufSerializer();
    const transport = new GrpcTransport(
      {
        endpoint: config.endpoint,
        tls: config.tls,
        headers: config.headers,
        compression: config.compression || 'none',
        timeoutMs: config.timeout,
        waitForReady: config.wait_for_ready,
        keepalive: config.keepalive,
        authority: config.authority,
        userAgent: `exit137/${settings.version}`,
      },
      serializer,
    );
    const sending = { queue: config.sending_queue, retry: config.retry_on_failure };
    return new SendingExporter(sending, settings, transport, serializer);
  },
};
