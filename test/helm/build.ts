// Builds Helm from its Go module, once for each version. Needs Go and its module proxy. Prints where Helm is.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { helmBinary, helmVersion } from '../helpers/helm-binary.ts';

/**
 * As Helm's own Makefile does: the Kubernetes of the client-go in its go.mod, by which charts are rendered and linted.
 * Without it Helm takes itself for one of 1.20.
 */
const kubernetes = ['chartutil', 'lint/rules'].flatMap((part) => [
  `-X helm.sh/helm/v3/pkg/${part}.k8sVersionMajor=1`,
  `-X helm.sh/helm/v3/pkg/${part}.k8sVersionMinor=33`,
]);

const binary = helmBinary();
if (!existsSync(binary)) buildHelm(binary);
process.stdout.write(`${binary}\n`);

function buildHelm(target: string): void {
  const folder = dirname(target);
  const work = `${folder}.${process.pid}`;
  mkdirSync(work, { recursive: true });
  try {
    const flags = ['-s', '-w', ...kubernetes].join(' ');
    execFileSync('go', ['install', '-trimpath', `-ldflags=${flags}`, `helm.sh/helm/v3/cmd/helm@${helmVersion}`], {
      cwd: work,
      stdio: ['ignore', 2, 2],
      // A toolchain is part of the machine: Go must not fetch another one.
      env: { ...process.env, PATH: `${process.env['PATH']}:/usr/local/go/bin`, GOTOOLCHAIN: 'local', GOBIN: work },
    });
    mkdirSync(folder, { recursive: true });
    // Last and at once, so that half a program is never taken for one.
    renameSync(join(work, 'helm'), target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
