import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ValueType } from '@opentelemetry/api';
import { AggregationTemporality, DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import fc from 'fast-check';
import { jsonSerializer, makeProtobufSerializer } from '../../../../pipelines/exporters/sending/serializer.ts';
import { decodeRequest } from '../../../helpers/otlp-decoding.ts';
import { makeGauge, makeLog, makeMetrics, makeSum, SOME_TIME } from '../../../helpers/telemetry.ts';

const protobufSerializer = makeProtobufSerializer();

/** Metrics of one resource. */
function metricsOf(...metrics: MetricData[]): ReturnType<typeof makeMetrics> {
  const [one] = makeMetrics(1, 0);
  return [{ ...one!, scopeMetrics: [{ scope: { name: 'exit137' }, metrics }] }];
}

function decodeBoth(metrics: ReturnType<typeof makeMetrics>): ReturnType<typeof decodeRequest>['metrics'][] {
  return [
    decodeRequest('metrics', 'proto', Buffer.from(protobufSerializer.metrics(metrics))).metrics,
    decodeRequest('metrics', 'json', Buffer.from(jsonSerializer.metrics(metrics))).metrics,
  ];
}

const parse = (bytes: Uint8Array) => JSON.parse(Buffer.from(bytes).toString()) as unknown;

test('a metrics request in JSON is as the specification and the Collector write it', () => {
  const [resource] = metricsOf(
    makeGauge('container.memory.usage', 1024, { state: 'used' }),
    makeSum('container.exits', 3, {}, true),
    makeSum('container.memory.usage.limit', 9_007_199_254_740_992, {}, false),
  );
  assert.deepEqual(parse(jsonSerializer.metrics([resource!])), {
    resourceMetrics: [
      {
        resource: {
          attributes: [
            { key: 'container.id', value: { stringValue: '0'.repeat(64) } },
            { key: 'container.name', value: { stringValue: 'web-0' } },
            { key: 'container.runtime', value: { stringValue: 'docker' } },
            { key: 'host.name', value: { stringValue: 'node-1' } },
          ],
        },
        scopeMetrics: [
          {
            scope: { name: 'exit137' },
            metrics: [
              {
                name: 'container.memory.usage',
                description: 'What container.memory.usage is.',
                unit: 'By',
                gauge: {
                  dataPoints: [
                    {
                      attributes: [{ key: 'state', value: { stringValue: 'used' } }],
                      startTimeUnixNano: '1795250000000000001',
                      timeUnixNano: '1795257727123456789',
                      asInt: '1024',
                    },
                  ],
                },
              },
              {
                name: 'container.exits',
                description: 'What container.exits is.',
                unit: 'By',
                sum: {
                  dataPoints: [
                    {
                      startTimeUnixNano: '1795250000000000001',
                      timeUnixNano: '1795257727123456789',
                      asInt: '3',
                    },
                  ],
                  aggregationTemporality: 2,
                  isMonotonic: true,
                },
              },
              {
                name: 'container.memory.usage.limit',
                description: 'What container.memory.usage.limit is.',
                unit: 'By',
                sum: {
                  dataPoints: [
                    {
                      startTimeUnixNano: '1795250000000000001',
                      timeUnixNano: '1795257727123456789',
                      asInt: '9007199254740992',
                    },
                  ],
                  aggregationTemporality: 2,
                },
              },
            ],
          },
        ],
      },
    ],
  });
});

test('a logs request in JSON groups by resource and scope, with ids in hex and 64-bit integers as strings', () => {
  const record = makeLog({
    attributes: {
      pid: 7,
      ratio: 0.5,
      group: true,
      evidence: ['a', 'b'],
      tasks: [{ pid: 1 }],
      raw: Buffer.from('\x00\xff', 'latin1'),
    },
    spanContext: { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 1 },
  });
  assert.deepEqual(parse(jsonSerializer.logs([record, { ...record, attributes: {}, spanContext: undefined }])), {
    resourceLogs: [
      {
        resource: {
          attributes: [
            { key: 'container.id', value: { stringValue: `${'0'.repeat(63)}1` } },
            { key: 'container.name', value: { stringValue: 'web-1' } },
            { key: 'container.runtime', value: { stringValue: 'docker' } },
            { key: 'host.name', value: { stringValue: 'node-1' } },
          ],
        },
        scopeLogs: [
          {
            scope: { name: 'exit137', version: '1.2.3' },
            logRecords: [
              {
                timeUnixNano: '1795257727123456789',
                observedTimeUnixNano: '1795257727123456790',
                severityNumber: 17,
                severityText: 'ERROR',
                body: { stringValue: record.body },
                attributes: [
                  { key: 'pid', value: { intValue: '7' } },
                  { key: 'ratio', value: { doubleValue: 0.5 } },
                  { key: 'group', value: { boolValue: true } },
                  {
                    key: 'evidence',
                    value: { arrayValue: { values: [{ stringValue: 'a' }, { stringValue: 'b' }] } },
                  },
                  {
                    key: 'tasks',
                    value: {
                      arrayValue: { values: [{ kvlistValue: { values: [{ key: 'pid', value: { intValue: '1' } }] } }] },
                    },
                  },
                  { key: 'raw', value: { bytesValue: 'AP8=' } },
                ],
                flags: 1,
                traceId: '0af7651916cd43dd8448eb211c80319c',
                spanId: 'b7ad6b7169203331',
                eventName: 'container.oom_kill',
              },
              {
                timeUnixNano: '1795257727123456789',
                observedTimeUnixNano: '1795257727123456790',
                severityNumber: 17,
                severityText: 'ERROR',
                body: { stringValue: record.body },
                eventName: 'container.oom_kill',
              },
            ],
          },
        ],
      },
    ],
  });
});

test('doubles that JSON has no number for are strings', () => {
  const doubles = [NaN, Infinity, -Infinity, 0.5].map((value, index) => {
    const gauge = makeGauge(`g${index}`, value);
    return { ...gauge, descriptor: { ...gauge.descriptor, valueType: ValueType.DOUBLE } };
  });
  const text = Buffer.from(jsonSerializer.metrics(metricsOf(...doubles))).toString();
  assert.deepEqual(
    [...text.matchAll(/"asDouble":([^}]*)/g)].map(([, value]) => value),
    ['"NaN"', '"Infinity"', '"-Infinity"', '0.5'],
  );
});

describe('both encodings say the same', () => {
  test('of any attributes', () => {
    const scalar = fc.oneof(
      fc.string({ unit: 'binary' }).map((text) => text.toWellFormed()),
      fc.boolean(),
      fc.maxSafeInteger(),
      fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !Object.is(value, -0)),
    );
    const value = fc.oneof(
      scalar,
      fc.array(scalar, { maxLength: 4 }),
      fc.dictionary(fc.string(), scalar, { maxKeys: 3 }),
    );
    fc.assert(
      fc.property(fc.dictionary(fc.string(), value, { maxKeys: 5, noNullPrototype: true }), (attributes) => {
        const logs = [makeLog({ attributes })];
        assert.deepEqual(
          decodeRequest('logs', 'json', Buffer.from(jsonSerializer.logs(logs))).logs,
          decodeRequest('logs', 'proto', Buffer.from(protobufSerializer.logs(logs))).logs,
        );
      }),
    );
  });

  test('of any time and value', () => {
    const time = fc.tuple(fc.integer({ min: 0, max: 9_000_000_000 }), fc.integer({ min: 0, max: 999_999_999 }));
    fc.assert(
      fc.property(time, time, fc.maxSafeInteger(), (startTime, endTime, value) => {
        const sum = makeSum('sum', value);
        const [proto, json] = decodeBoth(
          metricsOf({ ...sum, dataPoints: [{ ...sum.dataPoints[0]!, startTime, endTime }] }),
        );
        assert.deepEqual(json, proto);
        const nanoseconds = BigInt(endTime[0]) * 1_000_000_000n + BigInt(endTime[1]);
        assert.equal(proto?.[0]?.metrics['sum']?.points[0]?.timeUnixNano, nanoseconds.toString());
        assert.equal(proto?.[0]?.metrics['sum']?.points[0]?.asInt, value.toString());
      }),
    );
  });

  test('of histograms', () => {
    const point = { startTime: SOME_TIME, endTime: SOME_TIME, attributes: { a: 1 } };
    const descriptor = { name: 'h', description: '', unit: 's', valueType: ValueType.DOUBLE };
    const common = { descriptor, aggregationTemporality: AggregationTemporality.DELTA };
    const [proto, json] = decodeBoth(
      metricsOf(
        {
          ...common,
          dataPointType: DataPointType.HISTOGRAM,
          dataPoints: [
            {
              ...point,
              value: { count: 3, sum: 6.5, min: 1, max: 4, buckets: { boundaries: [2, 3], counts: [1, 0, 2] } },
            },
          ],
        },
        {
          ...common,
          descriptor: { ...descriptor, name: 'e' },
          dataPointType: DataPointType.EXPONENTIAL_HISTOGRAM,
          dataPoints: [
            {
              ...point,
              value: {
                count: 3,
                sum: 6.5,
                min: 1,
                max: 4,
                scale: 2,
                zeroCount: 1,
                positive: { offset: -1, bucketCounts: [1, 1] },
                negative: { offset: 2, bucketCounts: [1] },
              },
            },
          ],
        },
      ),
    );
    assert.deepEqual(json, proto);
    assert.equal(proto?.[0]?.metrics['h']?.kind, 'histogram');
    assert.equal(proto?.[0]?.metrics['e']?.kind, 'exponentialHistogram');
    assert.equal(proto?.[0]?.metrics['e']?.temporality, 1);
  });
});

test('an attribute that is an integer beyond 64 bits is a double in both encodings', () => {
  const logs = [makeLog({ attributes: { huge: 1e300 } })];
  assert.deepEqual(decodeRequest('logs', 'json', Buffer.from(jsonSerializer.logs(logs))).logs[0]?.attributes, {
    huge: 1e300,
  });
  assert.deepEqual(decodeRequest('logs', 'proto', Buffer.from(protobufSerializer.logs(logs))).logs[0]?.attributes, {
    huge: 1e300,
  });
});

describe('answers', () => {
  const CASES: [what: string, body: string, expected: object][] = [
    ['empty', '', { rejectedItems: 0 }],
    ['an empty object', '{}', { rejectedItems: 0 }],
    ['null', 'null', { rejectedItems: 0 }],
    ['not JSON', '<html>', { rejectedItems: 0 }],
    ['null in place of partial success', '{"partialSuccess":null}', { rejectedItems: 0 }],
    ['a 64-bit integer as a string', '{"partialSuccess":{"rejectedDataPoints":"3"}}', { rejectedItems: 3 }],
    ['a number', '{"partialSuccess":{"rejectedLogRecords":3}}', { rejectedItems: 3 }],
    ['a warning', '{"partialSuccess":{"errorMessage":"old"}}', { rejectedItems: 0, message: 'old' }],
    ['nonsense', '{"partialSuccess":{"rejectedDataPoints":"many","errorMessage":[]}}', { rejectedItems: 0 }],
  ];
  for (const [what, body, expected] of CASES) {
    test(`in JSON: ${what}`, () => assert.deepEqual(jsonSerializer.readAnswer('metrics', Buffer.from(body)), expected));
  }

  test('no bytes make a reader throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        for (const serializer of [protobufSerializer, jsonSerializer]) {
          const { rejectedItems } = serializer.readAnswer('logs', bytes);
          assert.ok(Number.isFinite(rejectedItems));
        }
      }),
      { numRuns: 1000 },
    );
  });
});
