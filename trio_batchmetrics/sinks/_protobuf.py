"""Protocol Buffers' wire format: fields to bytes, and bytes to fields.

Source: protobuf.dev/programming-guides/encoding. A message is the concatenation of its fields, in any order. A field
begins with its *key*, ``number << 3 | wire type``. Whether fields with a default value are left out is the caller's
choice.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["BYTES", "FIXED64", "double", "fields", "fixed64", "key", "message", "signed", "varint", "zigzag"]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types in use."""

_DOUBLE = struct.Struct("<d")
_FIXED64 = struct.Struct("<Q")
_BITS = 7
_MORE = 1 << _BITS
_INT64 = 1 << 64
_LONGEST_VARINT = 10
"""In bytes."""


def varint(number: int) -> bytes:
    """Return an int from 0 on as a varint: seven bits per byte, the lowest first."""
    if number < _MORE:
        return number.to_bytes()
    encoded = bytearray()
    while number >= _MORE:
        encoded.append(number & (_MORE - 1) | _MORE)
        number >>= _BITS
    encoded.append(number)
    return bytes(encoded)


def key(number: int, wire_type: int) -> bytes:
    """Return what a field begins with."""
    return varint(number << 3 | wire_type)


def message(number: int, content: bytes) -> bytes:
    """Return a field that is a message, bytes, a string in UTF-8, or packed numbers."""
    return b"".join((key(number, BYTES), varint(len(content)), content))


def signed(number: int, value: int) -> bytes:
    """Return a field of the type ``int32``, ``int64``, ``uint64``, ``bool`` or ``enum``."""
    return key(number, VARINT) + varint(value % _INT64)


def zigzag(number: int, value: int) -> bytes:
    """Return a field of the type ``sint32`` or ``sint64``."""
    return key(number, VARINT) + varint(value << 1 if value >= 0 else (-value << 1) - 1)


def double(number: int, value: float) -> bytes:
    """Return a field of the type ``double``."""
    return key(number, FIXED64) + _DOUBLE.pack(value)


def fixed64(number: int, value: int) -> bytes:
    """Return a field of the type ``fixed64``."""
    return key(number, FIXED64) + _FIXED64.pack(value)


def fields(encoded: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a message: their numbers, and their values, ints for varints and otherwise bytes.

    Raises:
        ValueError: it isn't a message.
    """
    at = 0
    while at < len(encoded):
        begin, at = _read_varint(encoded, at)
        number, wire_type = begin >> 3, begin & 7
        if wire_type == VARINT:
            value, at = _read_varint(encoded, at)
            yield number, value
            continue
        if wire_type == BYTES:
            size, at = _read_varint(encoded, at)
        elif wire_type in (FIXED64, FIXED32):
            size = 8 if wire_type == FIXED64 else 4
        else:
            raise ValueError(f"no wire type of Protocol Buffers: {wire_type}")
        if at + size > len(encoded):
            raise ValueError("a message that breaks off")
        yield number, encoded[at : at + size]
        at += size


def _read_varint(encoded: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place, byte in enumerate(encoded[at : at + _LONGEST_VARINT]):
        number |= (byte & (_MORE - 1)) << (_BITS * place)
        if byte < _MORE:
            return number, at + place + 1
    raise ValueError("a message that breaks off")
