"""Runs programs of this folder in separate processes, which import only what they need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["run_program"]


def run_program(name: str, *arguments: object) -> Any:
    """Run a module of this folder; return the JSON that it prints.

    Raises:
        subprocess.CalledProcessError: the program failed.
    """
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE)  # noqa: S603 - a module of this folder
    return json.loads(done.stdout)
