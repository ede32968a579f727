import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type Docker from 'dockerode';
import { cachePath } from './cache.ts';
import type { DockerHost } from './docker-host.ts';

const execute = promisify(execFile);
const script = join(import.meta.dirname, '../image/make-bases.sh');

/** What the Dockerfile made: the image, and the base that it was made on. */
export interface BuiltImage {
  name: string;
  image: Docker.ImageInspectInfo;
  base: Docker.ImageInspectInfo;
}

/**
 * Builds the Dockerfile as it is, both stages, without a network: its bases are made of this machine's files, and the
 * second has the packages in npm's cache.
 */
export async function buildImage({ socket, docker }: DockerHost): Promise<BuiltImage> {
  const folder = await makeBases();
  const run = async (...args: string[]) => {
    // The classic builder, which every Docker has.
    const env = { ...process.env, DOCKER_BUILDKIT: '0' };
    await execute('docker', ['--host', `unix://${socket}`, ...args], { env, maxBuffer: 2 ** 24 });
  };
  const [base, buildBase, name] = ['exit137-base:1', 'exit137-build-base:1', 'exit137:test'] as const;
  const path = 'ENV PATH=/usr/local/bin:/usr/bin:/bin';
  await run('import', '--change', path, join(folder, 'base.tar'), base);
  const offline = `${path} npm_config_cache=/npm npm_config_offline=true`;
  await run('import', '--change', offline, join(folder, 'build-base.tar'), buildBase);
  const bases = ['--build-arg', `BASE=${base}`, '--build-arg', `BUILD_BASE=${buildBase}`];
  await run('build', '--network', 'none', '--tag', name, ...bases, '.');
  return { name, image: await docker.getImage(name).inspect(), base: await docker.getImage(base).inspect() };
}

/** Made once for each set of packages. */
async function makeBases(): Promise<string> {
  const hash = createHash('sha256');
  for (const path of ['package.json', 'package-lock.json', '.npmrc', script]) hash.update(readFileSync(path));
  const folder = cachePath('image-bases', hash.digest('hex').slice(0, 12));
  if (existsSync(folder)) return folder;
  const work = `${folder}.${process.pid}`;
  mkdirSync(work, { recursive: true });
  try {
    await execute(script, [work]);
    renameSync(work, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return folder;
}
