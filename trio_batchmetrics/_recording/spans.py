"""What surrounds a piece of work: ``with histogram.time():``, ``with gauge.track():``, and both as decorators.

One object may be used any number of times, also at once: nested, in many tasks and threads, in generators. What a
``with`` block has to remember from its beginning to its end is kept by the frame it stands in, the only thing that a
``with`` statement has in common with its end and with no other: blocks in one frame end in reverse order, which blocks
of one task do not (two generators of it may take turns). As a decorator it is kept in the call's own frame.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import partial, wraps
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import trio

__all__ = ["Span", "Timing", "Tracking", "is_async"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_PER_SECOND = {"ms": 1e3, "us": 1e6, "ns": 1e9, "min": 1 / 60, "h": 1 / 3600, "d": 1 / 86_400}
"""UCUM's units of time: how many of them are a second. Any other unit is taken for seconds."""


def is_async(function: object) -> bool:
    """Tell whether calling something gives a coroutine or an async generator, as far as that can be seen before."""
    for one in (function, getattr(type(function), "__call__", None)):  # noqa: B004 - an object with an async __call__
        if inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one):
            return True
    return False


class Span:
    """A context manager and decorator, for any number of uses, one after the other or at once.

    It may be used in any task and any thread. The work's outcome is passed on as it is: its value, its exception, its
    cancellation. Entering and leaving it are not checkpoints, and raise nothing.

    As a decorator it takes functions, ``async def`` functions, generators and async generators, and surrounds each call
    to its end: a coroutine's from its first step to its last, a generator's until it is exhausted or closed. An
    ``ExitStack`` enters in one frame and leaves in another: give it a span of its own.
    """

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        """Made by an instrument."""
        self._begun: dict[int, list[float]] = {}

    def _begin(self) -> float:
        raise NotImplementedError

    def _end(self, begun: float) -> None:
        raise NotImplementedError

    def _forget(self, begun: float) -> None:
        """Leave nothing behind of what began: it was not the work."""
        raise NotImplementedError

    @trio.lowlevel.enable_ki_protection
    def __enter__(self) -> None:
        frame = id(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
        self._begun.setdefault(frame, []).append(self._begin())

    @trio.lowlevel.enable_ki_protection
    def __exit__(self, *_: object) -> None:
        frame = id(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
        begun = self._begun.get(frame)
        if begun is None:  # left in another frame than it was entered in, by an ExitStack
            frame, begun = self._begun.popitem()
            self._begun[frame] = begun
        self._end(begun.pop())
        if not begun:
            self._begun.pop(frame, None)

    def __call__(self, function: Callable[_P, _T]) -> Callable[_P, _T]:
        """Surround each call of a function."""
        call: Any = function
        while isinstance(call, partial):
            call = call.func
        if inspect.isasyncgenfunction(call):
            return cast("Callable[_P, _T]", self._async_generator(cast("Any", function)))
        if inspect.isgeneratorfunction(call):
            return cast("Callable[_P, _T]", self._generator(cast("Any", function)))
        if is_async(call):
            return cast("Callable[_P, _T]", self._coroutine(cast("Any", function)))
        return self._function(function)

    def _function(self, function: Callable[_P, _T]) -> Callable[_P, _T]:
        @wraps(function)
        def surrounded(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            begun = self._begin()
            try:
                result: Any = function(*args, **kwargs)
            except BaseException:
                self._end(begun)
                raise
            if inspect.iscoroutine(result):  # another decorator has hidden that it is one
                self._forget(begun)
                return cast("_T", self._awaited(result))
            self._end(begun)
            return cast("_T", result)

        return surrounded

    async def _awaited(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        with self:
            return await coroutine

    def _coroutine(self, function: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, Coroutine[Any, Any, _T]]:
        @wraps(function)
        async def surrounded(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            with self:
                return await function(*args, **kwargs)

        return surrounded

    def _generator(self, function: Callable[_P, Generator[Any, Any, _T]]) -> Callable[_P, Generator[Any, Any, _T]]:
        @wraps(function)
        def surrounded(*args: _P.args, **kwargs: _P.kwargs) -> Generator[Any, Any, _T]:
            with self:
                return (yield from function(*args, **kwargs))

        return surrounded

    def _async_generator(
        self, function: Callable[_P, AsyncGenerator[_T, Any]]
    ) -> Callable[_P, AsyncGenerator[_T, Any]]:
        @wraps(function)
        async def surrounded(*args: _P.args, **kwargs: _P.kwargs) -> AsyncGenerator[_T, Any]:
            with self:
                values = function(*args, **kwargs)
                try:
                    step = values.__anext__()
                    while True:
                        try:
                            value = await step
                        except StopAsyncIteration:
                            return
                        try:
                            sent = yield value  # noqa: ASYNC119 - the inner generator is closed below, as this one is
                        except GeneratorExit:
                            raise
                        except BaseException as exc:  # noqa: BLE001, ASYNC103 - thrown in: the inner one's to handle
                            step = values.athrow(exc)
                        else:
                            step = values.asend(sent)
                finally:
                    await values.aclose()  # noqa: ASYNC102 - whatever the inner generator awaits there, it would without us

        return surrounded


class _Clock(Protocol):
    def now(self) -> float:
        """Return the time in seconds."""
        ...


class Timing(Span):
    """Observes how long the work takes, however it ends, by Trio's clock and in the histogram's unit."""

    __slots__ = ("_clock", "_observe", "_per_second")

    def __init__(self, observe: Callable[[float], None], clock: _Clock, unit: str) -> None:
        """Made by ``histogram.time()``.

        Args:
            observe: takes how long.
            clock: tells the time, in seconds.
            unit: what to observe in; seconds, where it is no unit of time.
        """
        super().__init__()
        self._observe = observe
        self._clock = clock
        self._per_second = _PER_SECOND.get(unit, 1)

    def _begin(self) -> float:
        return self._clock.now()

    def _end(self, begun: float) -> None:
        self._observe((self._clock.now() - begun) * self._per_second)

    def _forget(self, begun: float) -> None:
        pass


class Tracking(Span):
    """Counts the work while it is in flight: one more as it begins, one less as it ends, however it does."""

    __slots__ = ("_dec", "_inc")

    def __init__(self, inc: Callable[[], None], dec: Callable[[], None]) -> None:
        """Made by ``gauge.track()``.

        Args:
            inc: one more.
            dec: one less.
        """
        super().__init__()
        self._inc = inc
        self._dec = dec

    def _begin(self) -> float:
        self._inc()
        return 0.0

    def _end(self, begun: float) -> None:
        self._dec()

    _forget = _end
