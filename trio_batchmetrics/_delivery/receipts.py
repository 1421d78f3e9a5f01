"""Checks and normalizes a sink's return value: the result is a receipt of plain values that fits the payload."""

from __future__ import annotations

from typing import cast

from .._reprs import shown
from ..abc import Receipt

__all__ = ["DELIVERED", "describe", "normalized_receipt"]

DELIVERED = Receipt()
"""The receipt of nearly every attempt, shared."""

_ERROR_MAX_CHARS = 500


def describe(error: BaseException | str) -> str:
    """Return an error as one short line; for a group, the errors in it."""
    if isinstance(error, str):
        return error[:_ERROR_MAX_CHARS]
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return "; ".join(map(describe, group.exceptions))[:_ERROR_MAX_CHARS]
    try:
        message = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - the str() of a sink's error may raise
        message = ""
    line = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return line[:_ERROR_MAX_CHARS]


def normalized_receipt(returned: object, items: int) -> Receipt:
    """Return the sink's receipt, normalized. For an invalid return value, return a receipt that asks for a retry.

    Args:
        returned: the return value of ``send()``; None means delivered.
        items: how many events the payload has.
    """
    if returned is None:
        return DELIVERED
    if not isinstance(returned, Receipt):
        return Receipt.retried(error=f"send() must return None or a Receipt (got {type(returned).__name__})")
    try:
        return _validated(returned, items)
    except Exception as exc:  # noqa: BLE001 - a sink's receipt may contain any objects
        return Receipt.retried(error=f"send() returned an invalid Receipt: {describe(exc)}")


def _validated(receipt: Receipt, items: int) -> Receipt:
    """Return the receipt with plain values, after checking that it fits the payload.

    Raises:
        Exception: of any kind, if the receipt is invalid.
    """
    rejected = {at: str(reason) for at, reason in receipt.rejected.items()}
    retry = None if receipt.retry is None else tuple(receipt.retry)
    named = [*rejected, *(retry or ())]
    if not all(type(at) is int and 0 <= at < items for at in named):
        raise ValueError(f"it names events outside the payload of {items}")
    if len(set(named)) != len(named):
        raise ValueError("it names an event twice")
    if type(receipt.rest) is not str:
        raise TypeError(f"rest must be a str (got {shown(receipt.rest)})")
    if not isinstance(receipt.retry_after, int | float | None):
        raise TypeError(f"retry_after must be seconds (got {shown(receipt.retry_after)})")
    error = None if receipt.error is None else str(receipt.error)
    plain = Receipt(
        rejected=rejected,
        rest=receipt.rest,
        retry=retry,
        retry_after=receipt.retry_after,
        error=error,
        in_doubt=bool(receipt.in_doubt),
    )
    return plain if retry != () else Receipt(rejected=rejected, error=error)  # no retry: the others are delivered
