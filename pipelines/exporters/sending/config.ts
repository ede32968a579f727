import * as z from 'zod';
import { byteSize, duration } from '../../units.ts';
import type { BackoffOptions } from './backoff.ts';

/** A section of which every key has a default: may be left out or empty. */
export function section<Schema extends z.ZodType>(schema: Schema): z.ZodType<z.output<Schema>> {
  return z.preprocess((value) => value ?? {}, schema);
}

/** How and how long a request is tried again. Times in milliseconds. */
export interface RetryConfig extends BackoffOptions {
  enabled: boolean;
  /** A request is dropped when its next attempt would come later than this after its first; 0 is never. */
  maxElapsedMs: number;
}

/** `retry_on_failure`, as in the Collector's exporterhelper. */
export const retrySchema: z.ZodType<RetryConfig> = section(
  z
    .strictObject({
      enabled: z.boolean().default(true),
      initial_interval: duration.default(5_000),
      randomization_factor: z.number().min(0).max(1).default(0.5),
      multiplier: z.number().min(1).default(1.5),
      max_interval: duration.default(30_000),
      max_elapsed_time: duration.default(300_000),
    })
    .transform((config) => ({
      enabled: config.enabled,
      initialMs: config.initial_interval,
      randomizationFactor: config.randomization_factor,
      multiplier: config.multiplier,
      maxMs: config.max_interval,
      maxElapsedMs: config.max_elapsed_time,
    })),
);

/** How requests wait. */
export interface QueueConfig {
  enabled: boolean;
  numConsumers: number;
  /** Bound in the unit of `sizer`. */
  queueSize: number;
  sizer: 'requests' | 'items' | 'bytes';
  /** Bound in bytes, whatever the sizer. */
  maxBytes: number;
  blockOnOverflow: boolean;
  waitForResult: boolean;
  /** Requests are cut so that none is larger than this before compression; 0 is no bound. */
  maxRequestBytes: number;
}

/**
 * Bound on the memory of a queue: 1000 requests of a large node would be a gigabyte. A request of 250 containers is
 * about 1 MB before compression.
 */
const DEFAULT_MAX_BYTES = 32 * 1024 * 1024;

/** gRPC servers refuse messages above 4 MiB unless they are told otherwise. */
const DEFAULT_MAX_REQUEST_BYTES = 3 * 1024 * 1024;

/** `sending_queue`, as in the Collector's exporterhelper, and `max_bytes` besides. */
export const queueSchema: z.ZodType<QueueConfig> = section(
  z
    .strictObject({
      enabled: z.boolean().default(true),
      num_consumers: z.int().min(1).max(1000).default(10),
      queue_size: z.int().min(1).default(1000),
      sizer: z.enum(['requests', 'items', 'bytes']).default('requests'),
      max_bytes: byteSize.default(DEFAULT_MAX_BYTES),
      block_on_overflow: z.boolean().default(false),
      wait_for_result: z.boolean().default(false),
      batch: section(z.strictObject({ max_size: byteSize.default(DEFAULT_MAX_REQUEST_BYTES) })),
      storage: z
        .undefined('a persistent queue is not available yet: remove this key, the queue is kept in memory')
        .optional(),
    })
    .transform((config) => ({
      enabled: config.enabled,
      numConsumers: config.num_consumers,
      queueSize: config.queue_size,
      sizer: config.sizer,
      maxBytes: config.max_bytes,
      blockOnOverflow: config.block_on_overflow,
      waitForResult: config.wait_for_result,
      maxRequestBytes: config.batch.max_size,
    })),
);

/** What all exporters that send over a network have in common. */
export interface SendingConfig {
  retry: RetryConfig;
  queue: QueueConfig;
}
