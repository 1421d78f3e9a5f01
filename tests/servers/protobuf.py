"""Protobuf's wire format, written by hand: requests of the tests that share no code with a sink."""

import struct

__all__ = ["fixed64", "integer", "message", "varint"]


def varint(value: int) -> bytes:
    """Return a number of at least 0 in groups of seven bits, the lowest first."""
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7) if value > 0x7F else bytes([value])


def message(field: int, content: bytes | str) -> bytes:
    """Return a field that is a message, a text, bytes or packed numbers.

    Args:
        field: the field's number, below 16 like those of the other functions.
        content: the encoded message, or the text.
    """
    content = content.encode() if isinstance(content, str) else content
    return bytes([field << 3 | 2]) + varint(len(content)) + content


def integer(field: int, value: int) -> bytes:
    """Return a field that is an enumeration, a truth value, or an integer of at least 0 and not of a fixed size."""
    return bytes([field << 3]) + varint(value)


def fixed64(field: int, value: float) -> bytes:
    """Return a field of eight bytes: a double for a float, a `fixed64` or `sfixed64` for an integer."""
    return bytes([field << 3 | 1]) + struct.pack("<q" if isinstance(value, int) else "<d", value)
