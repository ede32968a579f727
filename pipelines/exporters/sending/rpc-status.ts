/** A google.rpc.Status, as far as a sender needs it. */
export interface RpcStatus {
  code: number;
  message: string;
  /** From its google.rpc.RetryInfo, where it has one: the server asks for patience of this length (0 or more). */
  retryDelayMs?: number;
}

const RETRY_INFO = 'google.rpc.RetryInfo';

/**
 * Reads a serialised google.rpc.Status: the `grpc-status-details-bin` trailer of gRPC and the body of a failed
 * OTLP/HTTP request. `undefined` when the bytes are not one.
 *
 * `Status {int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3}`
 * `Any {string type_url = 1; bytes value = 2}`, `RetryInfo {google.protobuf.Duration retry_delay = 1}`
 * `Duration {int64 seconds = 1; int32 nanos = 2}`
 * https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto and error_details.proto
 */
export function readRpcStatus(bytes: Uint8Array): RpcStatus | undefined {
  const status: RpcStatus = { code: 0, message: '' };
  try {
    for (const { field, value } of readFields(bytes)) {
      if (field === 1) status.code = Number(toInteger(value));
      else if (field === 2) status.message = toText(value);
      else if (field === 3) status.retryDelayMs ??= readRetryInfo(toBytes(value));
    }
    return status;
  } catch {
    return undefined;
  }
}

/** The delay of a google.protobuf.Any if that is a RetryInfo. */
function readRetryInfo(any: Uint8Array): number | undefined {
  let typeUrl = '';
  let retryInfo: Uint8Array | undefined;
  for (const { field, value } of readFields(any)) {
    if (field === 1) typeUrl = toText(value);
    else if (field === 2) retryInfo = toBytes(value);
  }
  if (typeUrl.slice(typeUrl.lastIndexOf('/') + 1) !== RETRY_INFO) return undefined;
  let delayMs = 0;
  for (const { field, value } of readFields(retryInfo ?? new Uint8Array())) {
    if (field === 1) delayMs = readDuration(toBytes(value));
  }
  return Math.max(0, delayMs);
}

function readDuration(bytes: Uint8Array): number {
  let seconds = 0n;
  let nanos = 0n;
  for (const { field, value } of readFields(bytes)) {
    if (field === 1) seconds = toInteger(value);
    else if (field === 2) nanos = toInteger(value);
  }
  return Number(seconds) * 1e3 + Number(nanos) / 1e6;
}

interface Field {
  field: number;
  /** An integer for a varint, bytes for what has a length; fixed-width fields, which we know none of, are bytes too. */
  value: bigint | Uint8Array;
}

/**
 * The fields of one protobuf message, in their order. Throws `RangeError` where the bytes are not one.
 * https://protobuf.dev/programming-guides/encoding/
 */
function* readFields(bytes: Uint8Array): Generator<Field> {
  let position = 0;

  const readVarint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[position++];
      if (byte === undefined) throw new RangeError('varint is cut off');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new RangeError('varint is longer than ten bytes');
  };

  const take = (length: number): Uint8Array => {
    if (length > bytes.byteLength - position) throw new RangeError('field is cut off');
    position += length;
    return bytes.subarray(position - length, position);
  };

  while (position < bytes.byteLength) {
    const tag = Number(readVarint());
    const field = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0:
        yield { field, value: readVarint() };
        break;
      case 1:
        yield { field, value: take(8) };
        break;
      case 2:
        yield { field, value: take(Number(readVarint())) };
        break;
      case 5:
        yield { field, value: take(4) };
        break;
      default:
        throw new RangeError('wire type is unknown');
    }
  }
}

function toInteger(value: bigint | Uint8Array): bigint {
  if (typeof value !== 'bigint') throw new RangeError('field is not an integer');
  return BigInt.asIntN(64, value);
}

function toBytes(value: bigint | Uint8Array): Uint8Array {
  if (typeof value === 'bigint') throw new RangeError('field has no length');
  return value;
}

function toText(value: bigint | Uint8Array): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(toBytes(value));
}
