import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseQuantity } from '../../../../pipelines/processors/k8s-attributes/quantity.ts';

suite('a quantity', () => {
  for (const [text, number] of [
    ['128Mi', 134_217_728],
    ['1.5Gi', 1_610_612_736],
    ['64M', 64_000_000],
    ['129e6', 129_000_000],
    ['129E6', 129_000_000],
    ['1E', 1e18],
    ['2Ei', 2 ** 61],
    ['128974848', 128_974_848],
    ['128974848000m', 128_974_848],
    ['250m', 0.25],
    ['100m', 0.1],
    ['1', 1],
    ['.5', 0.5],
    ['0', 0],
    ['100u', 1e-4],
    ['5n', 5e-9],
    [2, 2],
  ] as const) {
    test(`${text} is ${number}`, () => assert.equal(parseQuantity(text), number));
  }

  for (const text of ['', 'Mi', '1 Gi', '1GB', '1ki', '1e', '1.2.3', '0x10', 'NaN', '1e3Mi', null, undefined, {}]) {
    test(`${JSON.stringify(text)} is none`, () => assert.equal(parseQuantity(text), undefined));
  }
});
