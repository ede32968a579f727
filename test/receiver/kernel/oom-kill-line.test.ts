import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { isWithin, parseOomKillLine, splitNested } from '../../../receiver/kernel/oom-kill-line.ts';
import { known } from './reading.ts';

const begin = 'oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),';
const end = ',pid=134,uid=1000';
const facts = { constraint: 'CONSTRAINT_MEMCG', comm: 'hog', pid: 134, uid: 1000 };
const parse = (text: string, comm?: string) => {
  const line = parseOomKillLine(text, comm);
  return line === undefined ? undefined : (known(line) as Record<string, unknown>);
};

suite('the summary of a kill', () => {
  test('names the limited group and that of the victim, whatever the cpuset', () => {
    for (const cpuset of ['/', '7c1f', 'cri-containerd-7c1f.scope']) {
      const text = `${begin}cpuset=${cpuset},mems_allowed=0-1,oom_memcg=/a,task_memcg=/a/b,task=hog${end}`;
      assert.deepEqual(parse(text), { ...facts, oomMemcg: '/a', taskMemcg: '/a/b' });
    }
  });

  test('names one group where no group was limited, and none where there are none', () => {
    const node = 'oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom';
    const told = { ...facts, constraint: 'CONSTRAINT_NONE' };
    assert.deepEqual(parse(`${node},task_memcg=/a/b,task=hog${end}`), { ...told, taskMemcg: '/a/b' });
    assert.deepEqual(parse(`${node},task=hog${end}`), told);
    assert.deepEqual(parse(`oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=hog${end}`), told);
    const policy = 'oom-kill:constraint=CONSTRAINT_MEMORY_POLICY,nodemask=1,cpuset=vcpu1,mems_allowed=0-2,global_oom';
    const ofPolicy = { ...facts, constraint: 'CONSTRAINT_MEMORY_POLICY', taskMemcg: '/a' };
    assert.deepEqual(parse(`${policy},task_memcg=/a,task=hog${end}`), ofPolicy);
  });

  test('says that the limit is a group’s where 5.0 to 5.2 do not', () => {
    // 5.0: the constraint is CONSTRAINT_NONE whatever it is.
    const text = `oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=hog${end}`;
    assert.deepEqual(parse(text), { ...facts, oomMemcg: '/a', taskMemcg: '/a' });
  });

  test('names the groups where a terminal wrapped it', () => {
    const wrapped = `${begin}cpuset=/,mems_all\nowed=0,oom_memcg=/docker/7c\n1f,task_memcg=/docke\nr/7c1f,task=h\ng${end}`;
    assert.deepEqual(parse(wrapped), { ...facts, comm: 'h\ng', oomMemcg: '/docker/7c1f', taskMemcg: '/docker/7c1f' });
  });

  test('names no group where the words before it are not the kernel’s', () => {
    assert.deepEqual(parse(`${begin}cpuset=/,mems_allowed=0,other=/a,task_memcg=/a/b,task=hog${end}`), facts);
    assert.deepEqual(parse(`${begin}cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/b,task=hog${end}`), facts);
  });

  test('is none where its begin, its end or its name is missing', () => {
    const whole = `${begin}cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,task=hog${end}`;
    for (const text of [
      whole.slice(1),
      whole.replace(',uid=1000', ''),
      `${whole}.`,
      whole.replace(',task=', ',is='),
      `${begin}task=${'x'.repeat(61)}${end}`,
    ]) {
      assert.equal(parse(text), undefined, text);
    }
  });

  test('gives the user as it is printed, which can be negative', () => {
    const text = `${begin}cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=hog,pid=134,uid=-2`;
    assert.equal(parse(text)?.['uid'], 4_294_967_294);
  });

  test('knows where the name begins if another line told it; else it is as long as it can be', () => {
    const paths = `${begin}cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b`;
    const text = `${paths},task=b,task=hog${end}`;
    assert.deepEqual(parse(text, 'hog'), { ...facts, oomMemcg: '/a', taskMemcg: '/a/b,task=b' });
    for (const comm of [undefined, 'other']) {
      assert.deepEqual(parse(text, comm), { ...facts, comm: 'b,task=hog', oomMemcg: '/a', taskMemcg: '/a/b' });
    }
    // A name is no longer than 15 bytes, which take 60 characters where they are escaped.
    const escaped = '\\xe2\\x82\\xac'.repeat(5);
    assert.equal(parse(`${paths},task=${escaped}${end}`)?.['comm'], escaped);
    assert.equal(parse(`${paths},task=123456789,task=${'x'.repeat(15)}${end}`)?.['comm'], 'x'.repeat(15));
  });
});

suite('two paths of which one lies in the other', () => {
  test('are split where that is so', () => {
    assert.deepEqual(splitNested('/a-/a/-/c', '-', false), ['/a', '/a/-/c']);
    assert.deepEqual(splitNested('/a/b-/a', '-', true), ['/a/b', '/a']);
    assert.equal(splitNested('/a-/b', '-', false), undefined);
    assert.equal(splitNested('/a/b-/a', '-', false), undefined);
    assert.equal(splitNested('/a', '-', false), undefined);
  });

  test('are not looked for at more than 16 places', () => {
    const misses = (count: number): string => `/a${'-/b'.repeat(count)}`;
    const nested = (count: number): string => `${misses(count)}-${misses(count)}/c`;
    assert.deepEqual(splitNested(nested(7), '-', false), [misses(7), `${misses(7)}/c`]);
    assert.deepEqual(splitNested(nested(15), '-', false), [misses(15), `${misses(15)}/c`]);
    assert.equal(splitNested(nested(16), '-', false), undefined);
  });

  test('are one within the other only at a slash', () => {
    assert.equal(isWithin('/a', '/a'), true);
    assert.equal(isWithin('/a/b', '/a'), true);
    assert.equal(isWithin('/ab', '/a'), false);
    assert.equal(isWithin('/a', '/'), true);
    assert.equal(isWithin('/a', '/a/b'), false);
  });
});
