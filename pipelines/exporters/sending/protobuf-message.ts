import type { AnyValue, Attributes } from '@opentelemetry/api';

/**
 * A protobuf message in the making. Fields stand in the order in which they are added. It remembers the places of
 * what will be written anew later, wherever they end up in the message around it.
 *
 * https://protobuf.dev/programming-guides/encoding/
 */
export class ProtobufMessage {
  readonly #chunks: Uint8Array[] = [];
  #length = 0;
  readonly #places: number[] = [];

  get byteLength(): number {
    return this.#length;
  }

  /** Offsets of the marked places, in their order. */
  get places(): readonly number[] {
    return this.#places;
  }

  varint(field: number, value: number | bigint): this {
    return this.#add(encodeVarint(field * 8), encodeVarint(value));
  }

  double(field: number, value: number): this {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(value);
    return this.fixed64(field, bytes);
  }

  /** `bytes` are eight, the lowest first. A place is where they begin, behind the tag. */
  fixed64(field: number, bytes: Uint8Array, isPlace = false): this {
    this.#add(encodeVarint(field * 8 + 1));
    if (isPlace) this.#places.push(this.#length);
    return this.#add(bytes);
  }

  bytes(field: number, bytes: Uint8Array): this {
    return this.#add(encodeVarint(field * 8 + 2), encodeVarint(bytes.byteLength), bytes);
  }

  text(field: number, text: string): this {
    return this.bytes(field, Buffer.from(text));
  }

  /** As `text`, but an empty or absent text is left out, as proto3 does with what is at its default. */
  optionalText(field: number, text: string | undefined): this {
    return text === undefined || text === '' ? this : this.text(field, text);
  }

  /** `bytesToCome` belong to the inner message as well and are written behind this one by others. */
  message(field: number, inner: ProtobufMessage, bytesToCome = 0): this {
    this.#add(encodeVarint(field * 8 + 2), encodeVarint(inner.#length + bytesToCome));
    for (const place of inner.#places) this.#places.push(this.#length + place);
    return this.#add(...inner.#chunks);
  }

  finish(): Buffer {
    return Buffer.concat(this.#chunks, this.#length);
  }

  #add(...chunks: readonly Uint8Array[]): this {
    for (const chunk of chunks) {
      this.#chunks.push(chunk);
      this.#length += chunk.byteLength;
    }
    return this;
  }
}

/** Adds each attribute as an OTLP KeyValue in the repeated field `field` of `message`. */
export function addAttributes(message: ProtobufMessage, field: number, attributes: Attributes): void {
  for (const [key, value] of Object.entries(attributes)) message.message(field, keyValue(key, value));
}

function keyValue(key: string, value: AnyValue): ProtobufMessage {
  return new ProtobufMessage().text(1, key).message(2, anyValue(value));
}

/** An OTLP AnyValue; what it has no form for is empty. */
function anyValue(value: AnyValue): ProtobufMessage {
  const message = new ProtobufMessage();
  switch (typeof value) {
    case 'string':
      return message.text(1, value);
    case 'boolean':
      return message.varint(2, value ? 1 : 0);
    case 'number':
      return isInt64(value) ? message.varint(3, BigInt(value)) : message.double(4, value);
    case 'object':
      return value === null ? message : addObject(message, value);
    default:
      return message;
  }
}

function addObject(message: ProtobufMessage, value: object): ProtobufMessage {
  if (value instanceof Uint8Array) return message.bytes(7, value);
  const list = new ProtobufMessage();
  if (Array.isArray(value)) {
    for (const item of value as AnyValue[]) list.message(1, anyValue(item));
    return message.message(5, list);
  }
  addAttributes(list, 1, value as Attributes);
  return message.message(6, list);
}

/** Whether OTLP sends a number as an integer. */
export function isInt64(value: number): boolean {
  return Number.isInteger(value) && value >= -(2 ** 63) && value < 2 ** 63;
}

function encodeVarint(value: number | bigint): Uint8Array {
  if (typeof value === 'number' && value < 0x80) return Uint8Array.of(value);
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
