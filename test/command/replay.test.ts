import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, it, type TestContext } from 'node:test';
import { replay, type ReplayFormat } from '../../command/replay.ts';

const id = '7c1f9d0e2b3a48596a7b8c9dae0f1b2c3d4e5f60718293a4b5c6d7e8f9012345';
const kill = `[    3.091000] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=${id},mems_allowed=0,oom_memcg=/docker/${id},task_memcg=/docker/${id},task=hog,pid=134,uid=0
[    3.091534] Memory cgroup out of memory: Killed process 134 (hog) total-vm:21492kB, anon-rss:20224kB, file-rss:264kB, shmem-rss:0kB, UID:0 pgtables:76kB oom_score_adj:0
`;

async function run(files: string[], format: ReplayFormat = 'text', stdin = Readable.from([])) {
  const written: string[] = [];
  const told: string[] = [];
  await replay({
    files,
    format,
    colours: false,
    version: '1.2.3',
    stdin,
    write: (text) => written.push(text),
    tell: (text) => told.push(text),
  });
  return { written: written.join(''), told: told.join('\n') };
}

function makeFile(t: TestContext, text: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'exit137-replay-'));
  t.after(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, 'log'), text);
  return join(dir, 'log');
}

describe('replay', () => {
  it('writes a line for each kill, and how many there were', async (t) => {
    const file = makeFile(t, kill);
    const { written, told } = await run([file]);
    assert.match(
      written,
      /^\[ {4}3\.091534\] {2}ERROR {2}container\.oom_kill {2}container \(7c1f9d0e2b3a\) {2}.* process hog /,
    );
    assert.equal(told, `1 OOM kill in ${file}`);
  });

  it('reads standard input in whatever pieces it comes', async () => {
    const pieces = Readable.from(Array.from(Buffer.from(kill), (byte) => Buffer.from([byte])));
    const { written, told } = await run([], 'text', pieces);
    assert.equal(written.split('\n').length, 2);
    assert.equal(told, '1 OOM kill in standard input');
  });

  it('writes an OTLP-JSON logs object a line, its time open where the log has no date', async (t) => {
    const { written } = await run(
      [
        makeFile(
          t,
          kill.repeat(2).replace(/pid=134|process 134/g, (text) => text),
        ),
      ],
      'otlp_json',
    );
    const [line] = written.split('\n');
    const { resourceLogs } = JSON.parse(line!);
    const [record] = resourceLogs[0].scopeLogs[0].logRecords;
    assert.deepEqual([record.eventName, record.timeUnixNano], ['container.oom_kill', '0']);
  });

  it('says so when there is no kill', async (t) => {
    const file = makeFile(t, '[    1.000000] Linux version 6.1\n');
    assert.deepEqual(await run([file]), { written: '', told: `no OOM kill in ${file}` });
  });

  it('names a file that cannot be read', async () => {
    await assert.rejects(run(['/nowhere/log']), { message: 'cannot read "/nowhere/log"' });
  });
});
