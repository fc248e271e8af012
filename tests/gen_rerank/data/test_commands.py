"""Import and export as a user meets them: a table, or JSON and nothing else; what goes wrong is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gen_rerank import Dataset
from tests.conftest import complaint

VOTES = "query,product,grade,rater,title\ndesk,p1,3,Ann,Oak desk\ndesk,p1,0,Bob,Oak desk\ndesk,p2,7,Ann,Lamp\n"


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    (tmp_path / "votes.csv").write_text(VOTES, encoding="utf-8")
    return tmp_path / "votes.csv"


def test_a_table_of_what_was_done(run, votes, tmp_path):
    code, out, _ = run("import", votes, tmp_path / "shop", "--format", "judgments", "--scale", "0-3")
    assert code == 0
    assert "refused votes.csv:4: the grade '7' is outside of the scale 0-3" in out
    assert Dataset.load(tmp_path / "shop").judgments[0].labels == (1.0, 0.0)


def test_json_and_nothing_else(run, votes, tmp_path):
    words = ("import", votes, tmp_path / "shop", "--format", "judgments", "--scale", "0-3", "--json")
    code, out, _ = run(*words, "--report", tmp_path / "reports" / "import.json")
    assert code == 0
    report = json.loads(out)
    assert (report["kept"]["judgments"], report["refused"]) == (1, {"grade": 1})
    assert json.loads((tmp_path / "reports" / "import.json").read_text(encoding="utf-8")) == report
    code, out, _ = run("export", tmp_path / "shop", tmp_path / "out", "--format", "ranx", "--json")
    assert (code, json.loads(out)["kept"]) == (0, {"judgments": 1})


def test_what_goes_wrong_is_one_sentence(run, votes, tmp_path):
    shop = tmp_path / "shop"
    words = ("--format", "judgments", "--scale", "0-3")
    assert "say it with --scale" in complaint(run("import", votes, shop, *words[:2]))
    assert "no format 'xyz'" in complaint(run("import", votes, shop, "--format", "xyz"))
    assert "OUT is empty" in complaint(run("import", votes, "", *words))
    assert "no such file or folder" in complaint(run("import", tmp_path / "nowhere", shop, *words))
    assert "cannot be written" in complaint(run("import", votes, "/proc/shop", *words))
    assert "is a folder; name a file" in complaint(run("import", votes, shop, *words, "--report", tmp_path))
    assert "--download a b: the hub gives" in complaint(
        run("import", shop, tmp_path / "new", "--format", "wands", "--download", "a b")
    )
    assert "no such folder" in complaint(run("export", tmp_path / "nowhere", shop, "--format", "trec"))
    assert run("import", votes, shop)[0] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["votes.csv"]


def test_commands_that_need_judgments_say_that_there_are_none(run, tiny_shop, tmp_path):
    Dataset(tiny_shop.products, tiny_shop.queries, ()).save(tmp_path / "shop")
    for words in (
        ("evaluate", tmp_path / "model", tmp_path / "shop"),
        ("score", tmp_path / "model", tmp_path / "shop", "--out", tmp_path / "out"),
        ("export", tmp_path / "shop", tmp_path / "out", "--format", "trec"),
    ):
        assert "has no judgments.jsonl" in complaint(run(*words))
    assert not (tmp_path / "out").exists()


def test_a_report_takes_the_place_of_nothing_that_is_read_or_made(run, votes, tmp_path):
    before, shop = votes.read_bytes(), tmp_path / "shop"
    words = ("import", votes, shop, "--format", "judgments", "--scale", "0-3", "--report")
    for place in (votes, shop, shop / "products.jsonl", shop / "needs.jsonl"):
        assert "would take the place of what is read or made" in complaint(run(*words, place))
    assert votes.read_bytes() == before
    assert not shop.exists()
    assert run(*words, tmp_path / "report.json")[0] == 0
    exported = ("export", shop, tmp_path / "out.csv", "--format", "judgments", "--report")
    scores = tmp_path / "scores.jsonl"
    scores.write_text("")
    exported = (*exported[:3], "--scores", scores, *exported[3:])
    for place in (tmp_path / "out.csv", shop / "judgments.jsonl", scores):
        assert "would take the place of what is read or made" in complaint(run(*exported, place))
    assert run(*exported[:3], *exported[5:], tmp_path / "report.json")[0] == 0  # an older report may go
