"""Numbers as text: whichever way they are written, they read as the same number."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.helpers import examples
from trio_batchmetrics._events import numbers as _numbers

FLOATS = st.lists(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, -0.0, 1e-5, 1e-4, 9.999e-5, 1e16, 9999999999999998.0, 1e22, 1e23, 5e-324, -1e-5, -1e16])
    | st.floats(0, 1)
    | st.integers(-(2**53), 2**53).map(float)
)


@pytest.fixture(params=["repr", "msgspec"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Simulate that msgspec is absent, or require it."""
    found: str = request.param
    if found == "msgspec":
        pytest.importorskip("msgspec")
        assert _numbers._encode is not None
    else:
        monkeypatch.setattr(_numbers, "_encode", None)
    return found


def in_every_way(numbers: Sequence[Any], write: Callable[[Sequence[Any]], list[str]]) -> list[list[str]]:
    """Return numbers as texts, with msgspec and without."""
    found = [write(numbers)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_numbers, "_encode", None)
        found.append(write(numbers))
    return found


@given(numbers=FLOATS)
def test_floats_are_read_back_as_they_were(numbers: list[float]) -> None:
    """Floats are the same to the last bit, including the sign of zero, for Python and as JSON."""
    for texts in in_every_way(numbers, _numbers.number_texts):
        assert len(texts) == len(numbers)
        for text, number in zip(texts, numbers, strict=True):
            for found in (float(text), json.loads(text)):
                assert isinstance(found, float)
                assert math.copysign(1, found) == math.copysign(1, number)
                assert found == number


@given(numbers=FLOATS)
@settings(max_examples=examples(300))
@example(numbers=[1e-5, 1e16, 1e22, 5e-324, -0.0, 0.0, 1e-4, 9999999999999998.0, -1e16, -1e-5, -1e-4])
@example(numbers=[1e16])
@example(numbers=[-1e16, 1.0])
@example(numbers=[1.0, -0.0])
@example(numbers=[9.999999999999999e-05, 1.0])
def test_floats_of_stored_events_are_written_as_repr_does(numbers: list[float]) -> None:
    """So a document does not depend on whether msgspec is installed."""
    assert in_every_way(numbers, _numbers.float_texts) == [[*map(repr, numbers)]] * 2
    assert in_every_way(tuple(numbers), _numbers.float_texts) == [[*map(repr, numbers)]] * 2


@given(numbers=st.lists(st.integers(-(2**63), 2**64 - 1)))
def test_ints_are_written_with_all_their_digits(numbers: list[int]) -> None:
    """Timestamps need this."""
    assert in_every_way(numbers, _numbers.number_texts) == [[*map(str, numbers)]] * 2


@given(data=st.data(), digits=st.sampled_from([1, 2, 9, 10, 18]))
def test_ints_are_padded_with_zeros_and_never_cut(data: st.DataObject, digits: int) -> None:
    """An int of more digits than that is written in full, wherever it is, and so are those around it."""
    most = 10**digits
    near = st.sampled_from([0, 1, 9, most // 10, most - 1])
    numbers = data.draw(st.lists(st.integers(0, most - 1) | near, max_size=5))
    wanted = [str(number).zfill(digits) for number in numbers]
    assert in_every_way(numbers, lambda some: _numbers.padded_texts(some, digits)) == [wanted] * 2
    at = data.draw(st.integers(0, len(numbers)))
    long = data.draw(st.sampled_from([most, most + 1, 2 * most - 1, 2 * most, 10 * most, 11 * most]))
    longer = [*numbers[:at], long, *numbers[at:]]
    found = in_every_way(longer, lambda some: _numbers.padded_texts(some, digits))
    assert found == [[*wanted[:at], str(long), *wanted[at:]]] * 2


def test_msgspec_is_used_where_it_is_installed(way: str) -> None:
    """The tests run with msgspec installed, so they test the fast path; it writes some floats in another way."""
    assert _numbers.number_texts([1e16]) == ["1e+16" if way == "repr" else "1e16"]
