import { Readable } from 'node:stream';
import type { EventData } from 'node:test';
import { type TestEvent, spec } from 'node:test/reporters';

/** Tests and suites that were not run, by the reason they gave. */
type Skips = Map<string, number>;

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * Node's `spec` reporter, and after it how files ended whose process failed, of which that says nothing; what was skipped
 * on this machine and why; and the totals as the last line.
 * In CI a skipped test fails the run.
 */
export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const skips: Skips = new Map();
  const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
  const ends: string[] = [];
  yield* Readable.from(tally(events, skips, totals, ends)).compose(new spec());
  if (ends.length > 0) yield `\nProcesses that failed as a whole:\n${ends.join('\n')}\n`;
  if (skips.size > 0) yield describeSkips(skips);
  yield `\n${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped\n`;
}

async function* tally(
  events: AsyncIterable<TestEvent>,
  skips: Skips,
  totals: Totals,
  ends: string[],
): AsyncGenerator<TestEvent> {
  for await (const event of events) {
    if (event.type === 'test:fail') ends.push(...describeEnd(event.data));
    if (event.type === 'test:pass' && event.data.skip !== undefined) countSkip(skips, event.data.skip);
    // The summary without a file is that of the whole run.
    if (event.type === 'test:summary' && event.data.file === undefined) {
      const { tests, passed, skipped, todo } = event.data.counts;
      totals.passed = passed;
      // What is left failed or was cancelled.
      totals.failed = tests - passed - skipped - todo;
      totals.skipped = [...skips.values()].reduce((sum, count) => sum + count, 0);
    }
    yield event;
  }
}

/** Only the failure that stands for a file's whole process has a code or a signal. */
function describeEnd({ name, details }: EventData.TestFail): string[] {
  const { exitCode, signal } = details.error as Error & { exitCode?: number | null; signal?: string | null };
  if (typeof signal === 'string') return [`  ${name}: ended by ${signal}`];
  return typeof exitCode === 'number' ? [`  ${name}: exit code ${exitCode}`] : [];
}

function countSkip(skips: Skips, skip: string | boolean): void {
  const reason = typeof skip === 'string' && skip !== '' ? skip : 'no reason given';
  skips.set(reason, (skips.get(reason) ?? 0) + 1);
}

function describeSkips(skips: Skips): string {
  const lines = [...skips].map(([reason, count]) => `  ${count} × ${reason}`).toSorted();
  if (process.env['CI'] !== 'true') return `\nSkipped on this machine:\n${lines.join('\n')}\n`;
  process.exitCode = 1;
  return `\nFailed, because nothing may be skipped in CI:\n${lines.join('\n')}\n`;
}
