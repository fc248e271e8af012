"""Our packages first: in our processes `train`, `quant`, `serve` and `prompts` are ours, whatever lies around.

These are names that other people use too: a folder with a `train.py` of somebody's own is where a search engineer
works. Python looks there first, for `python -m` and under `PYTHONPATH=.`. The command line and the processes that we
start look beside this package instead. A program that merely imports `gen_rerank` keeps its own names.

`python -m gen_rerank.system.own_packages MODULE ARGUMENT…` runs one of our modules so.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

OWN_PACKAGES = frozenset({"prompts", "quant", "serve", "train"})
_HOME = Path(__file__).resolve().parents[2]


class _OwnPackages:
    """A finder of modules, as `sys.meta_path` holds them."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return where one of our packages is; None leaves a module to the other finders."""
        return PathFinder.find_spec(name, [str(_HOME)]) if name in OWN_PACKAGES else None


def prefer_own_packages() -> None:
    """Find our packages beside this one from now on, in this process."""
    if _OwnPackages not in sys.meta_path:
        sys.meta_path.insert(0, _OwnPackages)


def own_module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules in a process of its own.

    Example:
        >>> own_module("quant.measured_process", "order.json")[1:]
        ['-m', 'gen_rerank.system.own_packages', 'quant.measured_process', 'order.json']
    """
    return [sys.executable, "-m", "gen_rerank.system.own_packages", name, *arguments]


@dataclass(frozen=True)
class Hidden:
    """A package that was needed, and the file of somebody else's that was found in its place."""

    package: str
    file: Path


def hidden_package(error: Exception) -> Hidden | None:
    """Return what an error comes from, where a file of the working folder or of `PYTHONPATH` hides a package.

    Args:
        error: of an import, or of a name that a module does not have.
    """
    if isinstance(error, ImportError):
        package = (error.name or "").partition(".")[0]
    elif isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        package = error.obj.__name__.partition(".")[0]
    else:
        return None
    spec = _spec_of(package)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).resolve()
    holder = file.parents[1] if spec.submodule_search_locations else file.parent
    around = {Path.cwd(), *(Path(place).resolve() for place in os.environ.get("PYTHONPATH", "").split(os.pathsep))}
    return Hidden(package, file) if holder in around - {_HOME} else None


def _spec_of(package: str) -> ModuleSpec | None:
    if package in sys.modules:
        return sys.modules[package].__spec__
    try:
        return find_spec(package) if package else None
    except (ImportError, ValueError):
        return None


if __name__ == "__main__":
    prefer_own_packages()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
