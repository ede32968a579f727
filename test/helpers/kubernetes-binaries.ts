import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cachePath } from './cache.ts';

/** The Go module that names the Kubernetes for tests. */
export const kubernetesModule = join(import.meta.dirname, '../kubernetes/go.mod');

/** What is built of it. */
export const kubernetesPrograms = ['kube-apiserver', 'kubectl'] as const;

/** Where a program built from the present module is, or will be. */
export function kubernetesBinary(program: (typeof kubernetesPrograms)[number]): string {
  const hash = createHash('sha256').update(readFileSync(kubernetesModule)).digest('hex').slice(0, 12);
  return cachePath('kubernetes', hash, program);
}
