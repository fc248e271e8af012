"""The figures about a source tree: which imports point up, circles, long functions, places that share lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen_rerank import BadInput
from house import House, circles, function_lengths, points_up


@pytest.mark.parametrize(
    ("source", "target", "up"),
    [
        ("gen_rerank.data.records", "gen_rerank.scorers.vllm", True),
        ("gen_rerank.scorers.vllm", "gen_rerank.data.records", False),
        ("gen_rerank.scorers.vllm", "gen_rerank.scorers.worker", False),
        ("gen_rerank.reranker", "train.life", True),
        ("train.life", "gen_rerank.demo.demo", False),
        ("train.life", "quant.cost", True),
        ("quant.commands", "train.life", False),
        ("gen_rerank.cli", "serve.launch", False),
        ("gen_rerank", "gen_rerank.reranker", False),
        ("gen_rerank.bins", "gen_rerank", True),
        ("gen_rerank.demo.demo", "gen_rerank.cli", True),
        ("gen_rerank.records", "gen_rerank.axis", False),  # as they lay before the rooms
        ("gen_rerank.records", "gen_rerank.prompt", True),
        ("gen_rerank.evaluation", "gen_rerank.search.bm25", False),
    ],
)
def test_what_points_up(source, target, up):
    assert points_up(source, target) is up


def test_circles_go_over_others_too():
    arrows = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e")]
    assert circles(arrows) == [{"a", "b", "c"}]
    assert circles(arrows[1:]) == []


def test_the_lines_of_functions_and_methods(tmp_path):
    file = tmp_path / "a.py"
    file.write_text(
        "@cache\ndef one():\n    pass\n\n\nclass A:\n    async def two(self):\n        x = 1\n        return x\n"
    )
    assert sorted(function_lengths(file)) == [2, 3]


SHARED = "".join(f"    x{i} = {i} + y\n" for i in range(8))


def test_a_small_house(tmp_path):
    files = {
        "gen_rerank/__init__.py": "",
        "gen_rerank/bins.py": "import gen_rerank.errors\n",
        "gen_rerank/errors.py": "def late():\n    from gen_rerank import bins\n",
        "train/__init__.py": "",
        "train/life.py": f"import quant.cost\n\n\ndef live(y):\n{SHARED}",
        "quant/__init__.py": "",
        "quant/cost.py": f"def cost(y):\n{SHARED}",
        "serve/__init__.py": "",
        "tests/test_a.py": "x = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    figures = House.of(tmp_path).figures
    assert figures["Python files"] == "8"
    assert figures["longest file, lines"] == "12 (train/life.py)"
    assert figures["tests: Python files"] == "1"
    assert figures["imports that point up"] == "2 of 3"
    assert figures["import circles"] == "1"
    assert figures["pairs of places that share 6 lines or more"] == "1"


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="root of a checkout"):
        House.of(tmp_path)
