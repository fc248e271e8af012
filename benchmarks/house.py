"""Figures about the source tree: how long files and functions are, which imports point up, what is said twice.

For the tree that this file lies in, or for another one, such as a checkout of an older commit; `--before` puts one
beside the other. An import points up when it goes from the library to a verb (train, quant, serve), from one verb to
another, or from a room of the library to a later one. Modules that people command stand above all rooms and may import
anything. Imports inside functions and for type checkers count. It takes minutes, as every two files are compared.

Run: python benchmarks/house.py
     python benchmarks/house.py --before path/to/older/checkout
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import comb
from pathlib import Path
from statistics import median
from typing import Annotated

import networkx
import typer

from gen_rerank.errors import BadInput
from harness.command import run
from harness.tables import FigureTable, wide_console

LIBRARY, VERBS = "gen_rerank", ("train", "quant", "serve")
SOURCES, TESTS = (LIBRARY, *VERBS, "benchmarks"), ("tests",)
ROOMS = (
    "errors", "bins", "bm25", "system", "reporting", "data", "prompting", "checkpoints", "calibration", "scorers",
    "evaluation", "reranker", "demo",
)  # fmt: skip
ABOVE_ALL = ("commands", "cli", "__main__")
# Where a module went that lay flat in the library, or in another room, before the rooms were made.
MOVED = {
    "axis": "reporting",
    "search": "bm25",
    "cpu": "system",
    "records": "data",
    "prompt": "prompting",
    "tokens": "prompting",
    "adapter": "checkpoints",
    "checkpoint": "checkpoints",
    "dequantize": "checkpoints",
    "public": "checkpoints",
    "schemes": "checkpoints",
    "weights": "checkpoints",
    "evaluation": "evaluation",
    "metrics": "evaluation",
    "tables": "evaluation",
    "report": "demo",
}
LONG, TOO_LONG, SHARED_LINES = 60, 70, 6
_ARROWS = """
import grimp, json, sys
graph = grimp.build_graph(*sys.argv[1:], cache_dir=None)
print(json.dumps([[a, b] for a in sorted(graph.modules) for b in sorted(graph.find_modules_directly_imported_by(a))]))
"""


@dataclass(frozen=True)
class House:
    """The figures of a tree, as they are printed."""

    figures: dict[str, str]

    @classmethod
    def of(cls, tree: Path) -> House:
        """Measure a tree.

        Raises:
            BadInput: it has no library.
        """
        if not (tree / LIBRARY).is_dir():
            raise BadInput(f"{tree}: no {LIBRARY} in it; give the root of a checkout")
        found: dict[str, str] = {}
        for name, folders in (("", SOURCES), ("tests: ", TESTS)):
            files = python_files(tree, folders)
            lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
            longest = max(lines, key=lines.__getitem__)
            functions = [length for file in files for length in function_lengths(file)]
            found |= {
                f"{name}Python files": f"{len(files)}",
                f"{name}median file, lines": f"{median(lines.values()):.0f}",
                f"{name}longest file, lines": f"{lines[longest]:,} ({longest.relative_to(tree)})",
                f"{name}functions over {LONG} lines": f"{sum(length > LONG for length in functions)}",
                f"{name}functions over {TOO_LONG} lines": f"{sum(length > TOO_LONG for length in functions)}",
            }
        arrows = import_arrows(tree)
        found["imports that point up"] = f"{sum(points_up(*arrow) for arrow in arrows)} of {len(arrows)}"
        found["import circles"] = f"{len(circles(arrows))}"
        found[f"pairs of places that share {SHARED_LINES} lines or more"] = f"{shared_places(tree)}"
        return cls(found)


def python_files(tree: Path, folders: Sequence[str]) -> list[Path]:
    """Return the Python files of some folders of a tree."""
    return sorted(chain.from_iterable((tree / folder).rglob("*.py") for folder in folders))


def function_lengths(file: Path) -> Iterator[int]:
    """Yield the lines of each function and method of a file, decorators left out."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None, "it was parsed from text"
            yield node.end_lineno - node.lineno + 1


def import_arrows(tree: Path) -> list[tuple[str, str]]:
    """Return (importing module, imported module) for all imports of a tree among its own modules, by grimp.

    Raises:
        BadInput: a module cannot be parsed.
    """
    command = [sys.executable, "-c", _ARROWS, LIBRARY, *VERBS]
    environment = {**os.environ, "PYTHONPATH": str(tree.resolve())}
    found = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if found.returncode:
        raise BadInput(f"{tree}: {found.stderr.strip().splitlines()[-1]}")
    return [(source, target) for source, target in json.loads(found.stdout)]


def points_up(source: str, target: str) -> bool:
    """Say whether an import points up.

    Example:
        >>> points_up("gen_rerank.data.records", "gen_rerank.scorers.vllm"), points_up("train.life", "gen_rerank.bins")
        (True, False)
        >>> points_up("train.life", "quant.cost"), points_up("quant.commands", "train.life")
        (True, False)
    """
    if source == LIBRARY or source.rpartition(".")[2] in ABOVE_ALL:  # the first opens the library's front door
        return False
    of_source, of_target = source.split(".")[0], target.split(".")[0]
    if of_source != of_target:
        return of_target != LIBRARY
    return of_source == LIBRARY and floor(target) > floor(source)


def floor(module: str) -> int:
    """Return how high a module of the library stands; its front door is as high as what it opens.

    Example:
        >>> floor("gen_rerank.errors"), floor("gen_rerank.axis") == floor("gen_rerank.reporting.numbers")
        (0, True)
    """
    room = module.split(".")[1] if "." in module else "reranker"
    if room in ABOVE_ALL or module.rpartition(".")[2] in ABOVE_ALL:
        return len(ROOMS)
    return ROOMS.index(MOVED.get(room, room))


def circles(arrows: Sequence[tuple[str, str]]) -> list[set[str]]:
    """Return the groups of modules each of which imports, over others, itself.

    Example:
        >>> [sorted(group) for group in circles([("a", "b"), ("b", "a"), ("b", "c")])]
        [['a', 'b']]
    """
    graph = networkx.DiGraph(arrows)
    return [group for group in networkx.strongly_connected_components(graph) if len(group) > 1]


def shared_places(tree: Path) -> int:
    """Return how many pairs of places share some lines, by pylint's symilar; comments, docstrings, imports left out."""
    files = [str(file) for file in python_files(tree, SOURCES)]
    options = ["-d", str(SHARED_LINES), "-i", "--ignore-docstrings", "--ignore-imports"]
    command = [sys.executable, "-c", "from pylint import run_symilar; run_symilar()", *options, *files]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return sum(comb(int(places), 2) for places in re.findall(r"similar lines in (\d+) files", found.stdout))


def main(
    tree: Annotated[Path, typer.Option(help="the root of a checkout")] = Path(__file__).parents[1],
    before: Annotated[Path | None, typer.Option(help="the root of an older one, to stand beside it")] = None,
) -> None:
    """Measure a tree, or two, and print the table."""
    now = House.of(tree).figures
    if before is None:
        table = FigureTable("The house", ("Figure", "Now"), [[name, value] for name, value in now.items()])
    else:
        then = House.of(before).figures
        rows = [[name, then[name], value] for name, value in now.items()]
        table = FigureTable("The house", ("Figure", "Before", "Now"), rows)
    console = wide_console(110)
    table.show(console)


if __name__ == "__main__":
    run(main)
