import { readFile } from 'node:fs/promises';
import type { SecureContextOptions } from 'node:tls';
import * as z from 'zod';
import { section } from './config.ts';

const TLS_VERSIONS = { '1.2': 'TLSv1.2', '1.3': 'TLSv1.3' } as const;

/** The client side of the Collector's configtls. */
export const tlsSchema: z.ZodType<TlsConfig> = section(
  z
    .strictObject({
      insecure: z.boolean().default(false),
      insecure_skip_verify: z.boolean().default(false),
      ca_file: z.string().optional(),
      ca_pem: z.string().optional(),
      cert_file: z.string().optional(),
      cert_pem: z.string().optional(),
      key_file: z.string().optional(),
      key_pem: z.string().optional(),
      server_name_override: z.string().optional(),
      min_version: z.enum(['1.2', '1.3']).default('1.2'),
      max_version: z.enum(['1.2', '1.3']).optional(),
    })
    .check((context) => {
      const { value } = context;
      for (const name of ['ca', 'cert', 'key'] as const) {
        if (value[`${name}_file`] === undefined || value[`${name}_pem`] === undefined) continue;
        const message = `${name}_file and ${name}_pem exclude each other`;
        context.issues.push({ code: 'custom', input: value, path: [`${name}_pem`], message });
      }
      const hasCertificate = (value.cert_file ?? value.cert_pem) !== undefined;
      const hasKey = (value.key_file ?? value.key_pem) !== undefined;
      if (hasCertificate === hasKey) return;
      const message = hasKey ? 'a key needs its certificate: cert_file' : 'a certificate needs its key: key_file';
      context.issues.push({ code: 'custom', input: value, path: [hasKey ? 'cert_file' : 'key_file'], message });
    }),
);

/** How a connection is secured. */
export interface TlsConfig {
  /** No TLS at all. */
  insecure: boolean;
  /** TLS with whoever answers. */
  insecure_skip_verify: boolean;
  ca_file?: string | undefined;
  ca_pem?: string | undefined;
  cert_file?: string | undefined;
  cert_pem?: string | undefined;
  key_file?: string | undefined;
  key_pem?: string | undefined;
  /** The name that the server's certificate must bear, instead of the endpoint's host. */
  server_name_override?: string | undefined;
  min_version: keyof typeof TLS_VERSIONS;
  max_version?: keyof typeof TLS_VERSIONS | undefined;
}

/** Reads the certificates and the key. Rejects when a file cannot be read. */
export async function loadTls(config: TlsConfig): Promise<SecureContextOptions> {
  const [ca, cert, key] = await Promise.all([
    config.ca_pem ?? readPem('ca_file', config.ca_file),
    config.cert_pem ?? readPem('cert_file', config.cert_file),
    config.key_pem ?? readPem('key_file', config.key_file),
  ]);
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    minVersion: TLS_VERSIONS[config.min_version],
    ...(config.max_version !== undefined && { maxVersion: TLS_VERSIONS[config.max_version] }),
  };
}

async function readPem(option: string, path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path);
  } catch (error) {
    throw new Error(`cannot read ${option} "${path}"`, { cause: error });
  }
}
