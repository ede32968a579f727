/** Serialises a google.rpc.Status; with `retryDelay` it holds a google.rpc.RetryInfo behind another detail. */
export function encodeRpcStatus(
  code: number,
  message: string,
  retryDelay?: { seconds: bigint; nanos: number },
): Uint8Array {
  const status = [varintField(1, BigInt(code)), lengthField(2, Buffer.from(message))];
  if (retryDelay !== undefined) {
    const duration = [varintField(1, retryDelay.seconds), varintField(2, BigInt(retryDelay.nanos))];
    status.push(lengthField(3, any('google.rpc.DebugInfo', Buffer.from('\x0a\x01x'))));
    status.push(lengthField(3, any('google.rpc.RetryInfo', lengthField(1, Buffer.concat(duration)))));
  }
  return Buffer.concat(status);
}

function any(type: string, value: Uint8Array): Buffer {
  return Buffer.concat([lengthField(1, Buffer.from(`type.googleapis.com/${type}`)), lengthField(2, value)]);
}

/** A field with a length. */
export function lengthField(field: number, value: Uint8Array): Buffer {
  return Buffer.concat([varint(BigInt(field * 8 + 2)), varint(BigInt(value.byteLength)), value]);
}

/** An integer field; negative numbers in two's complement, ten bytes long. */
export function varintField(field: number, value: bigint): Buffer {
  return Buffer.concat([varint(BigInt(field * 8)), varint(BigInt.asUintN(64, value))]);
}

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
}
