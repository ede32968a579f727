import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { unwrapJson } from '../../../receiver/kernel/json-line.ts';
import { known } from './reading.ts';

const ofKernel = {
  _TRANSPORT: 'kernel',
  __REALTIME_TIMESTAMP: '1762974832091534',
  _SOURCE_MONOTONIC_TIMESTAMP: '3091534',
  MESSAGE: 'hog\nx',
};
const unwrap = (fields: object): unknown => known(unwrapJson(JSON.stringify(fields)));

describe('unwrapJson', () => {
  it('reads a message of the kernel’s in a journal, its time and all its lines', () => {
    const message = { text: 'hog\nx', monotonicUs: 3_091_534, wallTimeMs: 1_762_974_832_091.534 };
    assert.deepEqual(unwrap(ofKernel), { message });
    assert.deepEqual(unwrap({ ...ofKernel, SYSLOG_FACILITY: '1' }), { message: { ...message, facility: 1 } });
    assert.deepEqual(unwrap({ ...ofKernel, MESSAGE: [...Buffer.from('hog\nx')] }), { message });
    assert.deepEqual(unwrap({ ...ofKernel, __REALTIME_TIMESTAMP: 'x', _SOURCE_MONOTONIC_TIMESTAMP: 5 }), {
      message: { text: 'hog\nx' },
    });
  });

  it('takes nobody for the kernel who only says so', () => {
    assert.deepEqual(unwrap({ ...ofKernel, _TRANSPORT: 'journal', SYSLOG_IDENTIFIER: 'kernel' }), {});
    assert.deepEqual(unwrap({ ...ofKernel, MESSAGE: null }), {});
    assert.deepEqual(unwrap({ ...ofKernel, MESSAGE: ['hog'] }), {});
  });

  it('reads what Docker kept of a container’s line', () => {
    const kept = { log: '[    3.091534] hog\n', stream: 'stdout', time: '2025-11-12T20:13:52.091534321Z' };
    assert.deepEqual(unwrap(kept), { line: '2025-11-12T20:13:52.091534321Z [    3.091534] hog' });
  });

  it('leaves all else as it is', () => {
    for (const fields of [{}, [], { log: 'x' }, { MESSAGE: 'x', _TRANSPORT: 'kernel' }]) {
      assert.equal(unwrapJson(JSON.stringify(fields)), undefined);
    }
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void unwrapJson(text)));
  });
});
