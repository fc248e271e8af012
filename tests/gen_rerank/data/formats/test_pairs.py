"""Pair files: a query, a product with its texts and a grade in one row; the real ones where they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gen_rerank import Dataset
from gen_rerank.data.formats.pairs import open_pairs
from gen_rerank.data.importing.grading import read_scale
from gen_rerank.data.importing.judging import JudgmentOptions, import_judgments
from gen_rerank.data.importing.report import ImportReport

REAL = Path(__file__).parents[5] / "shared" / "data"
RATED = {"query": "laptop", "product_id": "1", "title": "Screen", "name": "A5", "price": 5795,
         "attributes": {"width": 15.0}, "grade": 0, "raters": ["0", "1", "0"], "split": "test"}  # fmt: skip
LETTER = {"query": "hose", "product_id": "", "title": "Line", "description": "", "bullets": "Silver\nGuard",
          "brand": "", "color": "red", "locale": "us", "label": "S"}  # fmt: skip


def imported(tmp_path: Path, rows: list[dict[str, object]], scale: str | None) -> tuple[Dataset, ImportReport]:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = JudgmentOptions(scale=read_scale(scale) if scale else None)
    report = import_judgments(path, tmp_path / "shop", "pairs", open_pairs, options)
    return Dataset.load(tmp_path / "shop"), report


def test_raters_decide_and_the_split_is_kept(tmp_path):
    data, _ = imported(tmp_path, [RATED], "0-3")
    (judgment,) = data.judgments
    assert judgment.labels == (0.0, 1 / 3, 0.0)
    assert judgment.relevance == pytest.approx(1 / 9)
    assert data.queries[judgment.query_id].split == "test"
    assert data.products["1"].attributes == {"width": "15"}


def test_escis_letters_have_their_gains_and_products_without_an_id_get_one(tmp_path):
    data, report = imported(tmp_path, [LETTER, {**LETTER, "label": "E", "title": "Hose"}], None)
    assert [row.relevance for row in data.judgments] == [0.1, 1.0]
    first, _ = data.products.values()
    assert (first.description, first.brand, first.attributes) == ("Silver\nGuard", None, {"color": "red"})
    assert first.product_id.startswith("p")
    assert not report.refused


def test_letters_may_begin_in_a_later_row(tmp_path):
    data, _ = imported(tmp_path, [{**LETTER, "label": None, "title": "Hose"}, LETTER], None)
    assert [row.relevance for row in data.judgments] == [0.1]


def test_letters_of_several_raters(tmp_path):
    row = {key: value for key, value in LETTER.items() if key != "label"}
    data, _ = imported(tmp_path, [{**row, "raters": ["E", "I"]}], None)
    assert [judgment.labels for judgment in data.judgments] == [(1.0, 0.0)]


@pytest.mark.skipif(not REAL.is_dir(), reason="the files are not here")
@pytest.mark.parametrize(("name", "scale", "pairs"), [("chorus", "0-3", 2286), ("esci", None, 4389)])
def test_the_real_ones(tmp_path, name, scale, pairs):
    options = JudgmentOptions(scale=read_scale(scale) if scale else None)
    report = import_judgments(REAL / name / "pairs.jsonl.gz", tmp_path / "shop", "pairs", open_pairs, options)
    assert (report.kept["judgments"], report.refused) == (pairs, {})
