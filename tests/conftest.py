"""Set-up that pytest needs before any test runs.

The tests run on the installed package, never on the folder next to them. pytest leaves `sys.path` alone
(`--import-mode=importlib`); this module puts the repository *last* on it, so that `tests` and `examples` can be
imported, and `trio_batchmetrics` comes from site-packages. Where TEST_THE_WHEEL is set, as `make test` does, anything
else is an error.
"""

import importlib.util
import os
import signal
import sys
import sysconfig
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent

if str(REPOSITORY) not in sys.path:
    sys.path.append(str(REPOSITORY))

# By default, pytest explains a failed assert in test files only; this adds the modules that they share.
pytest.register_assert_rewrite(
    *(
        ".".join(file.relative_to(REPOSITORY).with_suffix("").parts)
        for file in (REPOSITORY / "tests").rglob("*.py")
        if file.name not in ("__init__.py", "conftest.py")
    )
)

# Use `pytest --hypothesis-profile=dev` for a first look and `nightly` for a long search. A test that asks for more or
# fewer examples than others gets as many times more or fewer in each profile (`tests.helpers.examples`).
for profile, max_examples in {"dev": 25, "ci": 100, "nightly": 2_000}.items():
    settings.register_profile(profile, max_examples=max_examples, deadline=None)
settings.load_profile("ci")

# The fixtures for real servers, and the mark `server`.
pytest_plugins = ["tests.servers.plugin"]


def _package_file() -> Path:
    """Return which `trio_batchmetrics` an import finds."""
    spec = importlib.util.find_spec("trio_batchmetrics")
    if spec is None or spec.origin is None:
        raise pytest.UsageError("trio_batchmetrics is not installed: run `make test`")
    return Path(spec.origin).resolve()


def pytest_configure() -> None:
    """Refuse to run on the source tree where the wheel is required; let Ctrl-C work where a shell has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, as under nohup
    site_packages = Path(sysconfig.get_path("purelib")).resolve()
    file = _package_file()
    if os.environ.get("TEST_THE_WHEEL") and not file.is_relative_to(site_packages):
        raise pytest.UsageError(f"the tests must run on the wheel in {site_packages}, but they would import {file}")


def pytest_report_header() -> str:
    """Show the tested package in pytest's first lines."""
    return f"testing: {_package_file().parent}"
