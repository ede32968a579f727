import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { renderFindings } from '../../command/findings-table.ts';
import type { Finding } from '../../pipelines/component.ts';

const findings: Finding[] = [
  { what: 'memory cgroups', state: 'found', detail: 'cgroup v2' },
  { what: 'runtime', state: 'missing', detail: 'no socket', lost: 'exit codes', grant: 'mount the socket' },
  { what: 'kernel log', state: 'unused', detail: '', lost: "the victim's pid" },
];

suite('the table of what was found', () => {
  test('says what is lost, and what to do about it where that is asked for', () => {
    assert.equal(
      renderFindings(findings, { colour: false, advice: true }),
      `  memory cgroups  found    cgroup v2
  runtime         missing  no socket
                           without it: exit codes
                           to get it: mount the socket
  kernel log      unused
                           without it: the victim's pid
`,
    );
  });

  test('gives no advice where none is asked for', () => {
    const table = renderFindings(findings, { colour: false, advice: false });
    assert.match(table, /without it: exit codes/);
    assert.doesNotMatch(table, /to get it/);
  });

  test('has states in colours, and columns as without them', () => {
    const [plain, coloured] = [false, true].map((colour) => renderFindings(findings, { colour, advice: true }));
    for (const [number, state] of [
      [32, 'found  '],
      [31, 'missing'],
      [33, 'unused '],
    ] as const) {
      assert.ok(coloured!.includes(`  \u001b[${number}m${state}\u001b[39m`), state);
    }
    assert.equal(stripVTControlCharacters(coloured!).replaceAll(/ +$/gm, ''), plain);
  });

  test('stays one line an entry, and shows nothing that a terminal obeys', () => {
    const detail = 'a\u001b[2Jb\nc\u009b1md\u202ee\u2028f';
    const table = renderFindings([{ what: 'x', state: 'found', detail }], { colour: false, advice: true });
    assert.match(table, /^ {2}x {2}found {4}[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+\n$/u);
    assert.match(table, /a.*b.*c.*d.*e.*f/);
  });

  test('is empty where nothing was looked for', () => {
    assert.equal(renderFindings([], { colour: false, advice: true }), '');
  });
});
