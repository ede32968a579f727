import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { parseArguments, UsageError } from '../../command/arguments.ts';

suite('the command line', () => {
  for (const [args, asked] of [
    [[], { command: 'run', configs: [], settings: [] }],
    [['run'], { command: 'run', configs: [], settings: [] }],
    [['validate', '--config', 'a'], { command: 'validate', configs: ['a'], settings: [] }],
    [['-c', 'a', 'doctor', '--config=b'], { command: 'doctor', configs: ['a', 'b'], settings: [] }],
    [['--set', 'a.b=c=d', '--set=e=-1'], { command: 'run', configs: [], settings: ['a.b=c=d', 'e=-1'] }],
    [['components'], { command: 'components', configs: [], settings: [] }],
    [['print-config', '-h'], { command: 'help', configs: [], settings: [] }],
    [
      ['replay', 'a', '-', '--format', 'otlp_json'],
      { command: 'replay', configs: [], settings: [], files: ['a', '-'], format: 'otlp_json' },
    ],
    [['help'], { command: 'help', configs: [], settings: [] }],
    [['help', 'validate'], { command: 'help', configs: [], settings: [] }],
    [['help', 'help'], { command: 'help', configs: [], settings: [] }],
    [['help', '--help'], { command: 'help', configs: [], settings: [] }],
    [['--version'], { command: 'version', configs: [], settings: [] }],
    [['--help', '--version'], { command: 'help', configs: [], settings: [] }],
  ] as [string[], unknown][]) {
    test(`"${args.join(' ')}" asks for ${JSON.stringify(asked)}`, () =>
      assert.deepEqual(parseArguments(args), { files: [], format: 'text', ...(asked as object) }));
  }

  for (const [args, message] of [
    [['start'], /^unknown command "start": expected run, validate, /],
    [['run', 'now'], /^unexpected argument "now"$/],
    [['help', 'start'], /^unknown command "start": expected run, validate, /],
    [['help', 'run', 'now'], /^unexpected argument "now"$/],
    [['help', 'help', 'run'], /^unexpected argument "run"$/],
    [['--configs', 'a'], /^Unknown option '--configs'$/],
    [['replay', '--format=xml'], /^unknown format "xml": expected text, otlp_json$/],
    [['-x'], /^Unknown option '-x'$/],
    [['--config'], /argument missing$/],
    [['--help=yes'], /does not take an argument$/],
  ] as [string[], RegExp][]) {
    test(`"${args.join(' ')}" is not understood`, () =>
      assert.throws(() => parseArguments(args), { name: 'UsageError', message }));
  }

  test('is understood or not, whatever it is', () => {
    const words = fc.oneof(
      fc.string(),
      fc.constantFrom('run', 'help', '--set', '-c', '--', '-h', '--config=', 'toString'),
    );
    fc.assert(
      fc.property(fc.array(words), (args) => {
        try {
          assert.equal(typeof parseArguments(args).command, 'string');
        } catch (error) {
          assert.ok(error instanceof UsageError, String(error));
        }
      }),
    );
  });
});
