import * as z from 'zod';

/** Text that may stand in a header of HTTP and of gRPC: visible ASCII and spaces. */
const HEADER_VALUE = /^[\x20-\x7e]*$/;

const HEADER_NAME = /^[0-9A-Za-z_.-]+$/;

/** `headers`: names and values sent with every request. The values may be secrets: they stand in no message. */
export const headersSchema = z
  .record(
    z.string().regex(HEADER_NAME, 'not a header name'),
    z
      .union([z.string(), z.number(), z.boolean()])
      .transform(String)
      .pipe(z.string().regex(HEADER_VALUE, 'not a header value: only visible ASCII')),
  )
  .nullish()
  .transform((headers) => headers ?? {});
