"""The documentation is true: its Python runs and prints what it says, its links work, and it names every public API.

How a page is run
"""

import ast
import doctest
import functools
import importlib
import inspect
import logging
import pkgutil
import re
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import attrs
import pytest
import trio
from trio.testing import MockClock

import trio_batchmetrics
import trio_batchmetrics.abc
import trio_batchmetrics.sinks
import trio_batchmetrics.testing

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]
LINKING = [
    *PAGES,
    *(REPOSITORY / f"{name}.md" for name in ("CONTRIBUTING", "CHANGELOG", "SECURITY", "CODE_OF_CONDUCT")),
]
PUBLIC = (trio_batchmetrics, trio_batchmetrics.abc, trio_batchmetrics.testing, trio_batchmetrics.sinks)
MODULES = sorted(module.name for module in pkgutil.walk_packages(trio_batchmetrics.__path__, "trio_batchmetrics."))


def _relative(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


class Block(NamedTuple):
    """A fenced ``python`` block."""

    line: int
    """The line on which its code begins, from 1."""
    source: str
    no_run: str | None
    """The reason why it is only compiled."""
    prints: str | None
    """Its expected output, if the page states it."""


def _fences(text: str) -> Iterator[tuple[str, int, str, str]]:
    """Yield for each fenced block its language, its first line, its text, and the text since the previous block."""
    between: list[str] = []
    inside: list[str] = []
    language: str | None = None
    first = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("```"):
            (between if language is None else inside).append(line)
        elif language is None:
            language, first, inside = line.removeprefix("```").strip(), number + 1, []
        else:
            yield language, first, "".join(f"{each}\n" for each in inside), "\n".join(between).strip()
            language, between = None, []


def _blocks(page: Path) -> list[Block]:
    blocks: list[Block] = []
    for language, line, source, between in _fences(page.read_text(encoding="utf-8")):
        if language == "python":
            reason = re.search(r"<!-- no-run: *(.*?) *-->$", between)
            blocks.append(Block(line, source, reason[1] if reason else None, None))
        elif language == "text" and blocks and blocks[-1].prints is None:
            blocks[-1] = blocks[-1]._replace(prints=source)
    return blocks


@contextmanager
def _fresh_logging() -> Generator[None, None, None]:
    """Let a page set up logging as if no other page had done so."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)


def _run_test(function: Any, tmp_path: Path) -> None:
    """Run a test that a page defines."""
    clock = MockClock(autojump_threshold=0)
    fixtures = {"autojump_clock": clock, "tmp_path": tmp_path}
    wanted = {name: fixtures[name] for name in inspect.signature(function).parameters}
    if inspect.iscoroutinefunction(function):
        trio.run(partial(function, **wanted), clock=clock if "autojump_clock" in wanted else None)
    else:
        function(**wanted)


@pytest.mark.parametrize("page", PAGES, ids=_relative)
def test_the_python_of_a_page_runs_and_prints_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Blocks run in order, in one namespace, and a failure's traceback has the page's own line numbers."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("a_page_of_the_docs")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with _fresh_logging():
        for block in _blocks(page):
            code = compile("\n" * (block.line - 1) + block.source, str(page), "exec")
            if block.no_run is not None:
                continue
            exec(code, module.__dict__)
            printed = capsys.readouterr().out
            if block.prints is not None:
                right = doctest.OutputChecker().check_output(block.prints, printed, doctest.ELLIPSIS)
                assert right, f"{_relative(page)}:{block.line} prints\n{printed}and not\n{block.prints}"
        for name, value in list(vars(module).items()):
            if name.startswith("test_"):
                _run_test(value, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=_relative)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    """A reason has at least a few words, and most blocks run."""
    skipped = [block for block in _blocks(page) if block.no_run is not None]
    assert all(len(block.no_run or "") >= 10 for block in skipped)
    assert len(skipped) <= 1


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every module of the installed package is searched, including private ones."""
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    report: list[str] = []
    for example in doctest.DocTestFinder().find(importlib.import_module(name), name):
        runner.run(example, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def test_the_package_and_the_pages_have_examples_to_run() -> None:
    """The two tests above would pass if they found nothing to run."""
    finder = doctest.DocTestFinder()
    examples = [
        each for name in MODULES for test in finder.find(importlib.import_module(name)) for each in test.examples
    ]
    assert len(examples) > 20
    assert sum(len(_blocks(page)) for page in PAGES) > 20


# -------------------------------------------------------------------------------------------------------------- links


def _without_code(text: str) -> str:
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda code: re.sub(r"[\[\]]", "", code[0]), text)


@cache
def _anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    anchors: list[str] = []
    for heading in re.findall(r"^#+ +(.*?) *$", _without_code(page.read_text(encoding="utf-8")), flags=re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        repeated = sum(anchor == words for anchor in anchors)
        anchors.append(f"{words}-{repeated}" if repeated else words)
    return frozenset(anchors)


@pytest.mark.parametrize("page", LINKING, ids=_relative)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    """Links within the repository are checked; external ones aren't looked up."""
    broken: list[str] = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else (page.parent / path).resolve()
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(target)
    assert not broken


def test_every_page_can_be_reached_from_the_index() -> None:
    """``docs/index.md`` links to each of them directly."""
    targets = re.findall(r"\]\(([^)#\s]+\.md)\)", (DOCS / "index.md").read_text(encoding="utf-8"))
    linked = {(DOCS / target).resolve() for target in targets}
    assert {page for page in PAGES if page.is_relative_to(DOCS)} - linked == {DOCS / "index.md"}


# ---------------------------------------------------------------------------------------------------------- guarantees


@functools.cache
def _defined_in(file: Path) -> set[str]:
    """Return the names of tests in a file: functions, ``Class::method``, and names of generated classes."""
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names.add(node.name)
            functions = (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
            names.update(f"{node.name}::{function.name}" for function in functions)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names


def test_every_test_that_the_docs_name_exists() -> None:
    """References of the form ``tests/file.py::test_name`` are checked on every page."""
    missing: list[str] = []
    for page in LINKING:
        for file, name in re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", page.read_text(encoding="utf-8")):
            if not (REPOSITORY / file).is_file() or name not in _defined_in(REPOSITORY / file):
                missing.append(f"{_relative(page)}: {file}::{name}")
    assert not missing


def test_every_guarantee_names_a_test() -> None:
    """Each numbered section of the page has a row of proofs."""
    text = (DOCS / "explanation" / "guarantees.md").read_text(encoding="utf-8")
    sections = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    assert len(sections) >= 10
    without = [section.splitlines()[0] for section in sections if not re.search(r"`tests/[\w/]+\.py::", section)]
    assert not without


# ----------------------------------------------------------------------------------------------------------- reference


def _reference() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in sorted((DOCS / "reference").glob("*.md")))


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: str(module.__name__))
def test_the_reference_has_a_heading_for_every_public_name(module: ModuleType) -> None:
    """These are all names in ``__all__``."""
    headings = "\n".join(re.findall(r"^#+ .*$", _reference(), flags=re.MULTILINE))
    assert [name for name in module.__all__ if not re.search(rf"`{name}\b", headings)] == []


INTERNAL = frozenset({"close", "collect"})
"""Names that are public by spelling, but for the library's own use, and whose docstring doesn't say so."""


def _members(public: type) -> Iterator[str]:
    """Yield the public methods, properties and fields that a class defines itself or inherits from this package."""
    for base in public.__mro__:
        if base.__module__.split(".")[0] != "trio_batchmetrics":
            continue
        for name, value in vars(base).items():
            own_use = "For the library's own use" in (getattr(value, "__doc__", None) or "")
            if not name.startswith("_") and name not in INTERNAL and not own_use:
                yield name
    if attrs.has(public):
        yield from (field.name for field in attrs.fields(public) if not field.name.startswith("_"))


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: str(module.__name__))
def test_the_reference_names_every_method_and_field(module: ModuleType) -> None:
    """Those of every public class are there, in code type."""
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", _reference()))))
    classes = [value for name in module.__all__ if isinstance(value := getattr(module, name), type)]
    members = {(public.__name__, member) for public in classes for member in _members(public)}
    assert sorted(pair for pair in members if pair[1] not in named) == []


def _resolve(dotted: str) -> Any:
    first, *rest = dotted.split(".")
    value: Any = next((getattr(module, first) for module in PUBLIC if hasattr(module, first)), None)
    for name in rest:
        value = getattr(value, name)
    return value


Parameter = tuple[str, int, str | None]
"""The name, the kind, and the default's source, which is None without a default."""


def _written(parameters: str) -> list[Parameter]:
    """Return the parameters of a signature as written."""
    arguments = ast.parse(f"lambda {parameters}: 0", mode="eval").body
    assert isinstance(arguments, ast.Lambda)
    signature = inspect.signature(eval(compile(ast.Expression(arguments), "a heading", "eval")))
    return [_parameter(each) for each in signature.parameters.values()]


def _parameter(parameter: inspect.Parameter) -> Parameter:
    default = parameter.default
    if default is inspect.Parameter.empty:
        return parameter.name, int(parameter.kind), None
    return parameter.name, int(parameter.kind), "..." if default is ... else repr(default)


def _agree(written: list[Parameter], real: list[Parameter]) -> bool:
    """Compare signatures; ``...`` stands for a default that isn't worth writing out."""
    if [each[:2] for each in written] != [each[:2] for each in real]:
        return False
    pairs = zip(written, real, strict=True)
    return all(mine == theirs or (mine == "..." and theirs is not None) for (*_, mine), (*_, theirs) in pairs)


def test_the_signatures_in_the_reference_are_the_real_ones() -> None:
    """Every heading that is code with parentheses is compared."""
    headings = re.findall(r"^#+ `([\w.]+)\((.*)\)`$", _reference(), flags=re.MULTILINE)
    assert len(headings) > 30
    wrong: list[str] = []
    for name, parameters in headings:
        value = _resolve(name)
        assert value is not None, f"{name} is not public"
        real = [_parameter(each) for each in inspect.signature(value).parameters.values() if each.name != "self"]
        if not _agree(_written(parameters), real):
            wrong.append(f"{name}({parameters}) is {name}{inspect.signature(value)}")
    assert not wrong


def test_the_table_of_settings_has_every_default() -> None:
    """``docs/reference/config.md`` has a row for each field, with its default."""
    text = (DOCS / "reference" / "config.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]*\| `([^`]*)` \|", text, flags=re.MULTILINE))
    defaults = attrs.asdict(trio_batchmetrics.BatchMetricsConfig())
    assert {name: ast.literal_eval(default) for name, default in rows.items()} == defaults
