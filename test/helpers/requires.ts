import { accessSync, closeSync, constants, existsSync, openSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { cachePath } from './cache.ts';
import { collectorBinary } from './collector-binary.ts';
import { helmBinary } from './helm-binary.ts';
import { kubernetesBinary, kubernetesPrograms } from './kubernetes-binaries.ts';

/** A thing of the machine without which a test cannot run. */
type Requirement =
  | 'root'
  | 'cgroup-v1'
  | 'cgroup-v2'
  | 'kmsg'
  | 'image'
  | 'docker'
  | 'containerd'
  | 'containerd-trixie'
  | 'containerd-sid'
  | 'crio'
  | 'podman'
  | 'bundle'
  | 'collector'
  | 'helm'
  | 'kubernetes';

/** Each tells what of it is missing on this machine, or nothing. */
const missing: Record<Requirement, () => string | undefined> = {
  root: () => (process.getuid?.() === 0 ? undefined : 'root'),
  'cgroup-v1': () => (memoryHierarchy() === 1 ? undefined : 'the memory controller on cgroup v1'),
  'cgroup-v2': () => (memoryHierarchy() === 2 ? undefined : 'the memory controller on cgroup v2'),
  kmsg: () => (canRead('/dev/kmsg') ? undefined : 'a readable /dev/kmsg'),
  image: () => missingProgram('busybox', 'gcc', 'tar'),
  docker: () => missing.root() ?? missingProgram('dockerd', 'containerd', 'runc') ?? missing.image(),
  containerd: () => missing.root() ?? missingProgram('containerd', 'ctr', 'runc') ?? missing.image(),
  'containerd-trixie': () => missingContainerd('trixie'),
  'containerd-sid': () => missingContainerd('sid'),
  crio: () => missing.root() ?? missingProgram('crio', 'pinns', 'conmon', 'runc', 'podman', 'curl') ?? missing.image(),
  podman: () => missing.root() ?? missingProgram('podman', 'conmon', 'runc') ?? missing.image(),
  bundle: () => (existsSync('dist/main.mjs') ? undefined : 'dist/main.mjs (npm run build)'),
  collector: () => (existsSync(collectorBinary()) ? undefined : 'an OpenTelemetry Collector (npm run collector)'),
  helm: () => (existsSync(helmBinary()) ? undefined : 'Helm (npm run helm)'),
  kubernetes: () => {
    const program = kubernetesPrograms.find((name) => !existsSync(kubernetesBinary(name)));
    return missingProgram('etcd') ?? (program === undefined ? undefined : `${program} (npm run kubernetes)`);
  },
};

/**
 * Options for a test or a suite that needs these: `test('…', requires('docker'), async () => …)`. On a machine
 * without them the test is skipped, and the last lines of the run say so. In CI (`CI=true`) nothing is skipped.
 *
 * @throws in CI, when one of them is missing.
 */
export function requires(...requirements: Requirement[]): { skip: string | false } {
  for (const requirement of requirements) {
    const what = missing[requirement]();
    if (what === undefined) continue;
    if (process.env['CI'] === 'true') throw new Error(`cannot skip a test in CI: this machine lacks ${what}`);
    return { skip: `needs ${what}` };
  }
  return { skip: false };
}

/** Whether this machine has it: for what CI goes without, which nothing can be skipped for. */
export function has(requirement: Requirement): boolean {
  return missing[requirement]() === undefined;
}

function missingContainerd(suite: string): string | undefined {
  const isThere = existsSync(cachePath(`containerd-${suite}`, 'bin/containerd'));
  return isThere ? undefined : `the containerd of Debian ${suite} (test/runtimes/fetch-containerd.sh ${suite})`;
}

function missingProgram(...names: string[]): string | undefined {
  const name = names.find((candidate) => !isOnPath(candidate));
  return name === undefined ? undefined : `the program ${name}`;
}

function isOnPath(program: string): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => isExecutable(join(folder, program)));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Opens it: with /dev/kmsg the permission bits promise what the kernel refuses without CAP_SYSLOG. */
function canRead(path: string): boolean {
  try {
    closeSync(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
    return true;
  } catch {
    return false;
  }
}

/** The cgroup version that has the memory controller, from the hierarchy id in /proc/cgroups (0 is v2). */
function memoryHierarchy(): 1 | 2 | undefined {
  // memory	3	85	1
  const line = /^memory\t(\d+)\t\d+\t1$/m.exec(readFileSync('/proc/cgroups', 'utf8'));
  if (line !== null) return line[1] === '0' ? 2 : 1;
  return existsSync('/sys/fs/cgroup/cgroup.controllers') ? 2 : undefined;
}
