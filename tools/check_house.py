"""House rules for the package that no ready-made checker knows.

Usage: ``python tools/check_house.py trio_batchmetrics [USER_FOLDER ...]``. It prints one line per fault, ``file:line:
[rule] what is wrong, and how to fix it``, and exits with 1 if there is any. The source is parsed, never imported.

The rules:

    facade     A room (a folder with a leading underscore) is imported through its façade, never module by module. The
               order of the rooms is import-linter's to check (pyproject.toml).
    docstring  A docstring on every module, and on every function and class whose name has no leading underscore: in
               private modules, private classes and overrides too. Exempt: what is defined inside a function, and the
               stubs of ``@overload``.
    public     The user folders (the examples) import no private module and no private name of the package.
    size       The median module has at most 130 lines, the longest at most 300 (except `TOO_LONG`).
"""

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MAX_MEDIAN_LINES = 130
MAX_LINES = 300
TOO_LONG = ("_events.compiled", "_events.schema", "_events.validation")
"""Modules that are still longer. Don't add to them: they are about to be replaced."""


class Fault(NamedTuple):
    """One line of the report."""

    file: Path
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: [{self.rule}] {self.text}"


class Module(NamedTuple):
    """One parsed source file."""

    name: str
    """Below the package, with dots: ``_ledger``, ``sinks._sqlite``; a package's own file is ``__init__``, ``sinks``."""
    file: Path
    tree: ast.Module
    lines: int


class Import(NamedTuple):
    """One import of another module of the package."""

    target: str
    line: int


def load(package: Path) -> dict[str, Module]:
    """Parse every module of the package, by its name below the package."""
    modules: dict[str, Module] = {}
    for file in sorted(package.rglob("*.py")):
        parts = list(file.relative_to(package).with_suffix("").parts)
        if parts[-1] == "__init__" and len(parts) > 1:
            parts.pop()
        name = ".".join(parts)
        source = file.read_text(encoding="utf-8")
        modules[name] = Module(name, file, ast.parse(source, str(file)), len(source.splitlines()))
    return modules


def imports_of(module: Module, package: str, modules: dict[str, Module]) -> Iterator[Import]:
    """Yield each import of a module of the same package; ``from x import y`` means ``x.y`` where that is a module."""
    is_package = module.file.name == "__init__.py"
    below = [] if module.name == "__init__" else module.name.split(".")
    own_package = [package, *(below if is_package else below[:-1])]

    def resolve(dotted: str) -> str | None:
        if dotted != package and not dotted.startswith(package + "."):
            return None
        name = dotted[len(package) + 1 :] or "__init__"
        return name if name in modules else None

    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if (target := resolve(alias.name)) is not None:
                    yield Import(target, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = own_package[: len(own_package) - node.level + 1] if node.level else []
            dotted = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                target = resolve(f"{dotted}.{alias.name}") or resolve(dotted)
                if target is not None:
                    yield Import(target, node.lineno)


def check_facades(module: Module, imports: list[Import]) -> Iterator[Fault]:
    """Yield a fault for each module of another room that is imported past its façade."""
    own_room = module.name.split(".")[0]
    for target, line in imports:
        room, *rest = target.split(".")
        if room != own_room and room.startswith("_") and rest:
            text = f"import this from the façade {room}, not from its module {'.'.join(rest)}"
            yield Fault(module.file, line, "facade", text)


def is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Tell whether this is the stub of an overloaded function."""
    names = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return "overload" in names


def check_docstrings(module: Module) -> Iterator[Fault]:
    """Yield a fault for each docstring that is missing."""
    if ast.get_docstring(module.tree) is None:
        yield Fault(module.file, 1, "docstring", "the module has none: say what it holds and how it works")

    def walk(body: list[ast.stmt], prefix: str) -> Iterator[Fault]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = prefix + node.name
                wanted = not node.name.startswith("_") and not is_overload(node)
                if wanted and not (ast.get_docstring(node) or "").strip():
                    kind = "class" if isinstance(node, ast.ClassDef) else "function"
                    yield Fault(module.file, node.lineno, "docstring", f"{kind} {name} has none")
                if isinstance(node, ast.ClassDef):
                    yield from walk(node.body, f"{name}.")
            else:
                yield from walk(nested_statements(node), prefix)

    yield from walk(module.tree.body, "")


def nested_statements(node: ast.stmt) -> list[ast.stmt]:
    """List the statements directly inside a compound statement: of all its branches, handlers and cases."""
    found: list[ast.stmt] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            found.append(child)
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            found.extend(child.body)
    return found


def check_public(folder: Path, package: str) -> Iterator[Fault]:
    """Yield a fault for each import of something private by code that stands for a user's."""
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
            imported: list[tuple[str, int]] = []
            if isinstance(node, ast.Import):
                imported = [(alias.name, node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
                imported = [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
            for name, line in imported:
                top, *parts = name.split(".")
                if top == package and any(part.startswith("_") for part in parts):
                    yield Fault(file, line, "public", f"{name} is private: an example uses what a user may use")


def check_sizes(package: Path, modules: dict[str, Module]) -> Iterator[Fault]:
    """Yield a fault for each module that is too long, and one if the median module is."""
    for module in modules.values():
        if module.lines > MAX_LINES and module.name not in TOO_LONG:
            text = f"{module.lines} lines, at most {MAX_LINES}: split it"
            yield Fault(module.file, module.lines, "size", text)
    median = statistics.median(module.lines for module in modules.values())
    if median > MAX_MEDIAN_LINES:
        text = f"the median module has {median:g} lines, at most {MAX_MEDIAN_LINES}"
        yield Fault(package / "__init__.py", 1, "size", text)


def main(arguments: list[str]) -> int:
    """Check one package, and what stands for its users' code; return the exit status."""
    if not arguments or not Path(arguments[0], "__init__.py").is_file():
        print("usage: check_house.py PACKAGE_FOLDER [USER_FOLDER ...]", file=sys.stderr)
        return 2
    package = Path(arguments[0])
    modules = load(package)
    faults = [*check_sizes(package, modules)]
    for module in modules.values():
        faults += check_docstrings(module)
        faults += check_facades(module, list(imports_of(module, package.name, modules)))
    for folder in arguments[1:]:
        faults += check_public(Path(folder), package.name)
    for fault in sorted(faults):
        print(fault)
    lines = [module.lines for module in modules.values()]
    summary = f"{len(lines)} modules, median {statistics.median(lines):g} lines, longest {max(lines)}"
    print(f"check_house: {summary}, {len(faults)} fault{'s' * (len(faults) != 1)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
