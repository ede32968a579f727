// Builds kube-apiserver and kubectl of go.mod, once for each go.mod: 5 to 15 minutes on two cores. Needs Go and its module
// proxy. Prints where they are.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { kubernetesBinary, kubernetesModule, kubernetesPrograms } from '../helpers/kubernetes-binaries.ts';

/** What the programs answer when they are asked. */
const version = /k8s\.io\/kubernetes (v\S+)/.exec(readFileSync(kubernetesModule, 'utf8'))?.[1];
const versionFlag = `-X k8s.io/component-base/version.gitVersion=${version}`;

for (const program of kubernetesPrograms) {
  const binary = kubernetesBinary(program);
  if (!existsSync(binary)) buildProgram(program, binary);
  process.stdout.write(`${binary}\n`);
}

function buildProgram(program: string, target: string): void {
  const folder = dirname(target);
  const work = `${folder}.${process.pid}`;
  mkdirSync(work, { recursive: true });
  try {
    copyFileSync(kubernetesModule, join(work, 'go.mod'));
    execFileSync('go', ['build', `-ldflags=-s -w ${versionFlag}`, '-o', 'built', `k8s.io/kubernetes/cmd/${program}`], {
      cwd: work,
      stdio: ['ignore', 2, 2],
      env: {
        ...process.env,
        PATH: `${process.env['PATH']}:/usr/local/go/bin`,
        // A toolchain is part of the machine: Go must not fetch another one.
        GOTOOLCHAIN: 'local',
        CGO_ENABLED: '0',
        // Which versions there are follows from go.mod; the checksum database vouches for their contents.
        GOFLAGS: '-mod=mod -buildvcs=false',
      },
    });
    mkdirSync(folder, { recursive: true });
    // Last and at once, so that half a program is never taken for one.
    renameSync(join(work, 'built'), target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
