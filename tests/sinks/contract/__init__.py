"""The contract that any sink must pass: write a case for a sink, and the contract tests it.

How this works
==============

A case creates the sink and reads back what arrived, by means that are independent of the library: another SQLite
connection, a JSON parser, a log handler. The expected events come from :data:`SAMPLES`, written down by hand next to
the recorded events, or from the numbers that a test recorded. The contract never asks `stats()` what arrived: it checks
`stats()` against it.

A test module defines a fixture ``case`` and a class that inherits the contract::

    @pytest.fixture(params=[MyCase])
    def case(request, tmp_path):
        return request.param(tmp_path)


    class TestMySink(EventSinkContract):
        pass
"""

from tests.sinks.contract.events import EventSinkCase, EventSinkContract, account_of, ids
from tests.sinks.contract.samples import AWKWARD, FIELDS, LABELS, SAMPLES, TIMESTAMP, Arrived, LLMCall, as_arrived
from tests.sinks.contract.series import FakeSeriesSink, SeriesSinkCase, SeriesSinkContract
from tests.sinks.contract.traffic import record, until

__all__ = [
    "AWKWARD",
    "FIELDS",
    "LABELS",
    "SAMPLES",
    "TIMESTAMP",
    "Arrived",
    "EventSinkCase",
    "EventSinkContract",
    "FakeSeriesSink",
    "LLMCall",
    "SeriesSinkCase",
    "SeriesSinkContract",
    "account_of",
    "as_arrived",
    "ids",
    "record",
    "until",
]
