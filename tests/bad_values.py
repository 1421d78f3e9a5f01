"""What makes an event invalid, as lists: what spec and docs say, written out once for the tests that need it."""

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
"""Bad wherever a value is measured."""

NOT_VALUES = [*NOT_NUMBERS, timedelta(seconds=1)]
"""Bad where what is measured isn't a duration."""

NOT_DURATIONS = [*NOT_NUMBERS, -1, -0.001, -5e-324, timedelta(microseconds=-1), Decimal("-0.5"), Fraction(-1, 2)]
"""Bad where seconds are measured."""

NOT_COUNTS = [*NOT_VALUES, -1, -0.001, Decimal(-1), Fraction(-1, 2)]
"""Bad for a counter."""

NOT_NAMES: list[Any] = ["", None, 3, b"name", ("name",)]
"""Bad as an instrument's name."""


class Unprintable:
    """Has no text."""

    def __str__(self) -> str:
        """Refuse."""
        raise RuntimeError("no text")

    __repr__ = __str__


class Changing:
    """A label value whose text changes."""

    def __init__(self, now: str = "early") -> None:
        """Begin."""
        self.now = now

    def __str__(self) -> str:
        """Say what it is now."""
        return self.now


class NoText:
    """Says that its text is something else than a str."""

    def __str__(self) -> str:
        """Break the rules."""
        wrong: Any = 3
        return wrong  # type: ignore[no-any-return]


class RaisingMapping(Mapping[str, str]):
    """Raises as soon as it is read."""

    def __getitem__(self, key: str) -> NoReturn:
        """Refuse."""
        raise RuntimeError("unreadable")

    def __iter__(self) -> Iterator[str]:
        """Refuse."""
        raise RuntimeError("unreadable")

    def __len__(self) -> int:
        """Say that there is something to read."""
        return 1


class LyingMapping(RaisingMapping):
    """Names a label and then has no value for it."""

    def __iter__(self) -> Iterator[str]:
        """Name a label."""
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
"""Bad as the labels of a named event."""


class EvilInt(int):
    """An int that raises when anything is asked of it."""

    def __float__(self) -> float:
        """Refuse."""
        raise RuntimeError("no float")


class EvilFloat(float):
    """A float that raises when it is worked with."""

    def __float__(self) -> float:
        """Refuse."""
        raise RuntimeError("no float")

    def __lt__(self, other: object) -> bool:
        """Refuse."""
        raise RuntimeError("no order")


class EvilClass:
    """Raises when it is asked what it is, as some lazy proxies do."""

    @property  # type: ignore[misc]
    def __class__(self) -> NoReturn:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """Refuse."""
        raise RuntimeError("no class")


class LikeInt:
    """A whole number of another library, as NumPy's are."""

    def __init__(self, value: int) -> None:
        """Stand for a value."""
        self.value = value

    def __index__(self) -> int:
        """Return the value, exactly."""
        return self.value

    def __float__(self) -> float:
        """Return the value as a float, as NumPy's integers do."""
        return float(self.value)


class LikeFloat:
    """A number of another library."""

    def __init__(self, value: float) -> None:
        """Stand for a value."""
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
"""Numbers that are neither an int nor a float, and their values."""

EVIL: list[Callable[[], Any]] = [lambda: EvilInt(3), lambda: EvilFloat(3.0), EvilClass]
"""Make measured values that run code of their own, and raise. (pytest would stumble over the last one itself.)"""


def shown(value: object) -> str:
    """Name a test's parameter by something short that can always be made."""
    if type(value) is int and abs(value) > 1e9:
        return "huge" if value > 0 else "minus_huge"
    if type(value) is Fraction and abs(value) > 1e9:
        return "huge_fraction"
    if type(value) in (int, float, bool, str, bytes, type(None), timedelta, Decimal, Fraction):
        return repr(value)
    return type(value).__name__
