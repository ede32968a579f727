import { createServer } from 'node:http';
import { once } from 'node:events';
import * as z from 'zod';
import type { ExtensionFactory } from '../component.ts';

const configSchema = z.strictObject({
  /** `host:port`. */
  endpoint: z
    .string()
    .regex(/^.+:\d{1,5}$/, 'expected host:port')
    .default('localhost:13133'),
  path: z.string().startsWith('/').default('/'),
});

/** Answers 200 while all pipelines run and 503 before and after, as the Collector's extension does. */
export const healthCheck: ExtensionFactory<z.infer<typeof configSchema>> = {
  type: 'health_check',
  configSchema,
  create({ endpoint, path }) {
    let upSince: Date | undefined;
    const server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'http://localhost');
      if (pathname !== path) return void response.writeHead(404).end();
      const status = upSince === undefined ? 'Server not available' : 'Server available';
      response.writeHead(upSince === undefined ? 503 : 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ status, upSince: upSince ?? new Date(0), uptime: formatUptime(upSince) }));
    });
    const colon = endpoint.lastIndexOf(':');
    const host = endpoint.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
    return {
      async start() {
        server.listen(Number(endpoint.slice(colon + 1)), host);
        await once(server, 'listening');
      },
      async shutdown() {
        upSince = undefined;
        if (!server.listening) return;
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      },
      setReady(ready) {
        upSince = ready ? new Date() : undefined;
      },
    };
  },
};

/** Seconds with a unit, as Go writes a duration. */
function formatUptime(since: Date | undefined): string {
  return since === undefined ? '' : `${(Date.now() - since.getTime()) / 1000}s`;
}
