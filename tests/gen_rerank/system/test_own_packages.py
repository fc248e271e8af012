"""A folder in which a user has modules of the same names: ours are found, from the checkout and from the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gen_rerank.system.own_packages import OWN_PACKAGES, own_module

ROOT = Path(__file__).parents[3]
SCRIPT = Path(sys.executable).with_name("gen-rerank")
THEIRS = "raise SystemExit('a module of the user ran')\n"
WAYS = {
    "module": ([sys.executable, "-m", "gen_rerank"], {}),
    "script": ([str(SCRIPT)], {}),
    "script under PYTHONPATH=.": ([str(SCRIPT)], {"PYTHONPATH": "."}),
    "module under PYTHONPATH=.": ([sys.executable, "-m", "gen_rerank"], {"PYTHONPATH": "."}),
}


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A user's folder: modules and packages with our names, which end whoever imports them."""
    for name in ("train", "quant", "prompts"):
        (tmp_path / f"{name}.py").write_text(THEIRS)
    (tmp_path / "serve").mkdir()
    (tmp_path / "serve/__init__.py").write_text(THEIRS)
    return tmp_path


def run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("way", WAYS)
def test_the_command_line_finds_our_packages(way: str, crowded: Path) -> None:
    command, variables = WAYS[way]
    done = run([*command, "train", "distributional", "--help"], crowded, **variables)
    assert (done.returncode, "--config" in done.stdout) == (0, True), done.stderr


def test_a_command_works_with_all_that_it_loads(crowded: Path, tiny_checkpoint: Path, tiny_data: Path) -> None:
    """Templates are in `prompts`, which is read as a package."""
    words = ["score", str(tiny_checkpoint), str(tiny_data), "--out", "scores.jsonl"]
    done = run([sys.executable, "-m", "gen_rerank", *words], crowded, PYTHONPATH=".")
    assert done.returncode == 0, done.stderr
    assert (crowded / "scores.jsonl").stat().st_size > 0


def test_a_process_that_we_start_finds_our_packages(crowded: Path) -> None:
    done = run(own_module("quant.workload"), crowded, PYTHONPATH=".")
    assert done.returncode == 0, done.stderr


def test_a_program_that_imports_us_keeps_its_own_names(crowded: Path) -> None:
    (crowded / "train.py").write_text("MINE = True\n")
    done = run([sys.executable, "-c", "import gen_rerank.reranker, train; print(train.MINE)"], crowded)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("module", ["yaml.py", "jinja2/__init__.py"])
def test_what_hides_a_package_is_named(module: str, tmp_path: Path, tiny_checkpoint: Path, tiny_data: Path) -> None:
    (tmp_path / module).parent.mkdir(exist_ok=True)
    (tmp_path / module).write_text("")
    name = module.partition("/")[0].removesuffix(".py")
    words = ["score", str(tiny_checkpoint), str(tiny_data), "--out", "scores.jsonl"]
    words = words if name == "jinja2" else ["sample", "--out", "shop"]
    done = run([sys.executable, "-m", "gen_rerank", *words], tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path / module} hides the package '{name}'" in " ".join(done.stderr.split())


def test_from_the_wheel(crowded: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    source, built, installed = (tmp_path_factory.mktemp(name) for name in ("source", "built", "installed"))
    for name in ("gen_rerank", *OWN_PACKAGES):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(built), str(source)],
        check=True,
        timeout=300,
    )
    (wheel,) = built.glob("*.whl")
    subprocess.run(
        [*pip, "install", "-q", "--no-deps", "--target", str(installed), str(wheel)], check=True, timeout=300
    )
    places = f".{os.pathsep}{installed}"
    show = "import gen_rerank.cli, prompts, serve, train; print(prompts.__file__, serve.__file__, train.__file__)"
    done = run([sys.executable, "-c", show], crowded, PYTHONPATH=places)
    assert done.stdout.count(str(installed)) == len(OWN_PACKAGES) - 1, done.stderr
    helped = run([sys.executable, "-m", "gen_rerank", "serve", "--help"], crowded, PYTHONPATH=places)
    assert (helped.returncode, "--port" in helped.stdout) == (0, True), helped.stderr
