import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseKillLine } from '../../../receiver/kernel/kill-line.ts';
import { known } from './reading.ts';

const figures = 'total-vm:21492kB, anon-rss:20224kB, file-rss:1264kB, shmem-rss:264kB';
const since54 = `${figures}, UID:1000 pgtables:76kB oom_score_adj:985`;
const parse = (text: string) => {
  const line = parseKillLine(text);
  return line === undefined ? undefined : (known(line) as Record<string, unknown>);
};
const killed = {
  kind: 'killed',
  pid: 134,
  comm: 'hog',
  totalVmBytes: 21_492 * 1024,
  anonRssBytes: 20_224 * 1024,
  fileRssBytes: 1_264 * 1024,
  shmemRssBytes: 264 * 1024,
  sharing: false,
};

suite('a line that tells of a kill', () => {
  test('gives every figure, and whose memory ran out', () => {
    const all = { ...killed, uid: 1000, pgtablesBytes: 76 * 1024, oomScoreAdj: 985 };
    const text = `Killed process 134 (hog) ${since54}`;
    assert.deepEqual(parse(text), all);
    assert.deepEqual(parse(`Memory cgroup out of memory: ${text}`), { ...all, memcgOom: true });
    assert.deepEqual(parse(`Out of memory: ${text}`), { ...all, memcgOom: false });
    assert.deepEqual(parse(`Out of memory (oom_kill_allocating_task): ${text}`), { ...all, memcgOom: false });
    assert.equal(parse(`Something else: ${text}`), undefined);
    assert.equal(parse(`${text} Out of memory (oom_kill_allocating_task): `)?.['memcgOom'], undefined);
  });

  test('has no figures where the kernel gives none', () => {
    assert.deepEqual(parse(`Killed process 134 (hog), UID 1000, ${figures}`), { ...killed, uid: 1000 });
    assert.deepEqual(parse(`Killed process 134, UID 1000, (hog) ${figures}`), { ...killed, uid: 1000 });
    assert.deepEqual(parse('Killed process 134 (hog) total-vm:1kB'), {
      kind: 'killed',
      pid: 134,
      comm: 'hog',
      totalVmBytes: 1024,
      sharing: false,
    });
    assert.equal(parse(`Killed process 134 (hog) ${figures} oom_score_adj:-998`)?.['oomScoreAdj'], -998);
  });

  test('is read where a terminal or a mail wrapped it', () => {
    for (const wrapped of ['total-\nvm:21492kB, anon-rss:20224kB,\nfile-rss:12\n64kB, shmem-rss:264kB']) {
      assert.deepEqual(parse(`Killed process 134 (hog) ${wrapped}`), killed);
      assert.deepEqual(parse(`Killed process 134 (h\ng) ${wrapped}`), { ...killed, comm: 'h\ng' });
    }
  });

  test('is one where a copy of it was cut, with the figures that are left', () => {
    const cut = { kind: 'killed', pid: 134, comm: 'hog', memcgOom: false, sharing: false };
    for (const rest of ['', ' total-vm:', ' total-vm:21492', ' ...', ' …', ' \\']) {
      assert.deepEqual(parse(`Out of memory: Killed process 134 (hog)${rest}`), cut, rest);
    }
    const vm = { ...cut, totalVmBytes: 21_492 * 1024 };
    assert.deepEqual(parse('Out of memory: Killed process 134 (hog) total-vm:21492kB, anon-rss:2'), vm);
    assert.equal(parse(`Killed process 134 (hog) ${figures}, UID:10`)?.['uid'], undefined);
    assert.equal(parse('Killed process 134 (hog) because'), undefined);
    assert.equal(parse('Killed process 134 (ho'), undefined);
  });

  test('tells who was chosen, who shares memory, and who was let go', () => {
    const subject = { pid: 134, comm: 'hog' };
    assert.deepEqual(parse('Kill process 134 (hog) sharing same memory'), {
      kind: 'killed',
      ...subject,
      sharing: true,
    });
    assert.deepEqual(parse('Out of memory: Kill process 134 (hog) score 985 or sacrifice child'), {
      kind: 'kill_announced',
      ...subject,
      memcgOom: false,
    });
    assert.deepEqual(parse('OOM victim 134 (hog) is already exiting. Skip killing the task'), {
      kind: 'kill_skipped',
      ...subject,
    });
    assert.equal(parse('Kill process 134 (hog) because'), undefined);
    assert.equal(parse('OOM victim 134 (hog) is gone'), undefined);
  });

  test('has a short name, in which the words around it can stand', () => {
    for (const name of [') total-vm:1kB', 'a (b) c', ') score 1 or sac', '\n', '']) {
      assert.equal(parse(`Killed process 1 (${name}) ${since54}`)?.['comm'], name);
      assert.equal(parse(`Killed process 1 (${name}) ${since54}`)?.['totalVmBytes'], 21_492 * 1024);
      assert.equal(parse(`Kill process 1 (${name}) score 985 or sacrifice child`)?.['comm'], name);
      assert.equal(parse(`Kill process 1 (${name}) sharing same memory`)?.['comm'], name);
    }
    const long = 'x'.repeat(65);
    assert.equal(parse(`Killed process 1 (${long}) ${since54}`), undefined);
    assert.equal(parse(`Kill process 1 (${long}) score 985 or sacrifice child`), undefined);
    assert.equal(parse(`Kill process 1 (${long}) sharing same memory`), undefined);
    assert.equal(parse(`OOM victim 1 (${long}) is already exiting. Skip killing the task`), undefined);
  });

  test('ends with its figures: what stands far behind is none of them', () => {
    const far = `Killed process 1 (hog) total-vm:1kB${' '.repeat(300)} oom_score_adj:7`;
    assert.equal(parse(far)?.['oomScoreAdj'], undefined);
  });
});
