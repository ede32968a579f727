import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseGrpcEndpoint, type GrpcEndpoint } from '../../../../pipelines/exporters/sending/grpc-endpoint.ts';

const USABLE: [endpoint: string, expected: GrpcEndpoint][] = [
  ['collector:4317', { target: 'collector:4317' }],
  ['10.0.0.7:4317', { target: '10.0.0.7:4317' }],
  ['[::1]:4317', { target: '[::1]:4317' }],
  ['fd00::7:4317', { target: '[fd00::7]:4317' }],
  ['http://fd00:1:2:3:4:5:6:7:4317/', { target: '[fd00:1:2:3:4:5:6:7]:4317', secure: false }],
  ['http://collector:4317', { target: 'collector:4317', secure: false }],
  ['http://collector:4317/', { target: 'collector:4317', secure: false }],
  ['https://collector.example.org:443', { target: 'collector.example.org:443', secure: true }],
  ['dns:///collector:4317', { target: 'dns:///collector:4317' }],
  ['dns://10.0.0.2/collector:4317', { target: 'dns://10.0.0.2/collector:4317' }],
  ['unix:///run/collector.sock', { target: 'unix:///run/collector.sock' }],
  ['unix:relative.sock', { target: 'unix:relative.sock' }],
];

for (const [endpoint, expected] of USABLE) {
  test(`"${endpoint}" is ${expected.target}`, () => assert.deepEqual(parseGrpcEndpoint(endpoint), expected));
}

const UNUSABLE = [
  '',
  'collector',
  'collector:',
  'collector:0',
  'collector:65536',
  'collector:http',
  'http://collector',
  'http://collector:4317/v1/metrics',
  'http://user:secret@collector:4317',
  'ftp://collector:4317',
  'fd00::7',
  'fd00:1:2:3:4:5:6:7',
  'fd00::7:65536',
  'two words:4317',
  'unix:',
  'unix://run/collector.sock',
];

for (const endpoint of UNUSABLE) {
  test(`"${endpoint}" cannot be used`, () => {
    assert.throws(() => parseGrpcEndpoint(endpoint), { message: new RegExp(`^cannot use endpoint "`) });
  });
}

test('a password in an endpoint stands in no message', () => {
  assert.throws(
    () => parseGrpcEndpoint('http://user:secret@collector:4317?key=secret'),
    (error: Error) => !error.message.includes('secret'),
  );
});
