"""Lists of what makes an event invalid: the rules of spec and docs, written out once for the tests that need them."""

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NoReturn

HUGE = 10**400
"""An int that no float can hold."""

NOT_NUMBERS: list[Any] = [
    True,
    False,
    "1",
    b"1",
    bytearray(b"1"),
    memoryview(b"1"),
    None,
    math.nan,
    math.inf,
    -math.inf,
    HUGE,
    -HUGE,
    1j,
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    Decimal("1e400"),
    Fraction(HUGE),
    [1.0],
    object(),
]
"""Invalid wherever a value is measured."""

NOT_VALUES = [*NOT_NUMBERS, timedelta(seconds=1)]
"""Invalid where the measure isn't a duration."""

NOT_DURATIONS = [*NOT_NUMBERS, -1, -0.001, -5e-324, timedelta(microseconds=-1), Decimal("-0.5"), Fraction(-1, 2)]
"""Invalid where seconds are measured."""

NOT_COUNTS = [*NOT_VALUES, -1, -0.001, Decimal(-1), Fraction(-1, 2)]
"""Invalid for a counter."""

NOT_NAMES: list[Any] = ["", None, 3, b"name", ("name",)]
"""Invalid as the name of an instrument."""


class Unprintable:
    """An object without a text."""

    def __str__(self) -> str:
        """Raise an error."""
        raise RuntimeError("no text")

    __repr__ = __str__


class Changing:
    """A label value whose text changes."""

    def __init__(self, now: str = "early") -> None:
        """Create a value whose text can be set later."""
        self.now = now

    def __str__(self) -> str:
        """Return the current text."""
        return self.now


class NoText:
    """An object whose ``__str__`` returns something other than a str."""

    def __str__(self) -> str:
        """Return the wrong type."""
        wrong: Any = 3
        return wrong  # type: ignore[no-any-return]


class RaisingMapping(Mapping[str, str]):
    """A mapping that raises as soon as it is read."""

    def __getitem__(self, key: str) -> NoReturn:
        """Raise an error."""
        raise RuntimeError("unreadable")

    def __iter__(self) -> Iterator[str]:
        """Raise an error."""
        raise RuntimeError("unreadable")

    def __len__(self) -> int:
        """Return that the mapping isn't empty."""
        return 1


class LyingMapping(RaisingMapping):
    """A mapping that lists a label and then has no value for it."""

    def __iter__(self) -> Iterator[str]:
        """Yield the name of a label."""
        return iter(["region"])


NOT_LABELS: list[Any] = [
    None,
    "region=eu",
    3,
    [("region", "eu")],
    {"region"},
    RaisingMapping(),
    LyingMapping(),
    {"region": Unprintable()},
    {"region": NoText()},
    {Unprintable(): "eu"},
]
"""Invalid as the labels of a named event."""


class EvilInt(int):
    """An int whose methods raise."""

    def __float__(self) -> float:
        """Raise an error."""
        raise RuntimeError("no float")


class EvilFloat(float):
    """A float that raises when it is used."""

    def __float__(self) -> float:
        """Raise an error."""
        raise RuntimeError("no float")

    def __lt__(self, other: object) -> bool:
        """Raise an error."""
        raise RuntimeError("no order")


class EvilClass:
    """An object that raises when it is asked for its class, as some lazy proxies do."""

    @property  # type: ignore[misc]
    def __class__(self) -> NoReturn:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """Raise an error."""
        raise RuntimeError("no class")


class LikeInt:
    """An integer type of another library, like those of NumPy."""

    def __init__(self, value: int) -> None:
        """Wrap a value."""
        self.value = value

    def __index__(self) -> int:
        """Return the exact value."""
        return self.value

    def __float__(self) -> float:
        """Return the value as a float, as NumPy's integers do."""
        return float(self.value)


class LikeFloat:
    """A number type of another library."""

    def __init__(self, value: float) -> None:
        """Wrap a value."""
        self.value = value

    def __float__(self) -> float:
        """Return the value."""
        return self.value


OTHER_NUMBERS: list[tuple[Any, float]] = [
    (Decimal("1.5"), 1.5),
    (Decimal(3), 3.0),
    (Fraction(1, 2), 0.5),
    (LikeInt(3), 3),
    (LikeInt(2**60 + 1), 2**60 + 1),
    (LikeFloat(0.25), 0.25),
]
"""Numbers that are neither an int nor a float, with their values."""

EVIL: list[Callable[[], Any]] = [lambda: EvilInt(3), lambda: EvilFloat(3.0), EvilClass]
"""Factories of measured values that run code of their own and raise. (pytest itself would fail on the last one.)"""


def shown(value: object) -> str:
    """Return a short id for a test's parameter, which can always be built."""
    if type(value) is int and abs(value) > 1e9:
        return "huge" if value > 0 else "minus_huge"
    if type(value) is Fraction and abs(value) > 1e9:
        return "huge_fraction"
    if type(value) in (int, float, bool, str, bytes, type(None), timedelta, Decimal, Fraction):
        return repr(value)
    return type(value).__name__
