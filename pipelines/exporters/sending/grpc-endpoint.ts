import { isIPv6 } from 'node:net';
import { withoutUrlSecrets } from '../../secret-keys.ts';

/** Where a gRPC server is. */
export interface GrpcEndpoint {
  /** As gRPC names it: `host:port`, `dns:///host:port`, `unix:///path`. */
  target: string;
  /** Set where the scheme said so; else `tls.insecure` decides. */
  secure?: boolean;
}

const HOST_AND_PORT = /^(?:\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\s/:@?#[\]]+):(\d{1,5})$/;

/**
 * Reads an endpoint: `host:port`, with `http://` (no TLS), `https://` (TLS) or `dns://[authority]/` before it, or
 * `unix:///path`. Throws where it is none of them. An IPv6 address may lack its brackets.
 *
 * https://github.com/grpc/grpc/blob/master/doc/naming.md
 */
export function parseGrpcEndpoint(endpoint: string): GrpcEndpoint {
  if (/^unix:(?:\/\/\/|\/?[^/]).*/.test(endpoint)) return { target: endpoint };
  const { scheme, rest } = /^(?:(?<scheme>https?|dns):\/\/)?(?<rest>.*)$/s.exec(endpoint)?.groups ?? {};
  const address = (scheme === 'dns' ? rest?.replace(/^[^/]*\//, '') : bracketed(rest?.replace(/\/$/, '') ?? '')) ?? '';
  const port = HOST_AND_PORT.exec(address)?.[1];
  if (port === undefined || Number(port) < 1 || Number(port) > 65_535) {
    throw new Error(
      `cannot use endpoint "${withoutSecrets(endpoint)}": expected host:port, http(s)://host:port, dns:///host:port or unix:///path`,
    );
  }
  if (scheme === 'dns') return { target: endpoint };
  return { target: address, ...(scheme !== undefined && { secure: scheme === 'https' }) };
}

/** `fd00::7:4317` is what `${env:HOST_IP}:4317` becomes on a node of IPv6: there is always a port, behind the last colon. */
function bracketed(address: string): string {
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon);
  return isIPv6(host) ? `[${host}]${address.slice(colon)}` : address;
}

/** In an endpoint what stands before an @ is a user, whatever else is there. */
function withoutSecrets(endpoint: string): string {
  return withoutUrlSecrets(endpoint).replace(/[^/]*@/, '…@');
}
