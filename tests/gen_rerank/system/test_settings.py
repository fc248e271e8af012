"""A file of settings is read, or refused in one sentence, whatever bytes it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from gen_rerank import BadInput
from gen_rerank.system.settings import read_settings, settings_of


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", {}),
        (b"# nothing\n", {}),
        (b"a: 1", {"a": 1}),
        ("\ufeffa: é".encode(), {"a": "é"}),
        ("a: é".encode("utf-16"), {"a": "é"}),
    ],
)
def test_what_can_be_read(content: bytes, expected: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    assert read_settings(tmp_path / "a.yaml") == expected


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a: é".encode("latin-1"), "not valid YAML"),
        (b"\x00\x01", "not valid YAML"),
        (b"a: [", "not YAML at all"),
        (b"a: 2026-99-99", "not YAML at all"),
        (b"a: !!python/object:os.system x", "not YAML at all"),
        (b"[" * 5000, "nested too deeply"),
        (b"- 1", "gates are lines, not a list"),
        (b"just text", "gates are lines, not a str"),
    ],
)
def test_what_cannot_is_one_sentence(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(BadInput, match=reason) as refused:
        read_settings(tmp_path / "a.yaml", "gates are lines")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be read \(No such file"):
        read_settings(tmp_path / "none.yaml")


class Leaf(BaseModel):
    model_config = ConfigDict(extra="forbid")

    colour: str = "green"


class Tree(BaseModel):
    model_config = ConfigDict(extra="forbid")

    leaves: tuple[Leaf, ...] = ()
    best: Leaf | None = None
    by_name: dict[str, Leaf] = {}
    height: int = 1


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"heigth": 2}, "t.yaml: unknown key 'heigth'; did you mean 'height'?"),
        ({"best": {"color": "red"}}, "t.yaml: best: unknown key 'color'; did you mean 'colour'?"),
        ({"leaves": [{}, {"color": 1}]}, "t.yaml: leaves.1: unknown key 'color'; did you mean 'colour'?"),
        ({"by_name": {"x": {"color": 1}}}, "t.yaml: by_name.x: unknown key 'color'; did you mean 'colour'?"),
        ({"zzz": 1}, "t.yaml: unknown key 'zzz'"),
        ({"height": "x"}, "t.yaml: height: Input should be a valid integer"),
    ],
)
def test_settings_are_a_model_or_one_sentence(given: dict[str, object], sentence: str) -> None:
    assert settings_of(Tree, {"height": 3, "best": {}}, "t.yaml").height == 3
    with pytest.raises(BadInput) as refused:
        settings_of(Tree, given, "t.yaml")
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)
