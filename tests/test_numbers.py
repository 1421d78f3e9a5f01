"""Numbers as text: whichever way they are written, they read as the same number."""

import json
import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_batchmetrics._events import numbers as _numbers

FLOATS = st.lists(st.floats(allow_nan=False, allow_infinity=False))
WAYS = [way for way in (_numbers._without_msgspec, _numbers._with_msgspec()) if way is not None]


@pytest.mark.parametrize("way", WAYS, ids=["repr", "msgspec"][: len(WAYS)])
@given(numbers=FLOATS)
def test_floats_are_read_back_as_they_were(way: Callable[[Sequence[float]], list[str]], numbers: list[float]) -> None:
    """Floats are the same to the last bit, including the sign of zero, for Python and as JSON."""
    texts = way(numbers)
    assert len(texts) == len(numbers)
    for text, number in zip(texts, numbers, strict=True):
        for found in (float(text), json.loads(text)):
            assert isinstance(found, float)
            assert math.copysign(1, found) == math.copysign(1, number)
            assert found == number


@pytest.mark.parametrize("way", WAYS, ids=["repr", "msgspec"][: len(WAYS)])
@given(numbers=st.lists(st.integers(-(2**63), 2**64 - 1)))
def test_ints_are_written_with_all_their_digits(
    way: Callable[[Sequence[float]], list[str]], numbers: list[int]
) -> None:
    """Timestamps need this."""
    assert way(numbers) == [*map(str, numbers)]


def test_msgspec_is_used_where_it_is_installed() -> None:
    """The tests run with msgspec installed, so they test the fast path."""
    pytest.importorskip("msgspec")
    assert len(WAYS) == 2
    assert _numbers.number_texts is not _numbers._without_msgspec
