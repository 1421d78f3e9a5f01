"""Nothing that a traceback with locals shows may raise: unfinished objects have a repr."""

import inspect
from types import ModuleType
from typing import Any

import pytest

import trio_batchmetrics
from trio_batchmetrics import BatchMetricsConfig, abc, label, metric_event, sinks, testing
from trio_batchmetrics._http import Endpoint, HTTPSink
from trio_batchmetrics.sinks._function import FunctionSink


@metric_event
class Mine:
    """An event class of a user."""

    what: str = label("what")


def _classes(*modules: ModuleType) -> dict[str, type[Any]]:
    return {
        name: value
        for module in modules
        for name in module.__all__
        if inspect.isclass(value := getattr(module, name)) and not issubclass(value, BaseException | abc.Kind)
    }


CLASSES: dict[str, Any] = {
    **_classes(trio_batchmetrics, sinks, abc, testing),
    **{made.__name__: made for made in (Mine, FunctionSink, HTTPSink, Endpoint)},
}


@pytest.mark.parametrize("name", CLASSES)
def test_an_object_that_init_has_not_set_up_has_a_repr(name: str) -> None:
    """``__init__`` may have raised, for example, and a debugger or an error reporter shows the locals."""
    made = CLASSES[name]
    if inspect.isabstract(made):
        made = type(name, (made,), dict.fromkeys(made.__abstractmethods__))
    half = object.__new__(made)
    assert name in repr(half)


def test_the_locals_of_a_refused_configuration_can_be_shown() -> None:
    """Any tool that prints a traceback with locals can show them."""
    bounds: Any = {"a": ["x"]}
    with pytest.raises(ValueError, match="bounds") as caught:
        BatchMetricsConfig(bounds=bounds)
    frames = [entry.locals for entry in caught.traceback]
    assert all(repr(value) for frame in frames for value in frame.values() if not inspect.ismodule(value))


def test_a_finished_object_shows_itself_as_before() -> None:
    """The tolerant repr applies only to unfinished ones."""
    assert repr(Mine("x")).startswith("Mine(what='x', timestamp=")
    assert repr(abc.Receipt(error="e")).startswith("Receipt(rejected={}, ")
