"""The house keeps its measures: short lines, functions and files, and rooms that know only what is below them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import house

ROOT = Path(__file__).parents[1]
FOLDERS = ("gen_rerank", "train", "quant", "serve", "prompts", "benchmarks", "tests", "docs", "requirements", ".ci")
WRITTEN = {".md", ".py", ".html", ".css", ".js", ".toml", ".yaml", ".yml", ".sh"}
DATA = Path("gen_rerank/data/sample")  # its vocabulary
WIDTH, FUNCTION_LINES, FILE_LINES = 120, 70, 450


def written() -> list[Path]:
    """All files that people wrote, with their paths from the root."""
    below = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*")]
    files = [file for file in (*ROOT.glob("*.*"), *below) if file.suffix in WRITTEN and file.is_file()]
    paths = sorted(file.relative_to(ROOT) for file in files)
    return [path for path in paths if not (path.parent == DATA and path.suffix == ".yaml")]


FILES = written()
MODULES = [file for file in FILES if file.suffix == ".py"]


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions of a module, inner ones too."""
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("file", FILES, ids=str)
def test_lines_are_short(file: Path) -> None:
    """Rows of Markdown tables and lines with an address may be longer."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    long = [number for number, line in enumerate(lines, 1) if len(line) > WIDTH and not may_be_long(file, line)]
    assert not long, f"{file}: lines {long} have more than {WIDTH} characters"


def may_be_long(file: Path, line: str) -> bool:
    return "://" in line or (file.suffix == ".md" and line.lstrip().startswith("|"))


@pytest.mark.parametrize("file", MODULES, ids=str)
def test_functions_and_files_are_short(file: Path) -> None:
    length = len((ROOT / file).read_text(encoding="utf-8").splitlines())
    assert length <= FILE_LINES, f"{file} has {length} lines: is it one idea?"
    for node in functions(file):
        assert node.end_lineno is not None
        lines = node.end_lineno - node.lineno + 1
        assert lines <= FUNCTION_LINES, f"{file}:{node.lineno} {node.name} has {lines} lines"


@pytest.mark.parametrize("file", MODULES, ids=str)
def test_private_names_stay_in_their_module(file: Path) -> None:
    """What another module needs, a test among them, has a public name."""
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            private = [name for name in names if name.startswith("_") and not name.startswith("__")]
            assert not private, f"{file}:{node.lineno} imports {private[0]}"


def test_class_names_stand_for_one_thing() -> None:
    """A name that occurs in two modules, tests apart, makes a reader ask which."""
    homes: dict[str, list[Path]] = {}
    for file in MODULES:
        if file.parts[0] != "tests":
            for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    homes.setdefault(node.name, []).append(file)
    assert not {name: files for name, files in homes.items() if len(files) > 1}


def test_rooms_know_only_what_is_below_them() -> None:
    """The contracts are in pyproject.toml; `make lint` checks them too."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout


def test_the_house_has_files() -> None:
    assert len(MODULES) > 200
    assert Path("docs/map.md") in FILES


def test_the_map_shows_every_room() -> None:
    """Its picture has the rooms in the order of the contract, its table the folders that are there."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (one["layers"] for one in contracts if one["id"] == "rooms")
    text = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^    (\w+(?: --> \w+)+)$", text, flags=re.MULTILINE)
    order = list(dict.fromkeys(name for line in drawn for name in line.split(" --> ")))
    assert order == [name for name in reversed(layers) if name != "__main__"]
    rows = {
        name
        for line in text.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert rows == {*order, "train", "quant", "serve", "prompts", "benchmarks"}


def test_there_are_no_circles() -> None:
    """Between modules, over whatever others; the contract sees those between folders only."""
    assert house.circles(house.import_arrows(ROOT)) == []
