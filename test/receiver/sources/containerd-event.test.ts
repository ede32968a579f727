import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { EnvelopeSchema } from '../../../receiver/grpc/generated/containerd/types_pb.ts';
import { decodeEnvelope, timeOf } from '../../../receiver/sources/containerd-event.ts';

const id = '5b1f'.repeat(16);

function envelope(topic: string, hex: string, timestamp = { seconds: 1_795_270_000n, nanos: 120_500_000 }) {
  const event = { typeUrl: 'containerd.events.TaskExit', value: Buffer.from(hex, 'hex') };
  return create(EnvelopeSchema, { namespace: 'k8s.io', topic, timestamp, event });
}

/** Fields 1 and 2 of an event, both of 64 characters. */
const ids = (process = id) => `0a40${Buffer.from(id).toString('hex')}1240${Buffer.from(process).toString('hex')}`;

describe('decodeEnvelope', () => {
  const decode = (topic: string, hex: string) => decodeEnvelope(envelope(topic, hex), 0, (what) => assert.fail(what));

  it('reads an exit as containerd writes it: pid 4711, status 137, and when the process was reaped', () => {
    assert.deepEqual(decode('/tasks/exit', `${ids()}18e7242089012a0b08f0ca86d80610e0d9fd38`), {
      kind: 'exited',
      containerId: id,
      namespace: 'k8s.io',
      isMain: true,
      pid: 4711,
      exitCode: 137,
      atMs: 1_795_270_000_119.5,
    });
  });

  it('reads the exit code 0, which is not on the wire, and the exit of another process', () => {
    const { isMain, exitCode, atMs } = decode('/tasks/exit', ids('9c07'.repeat(16))) as {
      isMain: boolean;
      exitCode: number;
      atMs: number;
    };
    assert.deepEqual({ isMain, exitCode, atMs }, { isMain: false, exitCode: 0, atMs: 1_795_270_000_120.5 });
  });

  it('leaves out topics that it does not follow', () => {
    assert.equal(decode('/tasks/exec-started', ids()), undefined);
    assert.equal(decode('/images/create', ids()), undefined);
  });

  it('takes whatever comes without throwing, and tells what it cannot use', () => {
    const topics = fc.constantFrom(
      '/tasks/start',
      '/tasks/exit',
      '/tasks/oom',
      '/containers/update',
      '/containers/delete',
    );
    fc.assert(
      fc.property(
        topics,
        fc.uint8Array({ maxLength: 200 }),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        (topic, value, seconds) => {
          const told: string[] = [];
          const hostile = create(EnvelopeSchema, {
            topic,
            namespace: 'k8s.io',
            timestamp: { seconds },
            event: { value },
          });
          const event = decodeEnvelope(hostile, 7, (_what, text) => told.push(text));
          assert.equal(event === undefined, told.length === 1);
          for (const text of told) assert.match(text, /^[\x20-\x7e\u2026]{1,201}$/);
        },
      ),
    );
  });
});

describe('timeOf', () => {
  it('gives milliseconds with fractions, and nothing for what is no time', () => {
    assert.equal(timeOf({ seconds: 1_795_270_000n, nanos: 500_000 } as never), 1_795_270_000_000.5);
    // Go's zero time.
    for (const seconds of [-62_135_596_800n, 0n, 2n ** 62n])
      assert.equal(timeOf({ seconds, nanos: 0 } as never), undefined);
    assert.equal(timeOf(undefined), undefined);
  });
});
