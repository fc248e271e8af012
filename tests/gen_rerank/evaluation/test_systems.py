"""What systems are called, and whom a name means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank import BadInput
from gen_rerank.evaluation.systems import SystemNames


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (["runs/nano", "runs/small/"], ("nano", "small")),
        (["monday/model", "friday/model", "other"], ("A", "B", "other")),
        (["monday/Model", "friday/model"], ("A", "B")),
        (["runs/A", "runs/b"], ("A", "b")),  # named as their places are
        (["runs/B"], ("B",)),  # there is no place B
        (["runs/old", "runs/baseline"], ("old", "baseline")),  # there is no other baseline
        (["owner/model"], ("model",)),
    ],
)
def test_names_are_folders_or_places(models: list[str], expected: tuple[str, ...]) -> None:
    assert SystemNames.of(models).models == expected


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (["x/B", "x/A"], "x/B: 'B' is also the place of x/A (models are A, B, C in the order given)"),
        (["runs/m", "runs/a"], "runs/a: 'a' is also the place of runs/m"),
        (["x/A", "y/A"], "y/A: 'A' is also the place of x/A"),
        (["runs/random"], "runs/random: 'random' is also the row 'random'"),
        (["runs/m", "runs/BM25"], "runs/BM25: 'BM25' is also the row 'bm25'"),
        (["runs/baseline"], "runs/baseline: 'baseline' is also the row 'baseline'"),
    ],
)
def test_a_folder_with_the_name_of_another_system_is_refused(models: list[str], said: str) -> None:
    """In a table, and in a gate, nobody could tell which of the two is meant."""
    with pytest.raises(BadInput, match=re.escape(said)) as refused:
        SystemNames.of(models, baseline=True)
    assert "rename the folder" in str(refused.value)


@given(st.lists(st.sampled_from(["a", "B", "c/A", "x/model", "model", "random", "y/Model", "baseline"]), min_size=1))
def test_a_name_means_the_folder_and_the_place_of_one_system(models: list[str]) -> None:
    models = models[:26]
    try:
        names = SystemNames.of(models, baseline=True)
    except BadInput:
        return
    for given_, name in zip(models, names.models, strict=True):
        folder = Path(given_).name
        assert sum(Path(other).name.casefold() == folder.casefold() for other in models) > 1 or name == folder
    folded = [name.casefold() for name in names.printed]
    assert len(set(folded)) == len(folded)
    for place, name in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", names.models, strict=False):
        assert names.find(place) == names.find(place.lower()) == names.find(name) == name


def test_an_adapter_is_part_of_the_name() -> None:
    assert SystemNames.of(["runs/model"], "runs/shop").models == ("model + shop",)


def test_the_current_folder_has_a_name(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    assert SystemNames.of(["."]).models == (tmp_path.name,)


def test_who_is_not_there_is_told_who_is() -> None:
    with pytest.raises(BadInput, match=r"no system 'C'; there are A \(nano\), B \(small\), random, bm25$"):
        SystemNames.of(["nano", "small"]).find("C")
    with pytest.raises(BadInput, match=r"there are A \(x/m\), B \(y/M\), random, bm25, baseline$"):
        SystemNames.of(["x/m", "y/M"], baseline=True).find("m")
    with pytest.raises(BadInput, match="at most 26"):
        SystemNames.of([f"m{k}" for k in range(27)])
