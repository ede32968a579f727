// Builds the OpenTelemetry Collector of builder.yaml with the Collector's own builder, once for each manifest.
// Needs Go and its module proxy. Prints where the Collector is.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parse, stringify } from 'yaml';
import { collectorBinary, collectorManifest } from '../helpers/collector-binary.ts';

interface Manifest {
  dist: { name: string; version: string; output_path?: string };
}

const binary = collectorBinary();
if (!existsSync(binary)) buildCollector(binary);
process.stdout.write(`${binary}\n`);

function buildCollector(target: string): void {
  const folder = dirname(target);
  const work = `${folder}.${process.pid}`;
  mkdirSync(work, { recursive: true });
  try {
    const manifest = parse(readFileSync(collectorManifest, 'utf8')) as Manifest;
    manifest.dist.output_path = join(work, 'out');
    writeFileSync(join(work, 'builder.yaml'), stringify(manifest));
    const builder = `go.opentelemetry.io/collector/cmd/builder@v${manifest.dist.version}`;
    execFileSync('go', ['run', builder, '--config', 'builder.yaml', '--ldflags=-s -w'], {
      cwd: work,
      stdio: ['ignore', 2, 2],
      // A toolchain is part of the machine: Go must not fetch another one.
      env: { ...process.env, PATH: `${process.env['PATH']}:/usr/local/go/bin`, GOTOOLCHAIN: 'local' },
    });
    mkdirSync(folder, { recursive: true });
    // Last and at once, so that half a Collector is never taken for one.
    renameSync(join(work, 'out', manifest.dist.name), target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
