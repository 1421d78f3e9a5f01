"""Spans around a piece of work: ``with histogram.time():``, ``with gauge.track():``, and both as decorators.

One span may be used any number of times, also concurrently: nested, in many tasks and threads, in generators. The state
that a ``with`` block keeps from entry to exit is keyed by the block's frame, the only thing that its entry and exit
share with each other and with no other block. Blocks in one frame end in reverse order, which blocks of one task don't
(two of its generators may take turns). A decorator's state is kept in the frame of the call itself.
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
"""UCUM's units of time: how many of each make a second. Any other unit is treated as seconds."""


def is_async(function: object) -> bool:
    """Return whether a call will give a coroutine or an async generator, as far as that is known before the call."""
    for one in (function, getattr(type(function), "__call__", None)):  # noqa: B004 - an object with an async __call__
        if inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one):
            return True
    return False


class Span:
    """A context manager and decorator that can be used any number of times, one after the other or concurrently.

    It may be used in any task and any thread. It passes the work's outcome through unchanged: its value, its exception,
    its cancellation. Entering and leaving it aren't checkpoints, and raise nothing.

    As a decorator it takes functions, ``async def`` functions, generators and async generators, and surrounds each call
    to its end: a coroutine from its first step to its last, a generator until it is exhausted or closed. An
    ``ExitStack`` enters in one frame and leaves in another: give it a span of its own.
    """

    __slots__ = ("_starts",)

    def __init__(self) -> None:
        """Created by an instrument."""
        self._starts: dict[int, list[float]] = {}

    def _begin(self) -> float:
        raise NotImplementedError

    def _end(self, start: float) -> None:
        raise NotImplementedError

    def _discard(self, start: float) -> None:
        """Discard a start that turned out not to be the work's."""
        raise NotImplementedError

    @trio.lowlevel.enable_ki_protection
    def __enter__(self) -> None:
        frame = id(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
        self._starts.setdefault(frame, []).append(self._begin())

    @trio.lowlevel.enable_ki_protection
    def __exit__(self, *_: object) -> None:
        frame = id(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
        starts = self._starts.get(frame)
        if starts is None:  # an ExitStack leaves it in another frame than it entered it in
            frame, starts = self._starts.popitem()
            self._starts[frame] = starts
        self._end(starts.pop())
        if not starts:
            self._starts.pop(frame, None)

    def __call__(self, function: Callable[_P, _T]) -> Callable[_P, _T]:
        """Decorate a function: the span surrounds each of its calls."""
        call: Any = function
        while isinstance(call, partial):
            call = call.func
        if inspect.isasyncgenfunction(call):
            return cast("Callable[_P, _T]", self._wrap_async_generator(cast("Any", function)))
        if inspect.isgeneratorfunction(call):
            return cast("Callable[_P, _T]", self._wrap_generator(cast("Any", function)))
        if is_async(call):
            return cast("Callable[_P, _T]", self._wrap_coroutine(cast("Any", function)))
        return self._wrap_function(function)

    def _wrap_function(self, function: Callable[_P, _T]) -> Callable[_P, _T]:
        @wraps(function)
        def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            start = self._begin()
            try:
                result: Any = function(*args, **kwargs)
            except BaseException:
                self._end(start)
                raise
            if inspect.iscoroutine(result):  # another decorator hides that the function is async
                self._discard(start)
                return cast("_T", self._await(result))
            self._end(start)
            return cast("_T", result)

        return wrapper

    async def _await(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        with self:
            return await coroutine

    def _wrap_coroutine(self, function: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, Coroutine[Any, Any, _T]]:
        @wraps(function)
        async def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            with self:
                return await function(*args, **kwargs)

        return wrapper

    def _wrap_generator(self, function: Callable[_P, Generator[Any, Any, _T]]) -> Callable[_P, Generator[Any, Any, _T]]:
        @wraps(function)
        def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> Generator[Any, Any, _T]:
            with self:
                return (yield from function(*args, **kwargs))

        return wrapper

    def _wrap_async_generator(
        self, function: Callable[_P, AsyncGenerator[_T, Any]]
    ) -> Callable[_P, AsyncGenerator[_T, Any]]:
        @wraps(function)
        async def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> AsyncGenerator[_T, Any]:
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
                            sent = yield value  # noqa: ASYNC119 - the inner generator is closed below, like this one
                        except GeneratorExit:
                            raise
                        except BaseException as exc:  # noqa: BLE001, ASYNC103 - thrown in: for the inner one to handle
                            step = values.athrow(exc)
                        else:
                            step = values.asend(sent)
                finally:
                    await values.aclose()  # noqa: ASYNC102 - any await in there would happen without the span, too

        return wrapper


class _Clock(Protocol):
    def now(self) -> float:
        """Return the time in seconds."""
        ...


class Timing(Span):
    """Observes how long the work takes, however it ends, by Trio's clock and in the histogram's unit."""

    __slots__ = ("_clock", "_observe", "_per_second")

    def __init__(self, observe: Callable[[float], None], clock: _Clock, unit: str) -> None:
        """Created by ``histogram.time()``.

        Args:
            observe: receives the duration.
            clock: provides the time, in seconds.
            unit: the unit to observe in; if it isn't a unit of time, seconds.
        """
        super().__init__()
        self._observe = observe
        self._clock = clock
        self._per_second = _PER_SECOND.get(unit, 1)

    def _begin(self) -> float:
        return self._clock.now()

    def _end(self, start: float) -> None:
        self._observe((self._clock.now() - start) * self._per_second)

    def _discard(self, start: float) -> None:
        pass


class Tracking(Span):
    """Counts work in flight: plus one when it begins, minus one when it ends, however it ends."""

    __slots__ = ("_dec", "_inc")

    def __init__(self, inc: Callable[[], None], dec: Callable[[], None]) -> None:
        """Created by ``gauge.track()``.

        Args:
            inc: adds one.
            dec: subtracts one.
        """
        super().__init__()
        self._inc = inc
        self._dec = dec

    def _begin(self) -> float:
        self._inc()
        return 0.0

    def _end(self, start: float) -> None:
        self._dec()

    _discard = _end
