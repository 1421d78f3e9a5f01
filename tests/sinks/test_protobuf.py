"""The wire format of Protocol Buffers, against the reference implementation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint, NumberDataPoint

from tests.helpers import examples
from trio_batchmetrics.sinks import _protobuf as protobuf

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(INT64)
@settings(max_examples=examples(300))
def test_a_varint_is_that_of_the_reference(number: int) -> None:
    """Of each length."""
    encoded = protobuf.signed(3, number)
    assert encoded == AnyValue(int_value=number).SerializeToString()
    assert [*protobuf.fields(encoded)] == [(3, number % 2**64)]


@given(INT64, st.floats(), st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
@settings(max_examples=examples(300))
def test_each_type_of_field_is_read_by_the_reference(number: int, value: float, text: str, flag: bool) -> None:
    """Signed ints, doubles, strings, bools."""
    assert AnyValue.FromString(protobuf.signed(3, number)).int_value == number
    assert AnyValue.FromString(protobuf.signed(2, flag)).bool_value == flag
    read = AnyValue.FromString(protobuf.double(4, value)).double_value
    assert read == value or (math.isnan(read) and math.isnan(value))
    pair = protobuf.message(1, text.encode()) + protobuf.message(2, protobuf.signed(3, number))
    key_value = KeyValue.FromString(pair)
    assert (key_value.key, key_value.value.int_value) == (text, number)


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**64 - 1))
@settings(max_examples=examples(300))
def test_zigzag_and_fixed_numbers(number: int, fixed: int) -> None:
    """Exponential histograms have both."""
    assert ExponentialHistogramDataPoint.FromString(protobuf.zigzag(6, number)).scale == number
    assert NumberDataPoint.FromString(protobuf.fixed64(3, fixed)).time_unix_nano == fixed


@given(st.binary(max_size=40))
@settings(max_examples=examples(1000))
def test_any_bytes_are_fields_or_a_value_error(encoded: bytes) -> None:
    """A response may be anything."""
    try:
        found = [*protobuf.fields(encoded)]
    except ValueError:
        return
    assert all(number >= 0 for number, _ in found)


@pytest.mark.parametrize("encoded", [b"\x0a\x05ab", b"\x80", b"\x09\x00", b"\x0b", b"\x80" * 11 + b"\x01"])
def test_a_message_that_breaks_off_is_an_error(encoded: bytes) -> None:
    """So the caller can tell that it isn't one."""
    with pytest.raises(ValueError, match=r"breaks off|no wire type"):
        list(protobuf.fields(encoded))
