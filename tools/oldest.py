"""Print the oldest versions that pyproject.toml allows for the library's own dependencies, as constraints for pip.

Usage: ``python tools/oldest.py > constraints.txt``. ``make test-oldest`` installs these: a minimum that no test runs on
is a guess.
"""

import re
import tomllib
from pathlib import Path


def main() -> None:
    """Print ``name==version`` for each ``name>=version``."""
    pyproject = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    for requirement in pyproject["project"]["dependencies"]:
        match = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement)
        if match is None:
            raise SystemExit(f"pyproject.toml: a dependency must read name>=version (got {requirement!r})")
        print(f"{match[1]}=={match[2]}")


if __name__ == "__main__":
    main()
