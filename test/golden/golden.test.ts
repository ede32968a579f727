import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { requires } from '../helpers/requires.ts';
import { stableLines, stableMetrics, stableRecord, type StableMetrics } from './normal-form.ts';
import { RecordedHost } from './recorded-host.ts';
import { recordedHosts } from './recording.ts';
import { runOn, type Outcome } from './run.ts';

for (const name of recordedHosts()) {
  describe(`the service on the recorded host ${name}`, requires('bundle'), () => {
    let host: RecordedHost;
    let outcome: Outcome;

    before(async () => {
      host = await RecordedHost.start(name);
      outcome = await runOn(host);
    });

    after(() => host?.stop());

    it('ends in good order', () => {
      assert.equal(outcome.exitCode, 0);
    });

    it('tells and counts what happened', () => {
      const records = outcome.records.map((record) => stableRecord(record, (unixMs) => host.eventAt(unixMs)));
      const metrics = stableMetrics(outcome.collections.at(-2) ?? []);
      assertGolden(join(name, 'expected.json'), toJson({ records, metrics }));
    });

    it('sends the counters of deaths once more when it is stopped', () => {
      const [earlier, atTheEnd] = outcome.collections
        .slice(-2)
        .map((collection) => deathsOf(stableMetrics(collection)));
      assert.deepEqual(atTheEnd, earlier);
    });

    it('writes a line for each event for people', () => {
      assertGolden(join(name, 'expected-basic.txt'), stableLines(outcome.basic));
    });

    it('writes every fact and tables for people when asked for details', () => {
      assertGolden(join(name, 'expected-detailed.txt'), stableLines(outcome.detailed));
    });
  });
}

function deathsOf(metrics: readonly StableMetrics[]): unknown {
  const isOfDeaths = (key: string) => /\{(kill|incident|exit|restart)\}\)$/.test(key);
  return metrics.map(({ resource, points }) => [
    resource,
    Object.fromEntries(Object.entries(points).filter(([key]) => isOfDeaths(key))),
  ]);
}

/** Compares with a golden file line by line. With `UPDATE_GOLDEN=1` writes it instead where it differs, and fails. */
function assertGolden(file: string, actual: string): void {
  const path = join(import.meta.dirname, file);
  if (process.env['UPDATE_GOLDEN'] !== '1') {
    assertSameLines(actual, readFileSync(path, 'utf8'), file);
  } else if (actual !== readOr('', path)) {
    writeFileSync(path, actual);
    assert.fail(`test/golden/${file} was rewritten: read the difference, then run again without UPDATE_GOLDEN`);
  }
}

/** Shows the lines that differ, and not all the others as the test runner would. */
function assertSameLines(actual: string, expected: string, file: string): void {
  try {
    assert.deepEqual(actual.split('\n'), expected.split('\n'));
  } catch (error) {
    assert.fail(`not as in test/golden/${file}: ${(error as Error).message}`);
  }
}

function readOr(otherwise: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}

/** Lists of plain values stand on one line. */
function toJson(value: unknown): string {
  const text = JSON.stringify(value, undefined, 2).replace(
    /\[\n\s+([^[\]{}]*?)\n\s+\]/g,
    (_, items: string) => `[${items.replace(/\n\s+/g, ' ')}]`,
  );
  return `${text}\n`;
}
