import * as z from 'zod';
import type { ExtensionFactory } from '../component.ts';
import { describeError } from '../errors.ts';
import { makeHttpEndpoint } from '../http-endpoint.ts';

const configSchema = z.strictObject({
  /** `host:port`. */
  endpoint: z
    .string()
    .refine((value) => /^.+:\d{1,5}$/.test(value) && portOf(value) <= 65_535, 'expected host:port')
    .default('localhost:13133'),
  path: z.string().startsWith('/').default('/'),
});

/** Answers 200 while all pipelines run and 503 before and after, as the Collector's extension does. */
export const healthCheck: ExtensionFactory<z.infer<typeof configSchema>> = {
  type: 'health_check',
  configSchema,
  create({ endpoint, path }, { logger }) {
    let upSince: Date | undefined;
    let told = false;
    const answer = () => {
      const status = upSince === undefined ? 'Server not available' : 'Server available';
      const body = { status, upSince: upSince ?? new Date(0), uptime: formatUptime(upSince) };
      return {
        status: upSince === undefined ? 503 : 200,
        contentType: 'application/json',
        body: JSON.stringify(body),
      };
    };
    const onError = (error: unknown) => {
      if (!told) logger.warn('a health check failed to be answered; told once', { error: describeError(error) });
      told = true;
    };
    const host = endpoint.slice(0, endpoint.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1');
    const server = makeHttpEndpoint({ host, port: portOf(endpoint), path, answer, onError });
    return {
      async start() {
        const address = await server.start();
        logger.info('health can be checked', { url: `http://${address}${path}` });
      },
      async shutdown() {
        upSince = undefined;
        await server.close();
      },
      setReady(ready) {
        upSince = ready ? new Date() : undefined;
      },
    };
  },
};

function portOf(endpoint: string): number {
  return Number(endpoint.slice(endpoint.lastIndexOf(':') + 1));
}

/** Seconds with a unit, as Go writes a duration. */
function formatUptime(since: Date | undefined): string {
  return since === undefined ? '' : `${(Date.now() - since.getTime()) / 1000}s`;
}
