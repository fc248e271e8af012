"""`gen-rerank label` as people use it, against a server of ours that speaks OpenAI's format over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gen_rerank import Dataset
from tests.conftest import complaint
from tests.gen_rerank.labelling.served import overlap


def label(run, data, judges, out, *more):
    return run("label", data, "--judges", judges, "--out", out, "--yes", *more)


def test_from_products_and_queries_to_a_data_set(run, served, bare_shop, few_queries, tmp_path):
    judges = served.yaml(
        tmp_path / "judges.yaml", "model: kind", "model: strict, reading: logprobs", "model: other, reading: decisions"
    )
    out = tmp_path / "labelled"
    code, printed, _ = label(run, bare_shop, judges, out, "--queries", few_queries, "--per-query", "4")
    assert code == 0, printed
    made = Dataset.load(out)
    assert sorted(query.text for query in made.queries.values()) == ["blue lamp", "red desk", "steel kettle"]
    assert len(made.judgments) == 12
    for row in made.judgments:
        grade = overlap(made.queries[row.query_id].text, made.products[row.product_id].title)
        below = max(grade - 1, 0)
        lower = max(below - 1, 0)
        votes = (grade / 4, (0.75 * below + 0.25 * lower) / 4, grade / 4)
        assert row.labels == pytest.approx(votes, abs=1e-4)
        assert row.relevance == pytest.approx(sum(votes) / 3, abs=1e-4)
    votes = [json.loads(line) for line in (out / "votes.jsonl").read_text().splitlines()]
    assert {row["judge"] for row in votes} == {"kind/shopper", "strict/shopper", "other/shopper"}
    assert "α" in printed
    assert set(served.asked.values()) == {1}


def test_the_same_command_asks_nothing_twice(run, served, tiny_data, tmp_path):
    judges = served.yaml(tmp_path / "judges.yaml", "model: kind")
    words = ("--journal", tmp_path / "shop.journal", "--budget", "30 pairs", "--json")
    code, printed, _ = label(run, tiny_data, judges, tmp_path / "one", *words)
    assert (code, json.loads(printed)["pairs"]) == (0, 30)
    assert len(served.bodies) == 30
    code, _, _ = label(run, tiny_data, judges, tmp_path / "two", *words)
    assert code == 0
    assert len(served.bodies) == 30
    assert (tmp_path / "one/judgments.jsonl").read_bytes() == (tmp_path / "two/judgments.jsonl").read_bytes()
    served.yaml(tmp_path / "judges.yaml", "model: kind, rubric: need")
    assert label(run, tiny_data, judges, tmp_path / "three", *words)[0] == 0
    assert len(served.bodies) == 60


def test_a_sample_is_shown_and_nothing_is_written(run, served, tiny_data, tmp_path):
    judges = served.yaml(tmp_path / "judges.yaml", "model: kind", "model: strict")
    out = tmp_path / "labelled"
    code, printed, _ = label(run, tiny_data, judges, out, "--sample", "5")
    assert code == 0
    assert not out.exists()
    assert "5 pairs judged; nothing is written yet" in printed
    code, printed, told = label(run, tiny_data, judges, out, "--budget", "8 pairs")
    assert (code, len(served.bodies)) == (0, 16)
    assert "by the answers so far" in told


def test_unread_answers_are_asked_once_more_and_left_out(run, served, tiny_data, tmp_path):
    judges = served.yaml(tmp_path / "judges.yaml", "model: kind", "model: other, reading: decisions")
    served.unread = 1
    words = ("--budget", "6 pairs", "--json")
    code, printed, _ = label(run, tiny_data, judges, tmp_path / "one", *words)
    report = json.loads(printed)
    assert (code, [one["left_out"] for one in report["judges"]]) == (0, [0, 0])
    assert report["judges"][0]["faults"] == {"no JSON with a grade": 6}
    asked = [body["messages"][-1]["content"] for body in served.bodies if body["model"] == "kind"]
    assert sum("could not be read" in text for text in asked) == 6
    served.unread = 9
    served.yaml(judges, "model: kind, name: new", "model: other, reading: decisions")
    code, printed, _ = label(run, tiny_data, judges, tmp_path / "two", *words, "--journal", tmp_path / "new.journal")
    report = json.loads(printed)
    assert (code, [one["left_out"] for one in report["judges"]], report["pairs"]) == (0, [6, 0], 6)
    assert all(len(row.labels) == 1 for row in Dataset.load(tmp_path / "two").judgments)


def test_pauses_are_kept_and_an_end_is_said(run, served, tiny_data, tmp_path):
    judges = served.yaml(tmp_path / "judges.yaml", "model: kind, concurrency: 1")
    served.failures = [429, 429]
    assert label(run, tiny_data, judges, tmp_path / "one", "--budget", "3 pairs")[0] == 0
    assert len(served.bodies) == 3
    served.failures = [429] * 9
    said = complaint(label(run, tiny_data, judges, tmp_path / "two", "--journal", tmp_path / "one.journal"))
    assert "answers 429, after 2 repetitions" in said
    assert "the same command goes on from there" in said
    served.failures = [401]
    assert "wants another key" in complaint(label(run, tiny_data, judges, tmp_path / "three"))
    served.failures = [404]
    assert "there is no model 'kind'" in complaint(label(run, tiny_data, judges, tmp_path / "four"))
    served.failures = [400] * 9
    assert "every question is refused (400: not now)" in complaint(label(run, tiny_data, judges, tmp_path / "five"))


def test_what_cannot_be_used_is_one_sentence(run, served, bare_shop, tiny_data, few_queries, tmp_path):
    out, judges = tmp_path / "out", served.yaml(tmp_path / "judges.yaml", "model: kind")
    for words, said in (
        ((tiny_data, judges, out, "--budget", "5"), '--budget 5: write "500 pairs"'),
        ((tiny_data, judges, out, "--budget", "5 money"), "has no price"),
        ((tiny_data, judges, out, "--aggregate", "vote"), "choose mean, dawid-skene, calibrated"),
        ((tiny_data, judges, out, "--aggregate", "calibrated", "--budget", "3 pairs"), "20 are needed"),
        ((tiny_data, judges, tiny_data), "already exists"),
        ((bare_shop, judges, out), "has no queries"),
        ((bare_shop, judges, out, "--queries", few_queries), "say with --per-query"),
        ((tiny_data, tmp_path / "none.yaml", out), "cannot be read"),
        ((tiny_data, judges, out, "--answers", judges), "judges.yaml"),
    ):
        assert said in complaint(label(run, *words))
    assert "cannot be reached" in complaint(
        label(run, tiny_data, _judges(tmp_path, "{base_url: http://127.0.0.1:9/v1, model: m, retries: 0}"), out)
    )
    assert "pass --yes" in complaint(run("label", tiny_data, "--judges", judges, "--out", out))
    assert not served.bodies or not out.exists()


def test_judges_are_checked_before_anything_is_asked(run, served, tiny_data, tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    for judge, said in (
        ("{model: m}", "base_url is missing"),
        ("{base_url: x, model: m}", "an address such as"),
        ("{base_url: http://x/v1, model: m, speed: 1}", "unknown key 'speed'"),
        ("{base_url: http://x/v1, model: m, concurrency: 0}", "a whole number from 1 on"),
        ("{base_url: http://x/v1, model: m, rubric: best}", "there is no rubric 'best'"),
        ("{base_url: http://x/v1, model: m, reading: words}", "choose one of json"),
        ("{base_url: http://x/v1, model: m, price: 3}", "a mapping of input and output"),
        ("{base_url: http://x/v1, model: m, key: NO_SUCH_KEY}", "NO_SUCH_KEY is not set"),
    ):
        assert said in complaint(label(run, tiny_data, _judges(tmp_path, judge), tmp_path / "out"))
    file = served.yaml(tmp_path / "judges.yaml", "model: kind", "model: kind")
    assert "two judges are called 'kind/shopper'" in complaint(label(run, tiny_data, file, tmp_path / "out"))


def test_a_key_is_sent_and_written_nowhere(run, served, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
    judges = served.yaml(tmp_path / "judges.yaml", "model: kind, key: JUDGE_KEY")
    code, printed, told = label(run, tiny_data, judges, tmp_path / "out", "--budget", "3 pairs")
    assert (code, served.keys) == (0, {"Bearer sk-very-secret"})
    written = [printed.encode(), told.encode()]
    written += [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not [one for one in written if b"very-secret" in one]
    assert b"desk" not in b"".join(file.read_bytes() for file in tmp_path.glob("out.journal*"))


def test_people_answer_and_outrank_the_judges(run, served, tiny_data, tmp_path):
    judges = served.yaml(tmp_path / "judges.yaml", "model: kind", "model: strict")
    sheet = tmp_path / "unsure.csv"
    words = ("--budget", "60 pairs", "--journal", tmp_path / "j")
    assert label(run, tiny_data, judges, tmp_path / "one", *words, "--ask-people", sheet)[0] == 0
    lines = sheet.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "query_id,product_id,query,product,grade (0-4),votes"
    assert len(lines) == 51
    query_id, product_id = lines[1].split(",")[:2]
    assert "no row has a grade" in complaint(label(run, tiny_data, judges, tmp_path / "two", "--answers", sheet))
    sheet.write_text(f"query_id;product_id;grade (0-4)\n{query_id};{product_id};4\n", encoding="utf-8")
    code, printed, _ = label(run, tiny_data, judges, tmp_path / "two", *words, "--answers", sheet, "--json")
    assert code == 0
    (row,) = [
        row
        for row in Dataset.load(tmp_path / "two").judgments
        if (row.query_id, row.product_id) == (query_id, product_id)
    ]
    assert (row.relevance, len(row.labels), row.labels[-1]) == (1.0, 3, 1.0)
    assert json.loads(printed)["with_people"][0]["pairs"] == 1
    sheet.write_text(f"query_id;product_id;grade (0-4)\n{query_id};{product_id};9\n", encoding="utf-8")
    assert "9 is not from 0 to 4" in complaint(label(run, tiny_data, judges, tmp_path / "three", "--answers", sheet))


def _judges(folder: Path, judge: str) -> Path:
    file = folder / "bad.yaml"
    file.write_text(f"judges:\n  - {judge}\n", encoding="utf-8")
    return file
