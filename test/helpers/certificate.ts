import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A self-signed certificate with its key, in PEM. */
export interface TestCertificate {
  cert: string;
  key: string;
  /** Whom a server trusts; where it is set, the server asks for a client's certificate. */
  ca?: string;
}

/** Makes a self-signed certificate for `names`, which may be IP addresses, valid for a day, with openssl. */
export function makeCertificate(...names: string[]): TestCertificate {
  const folder = mkdtempSync(join(tmpdir(), 'exit137-certificate-'));
  try {
    const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const subject = [
      '-subj',
      `/CN=${names[0]}`,
      '-addext',
      `subjectAltName=${names.map((name) => `${isIP(name) > 0 ? 'IP' : 'DNS'}:${name}`).join(',')}`,
    ];
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile];
    execFileSync('openssl', ['req', '-x509', ...newKey, '-out', certFile, '-days', '1', ...subject], {
      stdio: 'ignore',
    });
    return { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
