"""A file of settings is read, or refused in one sentence, whatever bytes it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen_rerank import BadInput
from gen_rerank.system.settings import read_settings


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
