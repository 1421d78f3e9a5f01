"""Nothing that a traceback with locals shows may raise: half-constructed objects have a repr."""

import inspect
from types import ModuleType
from typing import Any

import pytest

import trio_batchmetrics
from trio_batchmetrics import abc, sinks, testing
from trio_batchmetrics.sinks import _http
from trio_batchmetrics.sinks._function import FunctionSink


def _classes(*modules: ModuleType) -> dict[str, type[Any]]:
    return {
        f"{module.__name__}.{name}": value
        for module in modules
        for name in module.__all__
        if inspect.isclass(value := getattr(module, name))
    }


CLASSES = _classes(trio_batchmetrics, sinks, abc, testing, _http) | {"FunctionSink": FunctionSink}


@pytest.mark.parametrize("name", CLASSES)
def test_an_object_that_init_has_not_set_up_has_a_repr(name: str) -> None:
    """As where ``__init__`` raised, and a debugger or an error reporter shows its locals."""
    made = CLASSES[name]
    if inspect.isabstract(made) or issubclass(made, dict) or made.__new__ is not object.__new__:
        made = type(made.__name__, (made,), {"__abstractmethods__": frozenset()}) if inspect.isabstract(made) else made
        if made.__new__ is not object.__new__ and not issubclass(made, BaseException | dict):
            pytest.skip("made by a function of its own")
    assert isinstance(repr(made.__new__(made)), str)
    assert isinstance(str(made.__new__(made)), str)
