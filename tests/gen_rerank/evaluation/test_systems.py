"""What systems are called, and whom a name means."""

from __future__ import annotations

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
        (["runs/random", "runs/bm25", "runs/baseline"], ("A", "B", "C")),  # taken by floors and the baseline
        (["runs/A", "runs/b"], ("A", "b")),  # named as their places are
        (["runs/B", "runs/x"], ("A", "x")),  # B is the place of the other
        (["x/m", "y/m", "z/a"], ("A", "B", "C")),
        (["owner/model"], ("model",)),
    ],
)
def test_names_are_folders_or_places(models: list[str], expected: tuple[str, ...]) -> None:
    assert SystemNames.of(models).models == expected


@given(st.lists(st.sampled_from(["a", "B", "c/A", "x/model", "model", "random", "y/Model", "baseline"]), min_size=1))
def test_no_two_systems_have_one_name_and_places_and_names_find_them(models: list[str]) -> None:
    if len(models) > 26:
        models = models[:26]
    names = SystemNames.of(models, baseline=True)
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
    with pytest.raises(BadInput, match=r"there are A, B, random, bm25, baseline$"):
        SystemNames.of(["x/m", "y/m"], baseline=True).find("m")
    with pytest.raises(BadInput, match="at most 26"):
        SystemNames.of([f"m{k}" for k in range(27)])
