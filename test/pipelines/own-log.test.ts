import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { makeLogger, type OwnLogOptions } from '../../pipelines/own-log.ts';

function makeLog(options: Partial<OwnLogOptions> = {}) {
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  return { lines, logger: makeLogger({ level: 'debug', encoding: 'console', colours: false, write, ...options }) };
}

/** A name that a container could have. */
const hostile = 'a"b\\\n\r\t\u001b[31m\u009b2J\u007f\u2028\u2029\u202e\u{e0041}';

suite('a line in JSON', () => {
  test('has level, time, the fields of its component, its own, and the message', () => {
    const { logger, lines } = makeLog({ encoding: 'json' });
    const before = new Date().toISOString();
    logger.child({ receiver: 'r' }).warn('source does not work', { source: 'docker', attempts: 3, gone: undefined });
    const { time, ...rest } = JSON.parse(lines[0]!) as Record<string, unknown>;
    assert.deepEqual(rest, {
      level: 'warn',
      receiver: 'r',
      source: 'docker',
      attempts: 3,
      message: 'source does not work',
    });
    assert.ok(String(time) >= before && String(time) <= new Date().toISOString(), String(time));
  });

  test('holds any text, and stays one line', () => {
    const { logger, lines } = makeLog({ encoding: 'json' });
    logger.info('met', { name: hostile });
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+\n$/u);
    assert.equal((JSON.parse(lines[0]!) as { name: string }).name, hostile);
  });

  test('has no colours, wanted or not', () => {
    const { logger, lines } = makeLog({ encoding: 'json', colours: true });
    logger.error('broken');
    assert.equal((JSON.parse(lines[0]!) as { level: string }).level, 'error');
  });
});

suite('a line for people', () => {
  test('has the time of day, the level, the message and the fields', () => {
    const { logger, lines } = makeLog();
    logger.child({ receiver: 'r/a' }).warn('source does not work', { error: 'no such file', attempts: 3, ok: false });
    assert.match(
      lines[0]!,
      /^\d\d:\d\d:\d\d\.\d{3} {2}WARN {3}source does not work {2}receiver=r\/a error="no such file" attempts=3 ok=false\n$/,
    );
  });

  test('has nothing after the message where it has no fields', () => {
    const { logger, lines } = makeLog();
    logger.info('stopped');
    assert.match(lines[0]!, /^\S+ {2}INFO {3}stopped\n$/);
  });

  test('has its level in the colour of the level, where colours are wanted', () => {
    const { logger, lines } = makeLog({ colours: true });
    for (const level of ['debug', 'info', 'warn', 'error'] as const) logger[level]('x');
    assert.deepEqual(
      lines.map((line) => line.slice(14)),
      ['\u001b[90mDEBUG', '\u001b[36mINFO ', '\u001b[33mWARN ', '\u001b[31mERROR'].map(
        (start) => `${start}\u001b[0m  x\n`,
      ),
    );
  });

  test('shows what a terminal would obey as what it is', () => {
    const { logger, lines } = makeLog();
    logger.info('met', { name: hostile });
    const shown = '"a\\"b\\\\\\n\\r\\t\\u001b[31m\\u009b2J\\u007f\\u2028\\u2029\\u202e\\udb40\\udc41"';
    assert.equal(lines[0]!.slice(14), `INFO   met  name=${shown}\n`);
    assert.equal(JSON.parse(shown), hostile);
  });

  test('has a message on one line, whatever it holds', () => {
    const { logger, lines } = makeLog();
    logger.info('a\nb\u001b[2J');
    assert.equal(lines[0]!.slice(14), 'INFO   a\\u000ab\\u001b[2J\n');
  });

  test('is one line that a terminal cannot obey, whatever a field holds', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue()), (value) => {
        const { logger, lines } = makeLog();
        logger.error('met', { value });
        assert.equal(lines.length, 1);
        assert.match(lines[0]!, /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+\n$/u);
      }),
    );
  });
});

suite('our own log', () => {
  const levels = ['debug', 'info', 'warn', 'error'] as const;
  for (const [index, level] of levels.entries()) {
    test(`has what is as grave as ${level} or graver, where that is its level`, () => {
      const { logger, lines } = makeLog({ level, encoding: 'json' });
      const child = logger.child({ exporter: 'e' });
      for (const each of levels) child[each]('x');
      const written = lines.map((line) => (JSON.parse(line) as { level: string }).level);
      assert.deepEqual(written, levels.slice(index));
    });
  }

  test('keeps the fields of one component out of the lines of others', () => {
    const { logger, lines } = makeLog({ encoding: 'json' });
    logger.child({ exporter: 'a' }).info('x');
    logger.child({ receiver: 'b' }).info('x');
    logger.info('x');
    const keys = lines.map((line) => Object.keys(JSON.parse(line) as object).filter((key) => key.endsWith('er')));
    assert.deepEqual(keys, [['exporter'], ['receiver'], []]);
  });
});
