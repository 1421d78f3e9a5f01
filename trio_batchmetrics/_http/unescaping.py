r"""Finding secrets in text that shows them escaped, in any mixture of ways.

Each language has its own rules for what to escape: Go's JSON writes ``&`` as ``\u0026``, PHP's writes ``/`` as ``\/``,
JavaScript leaves ``!`` unchanged in a URL where Python writes ``%21``, and an HTML page has ``&amp;``. So this module
does not write a secret in all of these ways. It undoes the escapes in the text, and traces each match back.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["find_secrets", "normalized"]

_LEVELS = 3
"""Maximum depth of nested escapes: JSON in JSON in an HTML page."""

_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(
    rf"[%\\&](?:(?<=%){_HEX}{{2}}|(?<=\\)(?:u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}|u{_HEX}{{4}}|x{_HEX}{{2}}"
    rf"|[^\w\s])|(?<=&)(?:#[0-9]{{1,7}}|#[xX]{_HEX}{{1,6}}|[A-Za-z]{{2,8}});)"
)
_NON_ASCII = re.compile(r"[^\x00-\x7f]+")
_BLANKS = re.compile(r"[+\s]+")
"""A plus is a space in a form; and the excerpt of a response has single spaces."""


def normalized(text: str) -> str:
    """Return a secret in the form that :func:`find_secrets` searches: a character per UTF-8 byte, single spaces."""
    return _BLANKS.sub(" ", _bytes(text)).strip(" ")


def find_secrets(texts: Sequence[str], words: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of every place where one of the secrets occurs in a text with escapes.

    Args:
        texts: the secrets as :func:`normalized` returns them; none of them empty.
        words: the text to search. If it has no escapes, the function yields nothing: a plain replacement finds the
            secrets there.
    """
    if not _contains_any(texts, words):  # nearly always; a response may have thousands of reasons to search
        return
    view = _View(words).sub(_NON_ASCII, lambda match: _bytes(match[0]))
    for _ in range(_LEVELS):
        view = view.sub(_ESCAPE, _unescaped)
        yield from view.sub(_BLANKS, lambda _: " ").occurrences(texts)


def _contains_any(texts: Sequence[str], words: str) -> bool:
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
    """A text with replacements, and the original position of each character."""

    def __init__(self, text: str, starts: Sequence[int] | None = None, ends: Sequence[int] | None = None) -> None:
        self._text = text
        self._starts: Sequence[int] = range(len(text)) if starts is None else starts
        self._ends: Sequence[int] = range(1, len(text) + 1) if ends is None else ends

    def sub(self, pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str]) -> _View:
        """Return a view with each match replaced; every character of a replacement maps to the whole match."""
        pieces: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        last = 0
        for match in pattern.finditer(self._text):
            begin, end = match.span()
            replacement = replace(match)
            pieces += self._text[last:begin], replacement
            starts += [*self._starts[last:begin], *[self._starts[begin]] * len(replacement)]
            ends += [*self._ends[last:begin], *[self._ends[end - 1]] * len(replacement)]
            last = end
        if not last:
            return self
        return _View(
            "".join([*pieces, self._text[last:]]), [*starts, *self._starts[last:]], [*ends, *self._ends[last:]]
        )

    def occurrences(self, texts: Iterable[str]) -> Iterator[tuple[int, int]]:
        """Yield the start and end of each occurrence."""
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
