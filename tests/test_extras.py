"""Extras follow imports: with what an extra declares, and nothing else, its rooms import and its commands speak.

A folder of links holds the distributions in the extra's closure, by their own metadata, and Python starts without
any other. Whoever installs one extra has no more than that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OURS = "gen_rerank"
# Of each extra: the rooms whose modules all import with it, and the commands that it is for.
ROOMS: dict[str, tuple[str, ...]] = {
    "": ("gen_rerank.errors", "gen_rerank.bins", "gen_rerank.bm25", "gen_rerank.system", "gen_rerank.reporting",
         "gen_rerank.data", "gen_rerank.prompting", "gen_rerank.cli"),
    "evaluate,cpu": ("gen_rerank.checkpoints", "gen_rerank.calibration", "gen_rerank.scorers", "gen_rerank.evaluation",
                     "gen_rerank.fitting", "gen_rerank.reranker"),
    "search,cpu": ("gen_rerank.search",),
    "label,cpu": ("gen_rerank.labelling",),
    "scale,cpu": ("gen_rerank.offline",),
    "openvino,cpu": ("gen_rerank.scorers",),
    "import": ("gen_rerank.data.feeds", "gen_rerank.data.formats", "gen_rerank.data.public_sets"),
    "train": ("train",),
    "quant,cpu": ("quant",),
    "serve,cpu": ("serve",),
    "demo,cpu": ("gen_rerank.demo",),
}  # fmt: skip
COMMANDS: dict[str, tuple[str, ...]] = {
    "": ("", "sample", "add-key"),
    "search,cpu": ("index", "search"),
    "label,cpu": ("label", "decontaminate", "split"),
    "scale,cpu": ("score",),
    "openvino,cpu": ("score",),
    "import": ("import", "export"),
    "evaluate,cpu": ("evaluate", "score", "calibrate"),
    "train": ("train distributional", "train scalar", "train adapter", "train encoder", "train distil"),
    "quant,cpu": ("quantize", "compare"),
    "serve,cpu": ("serve", "doctor"),
    "demo,cpu": ("demo",),
}
IMPORT_ALL = """
import importlib, pkgutil, sys
for room in sys.argv[1:]:
    package = importlib.import_module(room)
    for found in pkgutil.walk_packages(getattr(package, "__path__", ()), room + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
"""


@cache
def installed() -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    for each in distributions():
        found.setdefault(canonicalize_name(each.metadata["Name"]), each)
    return found


def closure(extras: str) -> set[str]:
    """The distributions that `pip install gen_rerank[extras]` brings, by name, ours not among them."""
    reached: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(OURS), extra) for extra in ["", *filter(None, extras.split(","))]]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in reached or name not in installed():
            continue
        reached.add((name, extra))
        for line in installed()[name].requires or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(wanted.name), each) for each in ["", *wanted.extras]]
    return {name for name, _ in reached} - {canonicalize_name(OURS)}


def link(names: set[str], folder: Path) -> None:
    """Link what the distributions have in site-packages; a package of several is linked file by file."""
    owners: dict[str, set[str]] = defaultdict(set)
    for name, found in installed().items():
        for file in found.files or ():
            owners[file.parts[0]].add(name)
    for name in names | {canonicalize_name(OURS)}:
        for file in installed()[name].files or ():
            top = file.parts[0]
            shared = len(owners[top]) > 1 and len(file.parts) > 1
            relative = Path(*file.parts) if shared else Path(top)
            source, target = Path(str(installed()[name].locate_file(str(relative)))), folder / relative
            if top not in ("..", "__pycache__") and source.exists() and not target.is_symlink():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(source)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python without site-packages: it sees the standard library, the links and the checkout."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-S", *words], env=environment, cwd=folder, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
@pytest.mark.parametrize("extras", ROOMS)
def test_an_extra_has_what_its_rooms_import(extras: str, tmp_path: Path) -> None:
    link(closure(extras), tmp_path)
    imported = run(tmp_path, "-c", IMPORT_ALL, *ROOMS[extras])
    assert imported.returncode == 0, imported.stderr[-1500:]
    for command in COMMANDS[extras]:
        helped = run(tmp_path, "-m", OURS, *command.split(), "--help")
        assert (helped.returncode, "Usage" in helped.stdout) == (0, True), helped.stderr[-1500:]


def test_the_closure_is_no_more_than_the_extra_brings() -> None:
    assert "torch" not in closure("")
    assert "pytest" not in closure("train")
    assert {"torch", "trl"} <= closure("train")
