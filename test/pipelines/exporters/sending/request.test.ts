import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toRequests } from '../../../../pipelines/exporters/sending/request.ts';

const serialize = (texts: readonly string[]) => Buffer.from(texts.join(''));
const count = (texts: readonly string[]) => texts.length;

test('what fits goes into one request', () => {
  const requests = toRequests(['a', 'b', 'c'], serialize, count, 3);
  assert.deepEqual(requests, [{ body: Buffer.from('abc'), items: 3 }]);
});

test('what the serializer does not even make, as it would be too large, is cut as well', () => {
  const asked: number[] = [];
  const frugal = (texts: readonly string[], maxBytes: number) => {
    asked.push(maxBytes);
    return texts.length > 1 && texts.join('').length > maxBytes ? undefined : serialize(texts);
  };
  const requests = toRequests(['abc', 'de', 'f'], frugal, count, 3);
  assert.deepEqual(
    requests.map(({ body }) => Buffer.from(body).toString()),
    ['abc', 'def'],
  );
  assert.deepEqual(asked, [3, 3, 3]);
  assert.equal(toRequests(['abc', 'de'], frugal, count, 0).length, 1);
});

test('nothing makes no request', () => {
  assert.deepEqual(toRequests([], serialize, count, 3), []);
});

test('a bound of 0 is no bound', () => {
  assert.equal(
    toRequests(
      Array.from({ length: 1000 }, () => 'x'),
      serialize,
      count,
      0,
    ).length,
    1,
  );
});

test('cutting keeps order and items, and no request of several entries is above the bound', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 20 })), fc.integer({ min: 1, max: 50 }), (texts, maxBytes) => {
      const requests = toRequests(texts, serialize, count, maxBytes);
      assert.equal(Buffer.concat(requests.map(({ body }) => body)).toString(), serialize(texts).toString());
      assert.equal(
        requests.reduce((sum, { items }) => sum + items, 0),
        texts.length,
      );
      for (const { body, items } of requests) assert.ok(items === 1 || body.byteLength <= maxBytes);
    }),
  );
});
