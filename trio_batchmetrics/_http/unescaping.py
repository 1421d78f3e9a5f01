r"""Finding a text in words that show it escaped, in whatever mixture of ways.

Each language has its own idea of what must be escaped: Go's JSON writes ``&`` as ``\u0026``, PHP's ``/`` as ``\/``,
JavaScript leaves ``!`` as it is in a URL where Python has ``%21``, and a page of HTML has ``&amp;``. So it is not the
text that is written in all of these ways: the escapes in the words are undone, and what is found is traced back.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["found", "plain"]

_LEVELS = 3
"""Most escapes that are inside one another: JSON in JSON in a page of HTML."""

_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(
    rf"[%\\&](?:(?<=%){_HEX}{{2}}|(?<=\\)(?:u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}|u{_HEX}{{4}}|x{_HEX}{{2}}"
    rf"|[^\w\s])|(?<=&)(?:#[0-9]{{1,7}}|#[xX]{_HEX}{{1,6}}|[A-Za-z]{{2,8}});)"
)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_BLANKS = re.compile(r"[+\s]+")
"""A plus is a space in a form; and the words of an answer have single spaces."""


def plain(text: str) -> str:
    """Return a text as :func:`found` looks for it: in UTF-8, a character for each byte, with single spaces."""
    return _BLANKS.sub(" ", _bytes(text)).strip(" ")


def found(texts: Sequence[str], words: str) -> Iterator[tuple[int, int]]:
    """Yield where any of the texts stands in words that have escapes: the places of its beginning and its end.

    Args:
        texts: as :func:`plain` returns them; none of them empty.
        words: what to look through. Where they have no escapes, nothing is looked for: the texts stand there as they
            are.
    """
    if not _are_in(texts, words):  # nearly always, and there may be thousands of reasons to look through
        return
    view = _View(words).with_each(_NOT_ASCII, lambda match: _bytes(match[0]))
    for _ in range(_LEVELS):
        view = view.with_each(_ESCAPE, _unescaped)
        yield from view.with_each(_BLANKS, lambda _: " ").places(texts)


def _are_in(texts: Sequence[str], words: str) -> bool:
    if not any(sign in words for sign in "+%&\\"):
        return False
    text = _bytes(words)
    for _ in range(_LEVELS):
        text, count = _ESCAPE.subn(_unescaped, text)
        shown = " ".join(text.replace("+", " ").split())
        if any(each in shown for each in texts):
            return True
        if not count:
            break
    return False


class _View:
    """Words with something replaced, and where each character comes from."""

    def __init__(self, text: str, starts: Sequence[int] | None = None, ends: Sequence[int] | None = None) -> None:
        self._text = text
        self._starts: Sequence[int] = range(len(text)) if starts is None else starts
        self._ends: Sequence[int] = range(1, len(text) + 1) if ends is None else ends

    def with_each(self, pattern: re.Pattern[str], instead: Callable[[re.Match[str]], str]) -> _View:
        """Return a view in which each match is replaced; every character of what comes instead stands for all of it."""
        pieces: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        last = 0
        for match in pattern.finditer(self._text):
            begin, end = match.span()
            made = instead(match)
            pieces += self._text[last:begin], made
            starts += [*self._starts[last:begin], *[self._starts[begin]] * len(made)]
            ends += [*self._ends[last:begin], *[self._ends[end - 1]] * len(made)]
            last = end
        if not last:
            return self
        return _View(
            "".join([*pieces, self._text[last:]]), [*starts, *self._starts[last:]], [*ends, *self._ends[last:]]
        )

    def places(self, texts: Iterable[str]) -> Iterator[tuple[int, int]]:
        """Yield where texts stand."""
        for text in texts:
            at = self._text.find(text)
            while at >= 0:
                yield self._starts[at], self._ends[at + len(text) - 1]
                at = self._text.find(text, at + len(text))


def _unescaped(match: re.Match[str]) -> str:
    written = match[0]
    if written[0] == "&":
        return _bytes(html.unescape(written))
    if written[0] == "%" or written[1] == "x":
        return chr(int(written[-2:], 16))
    if written[1] == "u":
        units = b"".join(int(unit, 16).to_bytes(2, "big") for unit in written.split("\\u")[1:])
        return _bytes(units.decode("utf-16-be", "replace"))
    return written[1]


def _bytes(text: str) -> str:
    return text.encode(errors="replace").decode("latin-1")
