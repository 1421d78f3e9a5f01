"""The outcome of each event in the response to a ``_bulk`` request.

===============================================  =========================================
2xx                                              delivered
409, to ``create``                               delivered: the document exists already, under its own id
408, 425, 429, 5xx                               these items alone are retried
any other status                                 these items alone are rejected, with the server's reason
no status, or a different number of items        retried: ids make that safe
===============================================  =========================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from typing import Any, cast

from ...abc import Receipt, label_text

__all__ = ["FILTER_PATH", "receipt_of_items"]

FILTER_PATH = "errors,items.*.status,items.*.error.type,items.*.error.reason"
"""The requested parts of the response. Every item has a status, so no item is omitted or moved."""

_REASON_MAX_CHARS = 300

_RETRYABLE = frozenset({408, 425, 429})
"""As for whole requests. 429: a full write queue, or a disk that is nearly full; 503: a shard isn't available yet."""

_NOT_PROCESSED = frozenset({425, 429, 503})
"""Statuses that show that the server didn't process the item."""

_NO_STATUS = 0


def receipt_of_items(body: bytes, items: int, action: str, scrubbed: Callable[[str], str]) -> Receipt:
    """Return the receipt for a 2xx response, item by item.

    Args:
        body: the response's body.
        items: the number of events that were sent.
        action: ``create`` or ``index``.
        scrubbed: removes credentials from the server's text.
    """
    if body == _all_created(items, action):
        return Receipt()
    try:
        results = _parsed_results(json.loads(body), items)
    except (ValueError, TypeError, RecursionError) as exc:
        words = scrubbed(f"not a _bulk response: {exc}")[:_REASON_MAX_CHARS]
        return Receipt.retried(error=words, in_doubt=True)
    retry: list[int] = []
    rejected: dict[int, str] = {}
    first = ""
    in_doubt = False
    for at, (status, error) in enumerate(results):
        if 200 <= status < 300 or (status == 409 and action == "create"):
            continue
        if status == _NO_STATUS or status in _RETRYABLE or status >= 500:
            first = first or scrubbed(_reason(status, error))[:_REASON_MAX_CHARS]
            retry.append(at)
            in_doubt = in_doubt or status not in _NOT_PROCESSED
        else:
            rejected[at] = _reason(status, error)
    rejected = dict(zip(rejected, _scrubbed_reasons(rejected.values(), scrubbed), strict=True))
    if not retry:
        return Receipt(rejected=rejected)
    words = f"{len(retry)} of {items} events to be sent again: {first}"
    return Receipt.retried(error=words, retry=retry, rejected=rejected, in_doubt=in_doubt)


def _scrubbed_reasons(reasons: Collection[str], scrubbed: Callable[[str], str]) -> Iterable[str]:
    """Return truncated reasons without credentials. They are scrubbed together: there may be 5000 different ones."""
    together = "\0".join(reason.replace("\0", " ") for reason in reasons)
    found = scrubbed(together).split("\0") if reasons else []
    if len(found) != len(reasons):
        found = [*map(scrubbed, reasons)]
    return [reason[:_REASON_MAX_CHARS] for reason in found]


def _all_created(items: int, action: str) -> bytes:
    """Return by far the most frequent response: comparing costs a hundredth of parsing."""
    item = f'{{"{action}":{{"status":201}}}}'.encode()
    return b'{"errors":false,"items":[%b]}' % b",".join([item] * items)


def _parsed_results(response: Any, expected: int) -> list[tuple[int, object]]:
    """Return each item's status, and its error if there is one.

    Raises:
        TypeError: the response has no items.
        ValueError: it has a different number of items.
    """
    items: Any = cast("dict[str, Any]", response).get("items") if isinstance(response, dict) else None
    if not isinstance(items, list):
        raise TypeError("no items")
    results = [_result(item) for item in items]  # pyright: ignore[reportUnknownVariableType]
    if len(results) != expected:
        raise ValueError(f"{len(results)} items for {expected} events")
    return results


def _result(item: Any) -> tuple[int, object]:
    if not isinstance(item, dict) or len(cast("dict[str, Any]", item)) != 1:
        return _NO_STATUS, None
    [result] = cast("dict[str, Any]", item).values()
    if not isinstance(result, dict):
        return _NO_STATUS, None
    fields = cast("dict[str, Any]", result)
    status = fields.get("status")
    return (status if type(status) is int and status > 0 else _NO_STATUS), fields.get("error")


def _reason(status: int, error: object) -> str:
    """Return an item's error as one short line: the server's type and reason."""
    parts = [f"HTTP {status}" if status else "no status"]
    if isinstance(error, dict):
        result = cast("dict[str, Any]", error)
        parts += [words for key in ("type", "reason") if isinstance(words := result.get(key), str)]
    elif isinstance(error, str):
        parts.append(error)
    return label_text(" ".join(": ".join(parts).split())) or ""
