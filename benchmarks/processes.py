"""Programs of this folder in a process of their own, where nothing but what they need is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["program"]


def program(name: str, *arguments: object) -> Any:
    """Run a module of this folder; return the JSON it prints.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE)  # noqa: S603 - a module of this folder
    return json.loads(done.stdout)
