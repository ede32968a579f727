import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { parse } from 'yaml';
import packageJson from '../package.json' with { type: 'json' };
import { DirectoryLock } from '../pipelines/extensions/directory-lock.ts';
import { eventually } from './helpers/eventually.ts';
import { requires } from './helpers/requires.ts';

const bundle = join(import.meta.dirname, '../dist/main.mjs');

/** What a command left behind. */
interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** A line of our own log, in JSON. */
interface LogLine {
  level: string;
  message: string;
  [field: string]: unknown;
}

/** The command while it runs. */
interface Running {
  readonly child: ChildProcess;
  /** Complete lines of stderr so far. */
  lines(): LogLine[];
  /** Resolves with the first line of this message. */
  logged(message: string): Promise<LogLine>;
  ended: Promise<Outcome>;
}

/** Watches no runtime: nothing of this machine is in what it does. */
const quietReceiver = { container_lifecycle: { sources: { docker: { enabled: false } } } };

let folder: string;
const children = new Set<ChildProcess>();

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'exit137-main-'));
});

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

/** Starts the bundle with nothing in its environment but what is given. */
function start(args: string[], { env = {}, preload }: { env?: NodeJS.ProcessEnv; preload?: string } = {}): Running {
  const imports = preload === undefined ? [] : ['--import', `data:text/javascript,${encodeURIComponent(preload)}`];
  const child = spawn(process.execPath, [...imports, bundle, ...args], {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  const outcome = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (outcome.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (outcome.stderr += text));
  const lines = (): LogLine[] =>
    outcome.stderr
      .slice(0, outcome.stderr.lastIndexOf('\n') + 1)
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as LogLine);
  const ended = once(child, 'close').then(([code, signal]) => {
    children.delete(child);
    return { ...outcome, code: code as number | null, signal: signal as NodeJS.Signals | null };
  });
  return {
    child,
    lines,
    logged: (message) => {
      return eventually(`"${message}" is logged`, () => {
        const found = lines().find((line) => line.message === message);
        if (found === undefined && child.exitCode !== null) throw new Error(`it ended: ${outcome.stderr}`);
        return found;
      });
    },
    ended,
  };
}

function run(args: string[], options?: Parameters<typeof start>[1]): Promise<Outcome> {
  return start(args, options).ended;
}

async function write(name: string, text: string): Promise<string> {
  await writeFile(join(folder, name), text);
  return name;
}

/** A configuration that runs, and opens no port unless `telemetry` says so. */
function configuration({
  exporters = { file: { path: 'out.jsonl' } },
  extensions = {},
  telemetry = { metrics: { level: 'none' } },
}: Record<string, object> = {}): string {
  const pipeline = { receivers: ['container_lifecycle'], exporters: Object.keys(exporters) };
  // JSON is YAML.
  return JSON.stringify({
    receivers: quietReceiver,
    exporters,
    extensions,
    service: { extensions: Object.keys(extensions), telemetry, pipelines: { metrics: pipeline, logs: pipeline } },
  });
}

suite('the command', requires('bundle'), () => {
  test('explains itself', async () => {
    for (const args of [['validate', '--help'], ['validate', '-h'], ['help'], ['help', 'validate']]) {
      const { code, stdout, stderr } = await run(args);
      assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
      for (const word of [
        'run',
        'validate',
        'print-config',
        'components',
        'doctor',
        'replay',
        'help',
        '--config',
        '--set',
      ]) {
        assert.match(stdout, new RegExp(`^  .*${word}`, 'm'));
      }
    }
  });

  test('tells its version, which is that of the package', async () => {
    for (const flag of ['--version', '-v']) {
      const { code, stdout, stderr } = await run([flag]);
      assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: `exit137 ${packageJson.version}\n`, stderr: '' });
    }
  });

  for (const [args, message] of [
    [['valdate'], 'unknown command "valdate": expected run, validate, print-config, components, doctor, replay'],
    [['run', 'config.yaml'], 'unexpected argument "config.yaml"'],
    [['--bogus'], "Unknown option '--bogus'"],
    [['--config'], "Option '-c, --config <value>' argument missing"],
  ] as [string[], string][]) {
    test(`does not understand ${args.join(' ')}: says so and ends with 2`, async () => {
      const { code, stdout, stderr } = await run(args);
      assert.deepEqual(
        { code, stdout, stderr },
        { code: 2, stdout: '', stderr: `exit137: ${message}\nSee exit137 --help.\n` },
      );
    });
  }

  test('lists what is built in, with older names', async () => {
    const { code, stdout } = await run(['components']);
    assert.equal(code, 0);
    assert.deepEqual(parse(stdout), {
      receivers: [{ name: 'container_lifecycle' }],
      processors: [{ name: 'batch' }, { name: 'k8s_attributes', aliases: ['k8sattributes'] }, { name: 'resource' }],
      exporters: [
        { name: 'debug' },
        { name: 'file' },
        { name: 'otlp_grpc', aliases: ['otlp'] },
        { name: 'otlp_http', aliases: ['otlphttp'] },
      ],
      extensions: [{ name: 'file_storage' }, { name: 'health_check' }],
    });
  });

  test('doctor tells what it found on this node, and ends with 0 whatever that is', async () => {
    const { code, stdout, stderr } = await run(['doctor']);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    assert.match(stdout, /^container_lifecycle\n/);
    for (const what of ['container runtime', 'memory cgroups', 'kernel log']) {
      assert.match(stdout, new RegExp(`^  ${what} +(?:found|missing|unused) +\\S`, 'm'));
    }
    assert.ok(!stdout.includes('\u001b'), 'no colours in a pipe');
  });

  for (const [version, runs] of [
    ['18.20.8', false],
    ['20.20.2', false],
    ['22.14.0', false],
    ['22.15.0', true],
    ['24.0.0', true],
  ] as const) {
    test(`${runs ? 'runs' : 'says in one line that it cannot run'} on Node ${version}`, async () => {
      const preload = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`;
      const { code, stdout, stderr } = await run(['--version'], { preload });
      const expected = runs
        ? { code: 0, stdout: `exit137 ${packageJson.version}\n`, stderr: '' }
        : { code: 1, stdout: '', stderr: `exit137: cannot run on Node.js ${version}: it needs 22.15 or newer\n` };
      assert.deepEqual({ code, stdout, stderr }, expected);
    });
  }
});

suite('a configuration', requires('bundle'), () => {
  const good = 'The configuration is valid.\n';

  test('that is good is valid', async () => {
    await write('config.yaml', configuration());
    const { code, stdout, stderr } = await run(['validate', '--config', 'config.yaml']);
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: good, stderr: '' });
  });

  test('that is not given is valid', async () => {
    const { code, stdout } = await run(['validate']);
    const told = 'The configuration is valid: the built-in default, as no --config is given.\n';
    assert.deepEqual({ code, stdout }, { code: 0, stdout: told });
  });

  test('that is bad is told with all its problems, each with its line and its full key', async () => {
    await write(
      'bad.yaml',
      `receivers:
  container_lifecycle:
    collection_intervall: 5s
processors:
  batch: { timeout: 5 }
exporters:
  debug:
    verbosity: loud
  otlp_grpc:
    endpont: localhost:4317
  nosuch: {}
extensions:
service:
  pipelines:
    metrics:
      receivers: [container_lifecycle]
      exporters: [debug, otlp]
    traces:
      receivers: [x]
  telemetri: {}
`,
    );
    const { code, stdout, stderr } = await run(['validate', '-c', 'bad.yaml']);
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
    const problems = [
      '3: receivers::container_lifecycle::collection_intervall: unknown key; did you mean "collection_interval"?',
      '5: processors::batch::timeout: cannot read duration "5": expected a number with a unit, as in 250ms, 10s or 1m30s',
      '8: exporters::debug::verbosity: expected basic or normal or detailed, got "loud"',
      '9: exporters::otlp_grpc::endpoint: an endpoint is required',
      '10: exporters::otlp_grpc::endpont: unknown key; did you mean "endpoint"?',
      '11: exporters::nosuch: unknown type "nosuch" for exporters (built in: debug, file, otlp_grpc, otlp_http)',
      '17: service::pipelines::metrics: references exporter "otlp" which is not configured',
      '18: service::pipelines::traces: unknown signal "traces": pipelines carry metrics or logs',
      '20: service::telemetri: unknown key; did you mean "telemetry"?',
    ];
    assert.deepEqual(
      stderr.trimEnd().split('\n'),
      problems.map((problem) => `exit137: bad.yaml:${problem}`),
    );
  });

  test('that the environment makes bad is told with the variable, and starts nothing', async () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1', OTEL_EXPORTER_OTLP_PROTOCOL: 'bogus' };
    const stderr = 'exit137: OTEL_EXPORTER_OTLP_PROTOCOL: expected grpc, http/protobuf or http/json, got "bogus"\n';
    for (const args of [[], ['validate']]) {
      assert.deepEqual(await run(args, { env }), { code: 1, signal: null, stdout: '', stderr });
    }
  });

  test('that cannot be read is told by its name', async () => {
    const { code, stderr } = await run(['validate', '--config', 'absent.yaml']);
    assert.equal(code, 1);
    assert.match(stderr, /^exit137: cannot read configuration "absent\.yaml": ENOENT: [^\n]+\n$/);
  });

  test('can come in parts: maps are merged, and what is set on the command line comes last', async () => {
    await write('one.yaml', 'exporters: { debug: { verbosity: basic, output: stdout } }');
    await write('two.yaml', 'exporters: { debug: { verbosity: normal }, file: { path: a } }');
    const files = ['--config', 'one.yaml', '--config', 'two.yaml', '-c', 'yaml:processors: { batch: { timeout: 1s } }'];
    const settings = ['--set', 'exporters.file.path=b', '--set', 'processors.batch.send_batch_size=7'];
    const { code, stdout } = await run(['print-config', ...files, ...settings]);
    assert.equal(code, 0);
    assert.deepEqual(parse(stdout), {
      exporters: { debug: { verbosity: 'normal', output: 'stdout' }, file: { path: 'b' } },
      processors: { batch: { timeout: '1s', send_batch_size: 7 } },
    });
  });

  test('can refer to the environment and to files; two dollar signs are one', async () => {
    await write('limit.txt', '4096\n');
    const text = 'a: "${env:NAME}"\nb: "${env:ABSENT:-other}"\nc: "${file:limit.txt}"\nd: "$${env:NAME} costs $$5"\n';
    await write('config.yaml', text);
    const { code, stdout, stderr } = await run(['print-config', '-c', 'config.yaml'], { env: { NAME: 'value' } });
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    assert.deepEqual(parse(stdout), { a: 'value', b: 'other', c: 4096, d: '${env:NAME} costs $5' });
  });

  test('that refers to a variable which is not set is warned of', async () => {
    await write('config.yaml', 'a: 1\nb: "${env:ABSENT}"\n');
    const { code, stderr } = await run(['print-config', '-c', 'config.yaml']);
    const warning = 'config.yaml:2: b: the environment variable "ABSENT" is not set and has no default';
    assert.deepEqual({ code, stderr }, { code: 0, stderr: `exit137: warning: ${warning}\n` });
  });

  test('is printed without secrets', async () => {
    const otlp_http = {
      endpoint: 'https://me:hunter2@host',
      headers: { 'x-any': 'hunter2' },
      tls: { key_pem: 'hunter2' },
    };
    await write('config.yaml', configuration({ exporters: { otlp_http } }));
    const { code, stdout } = await run(['print-config', '-c', 'config.yaml']);
    assert.equal(code, 0);
    assert.doesNotMatch(stdout, /hunter2/);
    assert.deepEqual((parse(stdout) as { exporters: unknown }).exporters, {
      otlp_http: {
        endpoint: 'https://[REDACTED]@host',
        headers: { 'x-any': '[REDACTED]' },
        tls: { key_pem: '[REDACTED]' },
      },
    });
  });
});

suite('the service', requires('bundle'), () => {
  test('starts nothing on a bad configuration, and ends with 1', async () => {
    const text = configuration({ extensions: { health_check: { endpoint: 'nowhere' } } });
    await write('config.yaml', text);
    const { code, stdout, stderr } = await run(['--config', 'config.yaml']);
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
    assert.match(stderr, /^exit137: config\.yaml:1: extensions::health_check::endpoint: [^\n]*"nowhere"\n$/);
    await assert.rejects(readFile(join(folder, 'out.jsonl')), { code: 'ENOENT' });
  });

  test('ends with 1 where a component cannot start, and says which and why', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const endpoint = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
    try {
      await write('config.yaml', configuration({ extensions: { health_check: { endpoint } } }));
      const { code, stderr } = await run(['--config', 'config.yaml']);
      assert.equal(code, 1);
      assert.equal(
        stderr,
        `exit137: cannot start health_check: listen EADDRINUSE: address already in use ${endpoint}\n`,
      );
    } finally {
      taken.close();
    }
  });

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`ends with 0 on ${signal}, and says so`, async () => {
      await write('config.yaml', configuration());
      const service = start(['run', '--config', 'config.yaml']);
      await service.logged('exit137 is running');
      service.child.kill(signal);
      const { code } = await service.ended;
      assert.equal(code, 0);
      const messages = service.lines().map(({ message }) => message);
      assert.equal(messages.at(-1), 'stopped');
      assert.equal(messages.filter((message) => message === 'stopping').length, 1);
      assert.equal((await service.logged('stopping'))['signal'], signal);
    });
  }

  test('tells at once how much it could not send, where nothing takes it and nothing is queued', async () => {
    const otlp_http = {
      endpoint: 'http://127.0.0.1:1',
      sending_queue: { enabled: false },
      retry_on_failure: { initial_interval: '1h', max_elapsed_time: '0' },
    };
    await write('config.yaml', configuration({ exporters: { otlp_http } }));
    const service = start(['--config', 'config.yaml']);
    await service.logged('cannot send, will try again');
    const beganMs = performance.now();
    service.child.kill('SIGTERM');
    const { code } = await service.ended;
    assert.ok(performance.now() - beganMs < 4_000, 'did not wait for the deadline');
    assert.equal(code, 0);
    const [dropped, ...more] = service.lines().filter(({ message }) => message === 'dropped data at shutdown');
    assert.deepEqual(more, []);
    assert.equal(dropped?.['exporter'], 'otlp_http');
    assert.ok(Number(dropped['metric_points']) > 0);
    assert.match(String(dropped['error']), /ECONNREFUSED/);
  });

  test('ends at once where it is asked to while it waits for another process to end', async () => {
    const lock = await DirectoryLock.try(folder);
    const config = await write('config.yaml', configuration({ extensions: { file_storage: { directory: folder } } }));
    const running = start(['--config', config]);
    await running.logged('waits for another process to end, which keeps its state here');
    running.child.kill('SIGTERM');
    const { code, stderr } = await running.ended;
    assert.equal(code, 0, stderr);
    assert.equal(running.lines().at(-1)?.message, 'stopped before it was running');
    lock?.release();
  });

  test('ends at once when it is asked a second time, which the same request twice is not', async () => {
    // Accepts connections and never says anything, so that what is held cannot be sent.
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    try {
      await write('config.yaml', configuration({ exporters: { otlp_http: { endpoint } } }));
      const service = start(['--config', 'config.yaml']);
      const connected = once(silent, 'connection');
      await service.logged('exit137 is running');
      const [socket] = (await connected) as [Socket];
      // While it stands still both are left for it, so that they come together.
      for (const signal of ['SIGSTOP', 'SIGINT', 'SIGTERM', 'SIGCONT'] as const) service.child.kill(signal);
      await service.logged('stopping');
      await setTimeout(600);
      assert.equal(service.child.exitCode, null);
      service.child.kill('SIGTERM');
      assert.equal((await service.ended).code, 143);
      socket.destroy();
    } finally {
      silent.close();
    }
  });

  for (const [what, fault] of [
    ['an error', "throw new TypeError('a fault\\n of ours')"],
    ['a rejection', "Promise.reject(new TypeError('a fault\\n of ours'))"],
  ] as const) {
    test(`ends with 1 after ${what} that nobody handled, and logs its stack in one line`, async () => {
      await write('config.yaml', configuration());
      const preload = `process.once('SIGUSR2', function faulty() { ${fault} })`;
      const service = start(['--config', 'config.yaml'], { preload });
      await service.logged('exit137 is running');
      service.child.kill('SIGUSR2');
      const { code, stderr } = await service.ended;
      assert.equal(code, 1);
      const last = JSON.parse(stderr.trimEnd().split('\n').at(-1)!) as LogLine;
      assert.deepEqual(
        { level: last.level, message: last.message, error: last['error'] },
        { level: 'error', message: 'ending after an error that nobody handled', error: 'a fault\n of ours' },
      );
      assert.match(String(last['stack']), /^TypeError: a fault\n of ours\n {4}at .*faulty/);
    });
  }

  test('warns of a variable that is not set, and runs', async () => {
    await write('config.yaml', configuration({ exporters: { debug: { verbosity: '${env:ABSENT}' } } }));
    const service = start(['--config', 'config.yaml']);
    const { warning } = await service.logged('the configuration is probably not meant so');
    await service.logged('exit137 is running');
    service.child.kill('SIGTERM');
    assert.equal((await service.ended).code, 0);
    assert.match(String(warning), /^config\.yaml:1: exporters::debug::verbosity: .*"ABSENT" is not set/);
  });

  test('shows what it found where no configuration was given', async () => {
    const service = start([]);
    await service.logged('exit137 is running');
    service.child.kill('SIGTERM');
    const { code, stderr } = await service.ended;
    assert.equal(code, 0);
    assert.match(stderr, new RegExp(`^exit137 ${packageJson.version.replaceAll('.', '\\.')}\n  container runtime +`));
  });

  test('goes on when nobody reads its output any more', async () => {
    await write('config.yaml', configuration());
    const preload = `process.once('SIGUSR2', () => process.stdout.write('x', ({ code }) =>
      setImmediate(() => process.stderr.write(JSON.stringify({ message: code }) + '\\n'))))`;
    const service = start(['--config', 'config.yaml'], { preload });
    await service.logged('exit137 is running');
    service.child.stdout!.destroy();
    service.child.kill('SIGUSR2');
    await service.logged('EPIPE');
    service.child.kill('SIGTERM');
    assert.equal((await service.ended).code, 0);
  });
});
