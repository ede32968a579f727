import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import * as z from 'zod';
import type {
  ExporterFactory,
  ExtensionFactory,
  ProcessorFactory,
  ReceiverFactory,
} from '../../pipelines/component.ts';
import { loadConfig, validateConfig, type ServiceConfig } from '../../pipelines/config.ts';
import { ConfigError } from '../../pipelines/errors.ts';

const notMade = (): never => {
  throw new Error('a configuration is checked without making anything');
};
const configSchema = z.strictObject({ count: z.int().default(1), name: z.string().optional() });

const receiver: ReceiverFactory = { type: 'kernel_log', configSchema, create: notMade };
const processor: ProcessorFactory = { type: 'batch', configSchema, createLogs: notMade, createMetrics: notMade };
const exporter: ExporterFactory = { type: 'otlp_grpc', aliases: ['otlp'], configSchema, create: notMade };
const extension: ExtensionFactory = { type: 'health_check', configSchema, create: notMade };
const storage: ExtensionFactory = { type: 'file_storage', configSchema, isStorage: true, create: notMade };
const storing: ReceiverFactory = {
  type: 'storing',
  configSchema: z.strictObject({ queue: z.strictObject({ storage: z.string().optional() }).optional() }),
  storageKey: ['queue', 'storage'],
  create: notMade,
};
const factories = {
  receivers: [receiver],
  processors: [processor],
  exporters: [exporter],
  extensions: [extension],
};

/** Checks a text; throws a `ConfigError`. */
function validate(text: string, env: NodeJS.ProcessEnv = {}): ServiceConfig {
  return validateConfig(loadConfig({ locations: [{ name: 'c', text }], env }), factories);
}

function problemsOf(check: () => unknown): readonly string[] {
  try {
    check();
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    assert.equal(error.message, error.problems.join('\n'));
    return error.problems;
  }
}

const good = `receivers: { kernel_log: , kernel_log/second: { count: 2 } }
processors: { batch: }
exporters: { otlp_grpc: }
extensions: { health_check: , health_check/unused: }
service:
  extensions: [health_check]
  pipelines:
    logs: { receivers: [kernel_log, kernel_log/second], processors: [batch], exporters: [otlp_grpc] }
`;

suite('a configuration that holds together', () => {
  test('has each component by its id, parsed by its own schema', () => {
    const { receivers, exporters } = validate(good);
    assert.deepEqual(receivers.get('kernel_log'), { id: 'kernel_log', factory: receiver, config: { count: 1 } });
    assert.deepEqual(receivers.get('kernel_log/second')!.config, { count: 2 });
    assert.equal(exporters.get('otlp_grpc')!.factory, exporter);
  });

  test('has each pipeline with its ids in their order', () => {
    const { pipelines, extensions } = validate(good).service;
    assert.deepEqual(pipelines, [
      {
        id: 'logs',
        signal: 'logs',
        receivers: ['kernel_log', 'kernel_log/second'],
        processors: ['batch'],
        exporters: ['otlp_grpc'],
      },
    ]);
    assert.deepEqual(extensions, ['health_check']);
  });

  test('may call a type by an older name', () => {
    const { exporters } = validate(good.replaceAll('otlp_grpc', 'otlp/old'));
    assert.deepEqual(exporters.get('otlp/old'), { id: 'otlp/old', factory: exporter, config: { count: 1 } });
  });

  test('may have several pipelines of one signal', () => {
    const more = '    logs/audit: { receivers: [kernel_log], exporters: [otlp_grpc] }\n';
    assert.deepEqual(
      validate(good + more).service.pipelines.map(({ id, signal }) => [id, signal]),
      [
        ['logs', 'logs'],
        ['logs/audit', 'logs'],
      ],
    );
  });

  test('gives a string field the text of a reference, and a number its number', () => {
    const { receivers } = validate(good.replace('count: 2', 'count: "${env:N}", name: "${env:N}"'), { N: '007' });
    assert.deepEqual(receivers.get('kernel_log/second')!.config, { count: 7, name: '007' });
  });
});

suite('a configuration that does not hold together has the problem', () => {
  for (const [change, to, ...problems] of [
    ['{ count: 2 }', '{ count: x }', 'c:1: receivers::kernel_log/second::count: expected number, got "x"'],
    ['{ count: 2 }', '[]', 'c:1: receivers::kernel_log/second: expected a map, got a list'],
    [
      'kernel_log/second:',
      'kernel_log/:',
      'c:1: receivers::kernel_log/: expected type or type/name, got no name after the slash',
      'c:8: service::pipelines::logs: references receiver "kernel_log/second" which is not configured',
    ],
    [
      'processors: { batch: }',
      'processors: { bach: }',
      'c:2: processors::bach: unknown type "bach" for processors; did you mean "batch"? (built in: batch)',
      'c:8: service::pipelines::logs: references processor "batch" which is not configured; did you mean "bach"?',
    ],
    [
      'processors: [batch]',
      'processors: [batch, batch]',
      'c:8: service::pipelines::logs: references processor "batch" twice',
    ],
    [
      'processors: [batch]',
      'processors: batch',
      'c:8: service::pipelines::logs::processors: expected a list of processors, got "batch"',
    ],
    [
      'processors: [batch]',
      'processor: [batch]',
      'c:8: service::pipelines::logs::processor: unknown key; did you mean "processors"?',
    ],
    ['exporters: [otlp_grpc]', 'exporters: []', 'c:8: service::pipelines::logs: must have at least one exporter'],
    [
      'exporters: [otlp_grpc]',
      'exporters: [debug]',
      'c:8: service::pipelines::logs: references exporter "debug" which is not configured',
    ],
    [
      'extensions: [health_check]',
      'extensions: [pprof]',
      'c:6: service::extensions: references extension "pprof" which is not configured',
    ],
    [
      '    logs:',
      '    traces:',
      'c:8: service::pipelines::traces: unknown signal "traces": pipelines carry metrics or logs',
    ],
    [
      'service:',
      'services:',
      'c:5: services: unknown key; did you mean "service"?',
      'service::pipelines: must have at least one pipeline',
    ],
    [
      'exporters: { otlp_grpc: }',
      'exporters: 3',
      'c:3: exporters: expected a map, got 3',
      'c:8: service::pipelines::logs: references exporter "otlp_grpc" which is not configured',
    ],
  ] as [string, string, ...string[]][]) {
    test(problems.join(' and '), () => {
      assert.ok(good.includes(change));
      assert.deepEqual(
        problemsOf(() => validate(good.replace(change, to))),
        problems,
      );
    });
  }

  test('of each key that no map should have, as any other unknown key', () => {
    const text = good.replace('{ count: 2 }', '{ toString: 1, __proto__: 2, constructor: 3 }');
    assert.deepEqual(problemsOf(() => validate(text)).toSorted(), [
      'c:1: receivers::kernel_log/second::__proto__: unknown key',
      'c:1: receivers::kernel_log/second::constructor: unknown key',
      'c:1: receivers::kernel_log/second::toString: unknown key',
    ]);
  });

  test('that it is empty', () => {
    assert.deepEqual(
      problemsOf(() => validate('')),
      ['service::pipelines: must have at least one pipeline'],
    );
  });
});

suite('a configuration comes', () => {
  const env = { CONFIG: 'a: { from: env }' };
  const valueOf = (...locations: string[]) => loadConfig({ locations, env }).value;

  test('from files, the environment and texts, later ones on earlier ones', async (context) => {
    const folder = await mkdtemp(join(tmpdir(), 'exit137-config-'));
    context.after(() => rm(folder, { recursive: true }));
    const path = join(folder, 'c:1.yaml');
    await writeFile(path, 'a: { from: file, kept: 1 }');
    assert.deepEqual(valueOf(path), { a: { from: 'file', kept: 1 } });
    assert.deepEqual(valueOf(`file:${path}`, 'env:CONFIG'), { a: { from: 'env', kept: 1 } });
    assert.deepEqual(valueOf('env:CONFIG', `file:${path}`, 'yaml:a: { from: text }'), { a: { from: 'text', kept: 1 } });
  });

  test('with its problems by file and line, as the files are given, and then what stands in none', () => {
    const locations = [
      { name: 'z', text: `service:\n  x: 1\n${'\n'.repeat(9)}y: 2\nexporters:\n  a: "\${env:a-b}"` },
      { name: 'a', text: 'extensions: 1\nreceivers: 2' },
    ];
    const settings = ['processors=3', 'exporters.a=null'];
    const tree = loadConfig({ locations, settings, env });
    const places = (check: () => unknown) => problemsOf(check).map((problem) => problem.split(': ', 2).join(' '));
    assert.deepEqual(
      places(() => validateConfig(tree, factories)),
      [
        'z:1 service::pipelines',
        'z:2 service::x',
        'z:12 y',
        'a:1 extensions',
        'a:2 receivers',
        '--set processors',
        '--set exporters::a',
      ],
    );
    const text = `b:\n  - "\${env:b-c}"\na: "\${env:a-b}"`;
    const over = { name: 'a', text: 'b: "${nosuch:x}"' };
    assert.deepEqual(
      places(() =>
        loadConfig({
          locations: [
            { name: 'z', text },
            { name: 'a', text: 'c: "${env:c-d}"' },
          ],
          env,
        }),
      ),
      ['z:2 b::0', 'z:3 a', 'a:1 c'],
    );
    assert.deepEqual(
      places(() => loadConfig({ locations: [{ name: 'z', text }, over], env })),
      ['z:3 a', 'a:1 b'],
    );
  });

  test('with every problem of all its parts', () => {
    const problems = problemsOf(() =>
      loadConfig({ locations: ['/nowhere/c.yaml', 'env:ABSENT', 'yaml:a: ['], settings: ['b'], env }),
    );
    assert.equal(problems.length, 4);
    assert.match(problems[0]!, /^cannot read configuration "\/nowhere\/c\.yaml": ENOENT/);
    assert.equal(problems[1], 'cannot read configuration "env:ABSENT": the environment variable is not set');
    assert.match(problems[2]!, /^yaml:1: /);
    assert.equal(problems[3], '--set: expected key.key=value, got "b"');
  });
});

suite('a component that keeps state', () => {
  const built = { ...factories, receivers: [storing], extensions: [extension, storage] };
  const check = (id: string) => {
    const text = `receivers: { storing: { queue: { storage: ${id} } } }
exporters: { otlp_grpc: }
extensions: { health_check: , file_storage: , file_storage/idle: }
service:
  extensions: [health_check, file_storage]
  pipelines:
    logs: { receivers: [storing], exporters: [otlp_grpc] }
`;
    return validateConfig(loadConfig({ locations: [{ name: 'c', text }], env: {} }), built);
  };

  test('has the id of the extension that it names', () => {
    assert.equal(check('file_storage').receivers.get('storing')!.storage, 'file_storage');
  });

  for (const [id, problem] of [
    ['file_storag', 'which is not configured; did you mean "file_storage"?'],
    ['file_storage/idle', 'which is not in service::extensions'],
    ['health_check', 'which keeps no state'],
  ] as const) {
    test(`cannot name one ${problem}`, () => {
      const at = 'c:1: receivers::storing::queue::storage';
      assert.deepEqual(
        problemsOf(() => check(id)),
        [`${at}: references extension "${id}" ${problem}`],
      );
    });
  }
});
