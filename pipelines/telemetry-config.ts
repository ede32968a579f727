import * as z from 'zod';
import { duration } from './units.ts';

/** A duration as everywhere, or a bare number of milliseconds as in OpenTelemetry's own configuration schema. */
const milliseconds = z.preprocess((value) => (typeof value === 'number' ? `${value}ms` : value), duration);

const positiveMilliseconds = milliseconds.refine((value) => value > 0, 'must be longer than 0');

const prometheus = z.strictObject({
  host: z.string().default('localhost'),
  /** 0 is any free port. */
  port: z.int().min(0).max(65_535).default(8888),
});

const endpoint = z.string().refine((value) => {
  const parsed = URL.parse(value);
  return parsed !== null && /^https?:$/.test(parsed.protocol) && parsed.host !== '';
}, 'expected http://host:port (no TLS) or https://host:port (TLS)');

const otlp = z.strictObject({
  protocol: z.enum(['grpc']).default('grpc'),
  /** `http://host:4317` without TLS, `https://host:4317` with it. */
  endpoint: endpoint.default('http://localhost:4317'),
  /** A PEM file with whom to trust; absent: whom Node trusts. */
  certificate: z.string().optional(),
  headers: z.record(z.string(), z.string()).default({}),
});

const pull = z.strictObject({ exporter: z.strictObject({ prometheus: prometheus.prefault({}) }) });

const periodic = z.strictObject({
  interval: positiveMilliseconds.default(60_000),
  /** For one export; not longer than the interval. */
  timeout: positiveMilliseconds.default(30_000),
  exporter: z.strictObject({ otlp: otlp.prefault({}) }),
});

const reader = z
  .strictObject({ pull: pull.optional(), periodic: periodic.optional() })
  .refine((config) => (config.pull === undefined) !== (config.periodic === undefined), {
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
      /** `none` switches the readers off; the others tell the same. */
      level: z.enum(['none', 'basic', 'normal', 'detailed']).default('normal'),
      readers: z.array(reader).default([{ pull: { exporter: { prometheus: { host: 'localhost', port: 8888 } } } }]),
    })
    .prefault({}),
  /** Further resource attributes of self-telemetry. */
  resource: z.record(z.string(), z.string()).default({}),
});

/** `service::telemetry`, parsed. */
export type TelemetryConfig = z.infer<typeof telemetrySchema>;
