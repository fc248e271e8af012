"""Importing the library is light, and dependencies point one way."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "vllm", "trl", "ray", "transformers", "scipy", "pandas", "bm25s", "pyarrow")
PACKAGES = ("gen_rerank", "train", "quant", "serve")

# Processor time: other work on the machine does not count.
_SCRIPT = """
import json, sys, time
start = time.process_time()
import gen_rerank
spent = time.process_time() - start
for name in gen_rerank.__all__:
    getattr(gen_rerank, name)
print(json.dumps({"spent": spent, "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""


def fresh_import() -> dict:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout)


def test_importing_is_light_and_fast():
    runs = [fresh_import() for _ in range(5)]
    assert not set(HEAVY) & set(runs[0]["modules"])
    assert min(run["spent"] for run in runs) < 0.5


def test_a_script_with_data_and_measures_can_start_an_engine():
    """What it imports is imported again in vLLM's workers, which (0.32) do not start where numba is."""
    parts = (
        "evaluation.evaluation",
        "evaluation.floors",
        "evaluation.measuring",
        "bm25",
        "data.sample",
        "reranker",
        "demo.report",
    )
    names = [f"gen_rerank.{name}" for name in parts] + ["quant.comparison", "quant.drift", "quant.measured_process"]
    script = f"import {', '.join(names)}, sys; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=300).returncode == 0


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """Yield the first name of each imported module, and whether it is imported inside a function."""

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name.split(".")[0], inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{file}:{child.lineno}: relative imports hide what depends on what"
                yield (child.module or "").split(".")[0], inside
            yield from walk(child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    yield from walk(ast.parse(file.read_text(encoding="utf-8")), False)


FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_dependencies_point_one_way(file):
    package = file.relative_to(ROOT).parts[0]
    door = file == ROOT / "gen_rerank" / "cli.py"
    for name, inside in imports(file):
        if name not in PACKAGES or name in (package, "gen_rerank"):
            continue
        assert door, f"{file.relative_to(ROOT)} imports {name}; {package} may import gen_rerank and itself only"
        assert inside, f"gen_rerank/cli.py imports {name} at its top; the command that needs it must"


def test_the_walk_sees_imports():
    assert len(FILES) > 10
    assert ("torch", False) in set(imports(ROOT / "gen_rerank" / "scorers" / "transformers.py"))
