"""A receipt states one outcome, and fields that contradict it are refused at its construction."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from trio_batchmetrics import ConfigError
from trio_batchmetrics.abc import Receipt

INVALID: list[tuple[dict[str, Any], str]] = [
    ({"rest": "too large"}, "rest must be one of delivered, retry, split, failed (got 'too large')"),
    ({"rest": None}, "rest must be one of delivered, retry, split, failed (got None)"),
    ({"rest": ["retry"]}, "rest must be one of delivered, retry, split, failed (got ['retry'])"),
    ({"retry": True}, "retry must be None if rest is 'delivered' (got True)"),
    *(
        ({"rest": rest, name: value}, f"{name} must be {rule} if rest is {rest!r} (got {value!r})")
        for name, value, rule, rests in (
            ("retry", [1], "None", ("delivered", "split", "failed")),
            ("retry", [], "None", ("delivered", "split", "failed")),
            ("retry_after", 5, "None", ("delivered", "split", "failed")),
            ("retry_after", 0, "None", ("delivered", "split", "failed")),
            ("in_doubt", True, "False", ("delivered", "failed")),
        )
        for rest in rests
    ),
    (
        {"rest": "retry", "rejected": {1: "bad", 2: "bad"}, "retry": [0, 2]},
        "retry must be positions that are not in rejected (got [2])",
    ),
]


@pytest.mark.parametrize(("fields", "message"), INVALID, ids=str)
def test_fields_that_contradict_each_other_are_refused(fields: dict[str, Any], message: str) -> None:
    """The error is a ValueError, and its message has the field, the rule and the value."""
    with pytest.raises(ConfigError) as caught:
        Receipt(**fields)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"error": "2 of 7 points were dropped"},
        {"rejected": {0: "bad"}},
        *({"rest": rest, "rejected": {0: "bad"}, "error": "e"} for rest in ("delivered", "retry", "split", "failed")),
        {"rest": "retry", "retry": [1], "retry_after": 0, "rejected": {0: "bad"}, "in_doubt": True},
        {"rest": "split", "in_doubt": True},
        {"rest": "failed", "in_doubt": False, "retry": None, "retry_after": None},
    ],
    ids=str,
)
def test_every_other_combination_is_accepted(fields: dict[str, Any]) -> None:
    """The fields have the given values, and the documented defaults otherwise."""
    defaults: dict[str, Any] = {"rejected": {}, "rest": "delivered", "retry": None, "retry_after": None, "error": None}
    found = attrs.asdict(Receipt(**fields))
    assert found == {**defaults, "in_doubt": False, **fields}


def test_the_shortcuts_are_receipts_with_that_outcome() -> None:
    """They take the fields that the outcome allows."""
    assert Receipt.retried() == Receipt(rest="retry")
    assert Receipt.retried(7, error="429", retry=[1], rejected={0: "bad"}, in_doubt=True) == Receipt(
        rest="retry", retry_after=7, error="429", retry=[1], rejected={0: "bad"}, in_doubt=True
    )
    assert Receipt.split() == Receipt(rest="split")
    assert Receipt.split(error="413", rejected={0: "bad"}, in_doubt=True) == Receipt(
        rest="split", error="413", rejected={0: "bad"}, in_doubt=True
    )
    assert Receipt.failed("401") == Receipt(rest="failed", error="401")


@pytest.mark.parametrize("old", [{"too_large": True}, {"uncertain": True}])
def test_the_old_spelling_is_gone(old: dict[str, Any]) -> None:
    """It would be misunderstood otherwise."""
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        Receipt(**old)
