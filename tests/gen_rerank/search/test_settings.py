"""`index.json`: written, read, and refused where it is of another version or damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gen_rerank import BadInput
from gen_rerank.search.settings import FILE, IndexSettings


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for settings in (IndexSettings(), IndexSettings("german", "some/model")):
        settings.write(tmp_path)
        assert IndexSettings.read(tmp_path) == settings


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"format": 0},
            r"another version \(format 0, this version reads 2\); index the products again: gen-rerank index",
        ),
        ({"format": None}, r"another version \(format None"),
        ({"tantivy": "6"}, r"another version \(tantivy 6, this version reads \d+\)"),
        ({"language": "klingon"}, r"index\.json: is damaged; index the products again: gen-rerank index DATA --out"),
        ({"language": None}, "is damaged"),
        ({"vectors": 5}, "is damaged"),
    ],
)
def test_another_version_and_damage_are_refused_with_what_to_do(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    IndexSettings().write(tmp_path)
    file = tmp_path / FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}), encoding="utf-8")
    with pytest.raises(BadInput, match=words):
        IndexSettings.read(tmp_path)


def test_what_is_no_index_is_told_how_to_become_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is no index \(it has no index\.json\); make one: gen-rerank index DATA --out"):
        IndexSettings.read(tmp_path)
    with pytest.raises(BadInput, match=r"nowhere: no such folder; make one"):
        IndexSettings.read(tmp_path / "nowhere")
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(BadInput, match="not a JSON object"):
        IndexSettings.read(tmp_path)
    (tmp_path / FILE).write_text('{"format"')
    with pytest.raises(BadInput, match=r"index\.json: not valid JSON"):
        IndexSettings.read(tmp_path)
