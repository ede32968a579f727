import { execFile } from 'node:child_process';
import { delimiter } from 'node:path';
import { promisify } from 'node:util';
import { startCriHost, testImage, type CriHost } from './cri-host.ts';

const execute = promisify(execFile);

/** Starts a containerd with the test image in namespace k8s.io; `programs` is where another than Debian's is found. */
export function startContainerd(programs?: string): Promise<CriHost> {
  return startCriHost({
    name: 'containerd',
    upArguments: programs === undefined ? [] : [programs],
    importImage: (socket) => importImage(socket, programs),
  });
}

async function importImage(socket: string, programs: string | undefined): Promise<void> {
  const path = [programs, process.env['PATH']].filter((folders) => folders !== undefined).join(delimiter);
  const ctr = ['-a', socket, '-n', 'k8s.io', 'images', 'import', '--no-unpack', await testImage()];
  await execute('ctr', ctr, { env: { ...process.env, PATH: path } });
}
