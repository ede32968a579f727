import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readRpcStatus } from '../../../../pipelines/exporters/sending/rpc-status.ts';
import { encodeRpcStatus, lengthField, varintField } from '../../../helpers/rpc-status.ts';

test('a status keeps its code, its message and the delay of its RetryInfo', () => {
  fc.assert(
    fc.property(
      fc.nat(16),
      fc.string({ unit: 'binary' }).map((text) => text.toWellFormed()),
      fc.bigInt({ min: 0n, max: 315_576_000_000n }),
      fc.integer({ min: 0, max: 999_999_999 }),
      (code, message, seconds, nanos) => {
        const status = readRpcStatus(encodeRpcStatus(code, message, { seconds, nanos }));
        assert.deepEqual(status, { code, message, retryDelayMs: Number(seconds) * 1e3 + nanos / 1e6 });
      },
    ),
  );
});

test('a status without a RetryInfo names no delay', () => {
  assert.deepEqual(readRpcStatus(encodeRpcStatus(8, 'slow down')), { code: 8, message: 'slow down' });
});

test('a RetryInfo without a delay asks for none, and a negative delay is none', () => {
  const retryInfo = lengthField(1, Buffer.from('type.googleapis.com/google.rpc.RetryInfo'));
  assert.equal(readRpcStatus(lengthField(3, retryInfo))?.retryDelayMs, 0);
  assert.equal(readRpcStatus(encodeRpcStatus(8, '', { seconds: -3n, nanos: 0 }))?.retryDelayMs, 0);
});

test('fields that are not known are passed over', () => {
  const unknown = Buffer.concat([
    varintField(15, 7n),
    lengthField(16, Buffer.from('x')),
    Buffer.from([0x8d, 1, 1, 2, 3, 4]),
  ]);
  const bytes = Buffer.concat([unknown, encodeRpcStatus(14, 'away', { seconds: 1n, nanos: 0 }), unknown]);
  assert.deepEqual(readRpcStatus(bytes), { code: 14, message: 'away', retryDelayMs: 1000 });
});

test('a status that is cut off anywhere is read as far as whole fields go, or not at all', () => {
  const whole = encodeRpcStatus(8, 'slow down', { seconds: 30n, nanos: 5 });
  for (let length = 0; length < whole.byteLength; length++) {
    const status = readRpcStatus(whole.subarray(0, length));
    assert.equal(status?.retryDelayMs, undefined);
  }
});

test('no bytes make the reader throw or loop', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const status = readRpcStatus(bytes);
      assert.ok(status === undefined || (status.retryDelayMs ?? 0) >= 0);
    }),
    { numRuns: 1000 },
  );
});
