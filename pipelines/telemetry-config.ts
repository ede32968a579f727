import * as z from 'zod';
import { duration } from './units.ts';

const prometheus = z.strictObject({
  host: z.string().default('localhost'),
  port: z.int().min(0).max(65_535).default(8888),
});

const otlp = z.strictObject({
  protocol: z.enum(['grpc']).default('grpc'),
  /** `http://host:4317` without TLS, `https://host:4317` with it. */
  endpoint: z.string().default('http://localhost:4317'),
  headers: z.record(z.string(), z.string()).default({}),
});

const reader = z
  .strictObject({
    pull: z.strictObject({ exporter: z.strictObject({ prometheus: prometheus.prefault({}) }) }).optional(),
    periodic: z
      .strictObject({
        interval: duration.default(60_000),
        exporter: z.strictObject({ otlp: otlp.prefault({}) }),
      })
      .optional(),
  })
  .refine(({ pull, periodic }) => (pull === undefined) !== (periodic === undefined), {
    error: 'expected either pull or periodic',
  });

/** `service::telemetry`: what the service tells of itself. */
export const telemetrySchema = z.strictObject({
  logs: z
    .strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
      /** Absent: console lines on a terminal, JSON elsewhere. */
      encoding: z.enum(['json', 'console']).optional(),
    })
    .prefault({}),
  metrics: z
    .strictObject({
      level: z.enum(['none', 'basic', 'normal', 'detailed']).default('normal'),
      readers: z.array(reader).default([{ pull: { exporter: { prometheus: { host: 'localhost', port: 8888 } } } }]),
    })
    .prefault({}),
  /** Further resource attributes of self-telemetry. */
  resource: z.record(z.string(), z.string()).default({}),
});

export type TelemetryConfig = z.infer<typeof telemetrySchema>;
