import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { parseKmsgRecord } from '../../../receiver/kernel/kmsg-record.ts';

describe('parseKmsgRecord', () => {
  it('reads a record and leaves its lines of keys out', () => {
    const record = '6,339,5140900,-;pci 0000:00:02.0: added\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:02.0\n';
    assert.deepEqual(parseKmsgRecord(record), {
      sequence: 339,
      monotonicUs: 5_140_900,
      facility: 0,
      text: 'pci 0000:00:02.0: added',
    });
  });

  it('tells what a process wrote from what the kernel wrote', () => {
    assert.equal(parseKmsgRecord('12,340,5140901,-;Killed process 1 (x)')?.facility, 1);
  });

  it('passes over fields that newer kernels add', () => {
    assert.equal(parseKmsgRecord('4,463,2698578,-,caller=T134;hog invoked oom-killer')?.text, 'hog invoked oom-killer');
  });

  it('gives back escaped bytes, in UTF-8, whatever they are', () => {
    const text = (escaped: string): string | undefined => parseKmsgRecord(`4,1,2,-;${escaped}`)?.text;
    assert.equal(text('nl\\x0aname tab\\x09here'), 'nl\nname tab\there');
    assert.equal(text('\\xc3\\xa9\\xe2\\x82\\xac'), 'é€');
    assert.equal(text('a\\x5cx0a'), 'a\\x0a');
    assert.equal(text('\\xff'), '\u{FFFD}');
  });

  it('marks fragments', () => {
    assert.equal(parseKmsgRecord('6,1,2,c;,task=hog')?.joint, '');
    assert.equal(parseKmsgRecord('6,1,2,+;,task=hog')?.joint, '');
    assert.equal(parseKmsgRecord('6,1,2,-;,task=hog')?.joint, undefined);
  });

  it('takes nothing else for a record', () => {
    for (const line of [
      '',
      ';',
      '1,2,3;a',
      '[ 1.2] a;b',
      '1,2,3,x;a',
      ' KEY=1,2,3,-;',
      `${'1'.repeat(300)},2,3,-;a`,
      `6,1,2,-,${'x'.repeat(200)};a`,
    ]) {
      assert.equal(parseKmsgRecord(line), undefined, line);
    }
  });

  it('never throws and bounds the text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        parseKmsgRecord(text);
        assert.equal(typeof parseKmsgRecord(`6,1,2,-;${text}`)?.text, 'string');
      }),
    );
    assert.equal(parseKmsgRecord(`6,1,2,-;${'a'.repeat(100_000)}`)?.text.length, 32_768);
  });
});
